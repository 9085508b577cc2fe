"""Which exports go into the next batches."""

from dataclasses import replace

from backupexport_operator.cleanup.batches import (
    MOST_BATCHES,
    MOST_BATCHES_OF_A_PLACE,
    MOST_FILES,
    MOST_PROJECTS,
    Batch,
    Batches,
    next_batch,
)
from backupexport_operator.observed.jobs_and_pods import ObservedJob
from backupexport_operator.observed.places import Place

MADE = "2026-01-29T15:30:00Z"


def at(claim: str) -> Place:
    return Place("default", claim)


def job(name: str, batch: Batch, created_at: str = MADE) -> ObservedJob:
    uids, place = batch.uids, batch.place
    return ObservedJob(f"remove-files-{name}", "", batch=uids, place=place, created_at=created_at)


def test_a_batch_has_the_longest_waiting_of_few_projects() -> None:
    waiting = {f"u{number}": f"p{number % 60}" for number in range(1000)}
    uids = next_batch(waiting, MOST_FILES)
    assert len(uids) == MOST_FILES
    assert uids[:2] == ("u0", "u1")
    assert len({waiting[uid] for uid in uids}) == MOST_PROJECTS
    assert next_batch(waiting, 3) == ("u0", "u1", "u2")
    assert next_batch({}, 3) == ()


def test_each_volume_has_its_own_and_leaves_room_for_others() -> None:
    batches = Batches({}, {})
    for number in range(1000):
        batches.wait(f"a{number}", "p", at("a"))
    batches.wait("b0", "p", at("b"))
    taken = list(batches.take())
    assert [(batch.place.root, len(batch.uids)) for batch in taken] == [
        ("a", MOST_FILES), ("a", MOST_FILES), ("b", 1)
    ]  # fmt: skip
    for number, batch in enumerate(taken):
        batches.note_made(job(str(number), batch))
    assert list(batches.take()) == []
    assert MOST_BATCHES > MOST_BATCHES_OF_A_PLACE


def test_what_failed_together_is_tried_in_smaller_batches_after_all_others() -> None:
    jobs: dict[str, list[ObservedJob]] = {}
    batches = Batches(jobs, {})
    first = Batch(at("a"), tuple(f"u{number}" for number in range(16)))
    failed = replace(job("x", first), failure="DeadlineExceeded")
    jobs[failed.name] = [failed]
    assert batches.note_all() == [failed.name]
    for uid in first.uids:
        batches.wait(uid, "p", at("a"))
    batches.wait("new", "p", at("a"))
    assert list(batches.take()) == [Batch(at("a"), ("new",)), Batch(at("a"), ("u0", "u1"))]


def test_the_newest_batch_of_an_export_counts() -> None:
    jobs: dict[str, list[ObservedJob]] = {}
    batches = Batches(jobs, {})
    old = job("old", Batch(at("a"), ("u0", "u1")))
    new = job("new", Batch(at("a"), ("u1",)), "2026-01-29T15:40:00Z")
    jobs |= {it.name: [it] for it in (new, old)}
    batches.note_all()
    assert batches.of("u0").job == old
    assert batches.of("u1").job == new
    assert batches.of("u2").job is None
    assert batches.forget("u1") == new.name
    assert batches.forget("u1") is None


def test_a_batch_that_this_process_made_is_known_until_a_watch_has_told_of_it() -> None:
    jobs: dict[str, list[ObservedJob]] = {}
    batches = Batches(jobs, {})
    made = job("x", Batch(at("a"), ("u0",)))
    batches.note_made(made)
    assert batches.of("u0").job == made
    jobs[made.name] = [made]
    assert batches.of("u0").job == made
    jobs.clear()
    assert batches.of("u0").job is None
    assert batches.forget_job(made.name) == {"u0"}
