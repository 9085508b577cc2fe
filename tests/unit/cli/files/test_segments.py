"""Which bytes are there, and who fetches which."""

import random

import pytest
from backupexport_cli.files.segments import Claim, Plan, Span, gaps, merged, read_content_range


def spans(*pairs: tuple[int, int]) -> list[Span]:
    return [Span(*pair) for pair in pairs]


def test_spans_that_touch_or_overlap_are_one() -> None:
    found = merged(spans((5, 9), (0, 3), (3, 5), (20, 30), (22, 24), (40, 41)))

    assert found == spans((0, 9), (20, 30), (40, 41))


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        ([], [(0, 10)]),
        ([(0, 10)], []),
        ([(0, 3), (5, 7)], [(3, 5), (7, 10)]),
        ([(2, 10)], [(0, 2)]),
    ],
)
def test_gaps_are_what_is_missing(
    there: list[tuple[int, int]], missing: list[tuple[int, int]]
) -> None:
    assert gaps(spans(*there), 10) == spans(*missing)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("bytes 0-9/10", (Span(0, 10), 10)),
        ("bytes 9-9/10", (Span(9, 10), 10)),
        ("bytes 0-10/10", None),
        ("bytes 5-4/10", None),
        ("bytes 0-9/*", None),
        ("bytes */10", None),
        ("bytes 0-9", None),
        ("items 0-9/10", None),
        ("bytes 0-9/10\n", None),
        ("bytes ٠-٩/10", None),
        (f"bytes 0-9/{'9' * 5000}", None),
        ("", None),
    ],
)
def test_a_content_range_is_understood_or_none(value: str, found: tuple[Span, int] | None) -> None:
    assert read_content_range(value) == found


def test_alone_a_connection_has_all_to_the_next_part_that_is_there() -> None:
    plan = Plan(100, spans((10, 20), (50, 60)), 5)

    claim = plan.claim(shared=False)

    assert claim is not None
    assert (claim.start, claim.end) == (0, 10)


def test_with_others_it_has_a_piece_near_the_beginning() -> None:
    plan = Plan(100, [], 10)

    claims = [plan.claim(shared=True) for _ in range(3)]

    assert [(c.start, c.end) for c in claims if c] == [(0, 10), (10, 20), (20, 30)]


def test_a_second_connection_takes_from_the_first() -> None:
    plan = Plan(100, [], 10)
    first = plan.claim(shared=False)
    assert first is not None
    plan.advance(first, 30)

    second = plan.claim(shared=True)

    assert second is not None
    assert (first.end, second.start, second.end) == (40, 40, 50)
    assert plan.claim(shared=True) is not None


def test_nothing_is_taken_of_what_is_almost_there() -> None:
    plan = Plan(100, [], 10)
    first = plan.claim(shared=False)
    assert first is not None
    plan.advance(first, 85)

    assert plan.claim(shared=True) is None


def test_a_connection_goes_on_into_what_nobody_has() -> None:
    plan = Plan(100, [], 10)
    first, second = plan.claim(shared=True), plan.claim(shared=True)
    assert first is not None
    assert second is not None

    assert not plan.extend(first, 100)
    assert plan.extend(second, 100)
    assert second.end == 30
    assert not plan.extend(second, 30)


def test_the_frontier_is_where_the_first_byte_is_missing() -> None:
    plan = Plan(30, [], 10)
    first, second = plan.claim(shared=True), plan.claim(shared=True)
    assert first is not None
    assert second is not None
    plan.advance(second, 10)
    assert (plan.frontier, plan.fetched_bytes) == (0, 10)
    plan.advance(first, 10)
    assert (plan.frontier, plan.fetched_bytes) == (20, 20)
    plan.release(first)
    plan.release(second)
    assert not plan.is_whole
    plan.restart()
    assert (plan.frontier, plan.finished) == (0, [])


def test_an_empty_file_is_whole() -> None:
    plan = Plan(0, [], 10)

    assert plan.is_whole
    assert plan.claim(shared=False) is None


def test_whatever_connections_do_each_byte_is_fetched_in_the_end() -> None:
    for seed in range(200):
        chosen = random.Random(seed)
        size = chosen.randrange(1, 500)
        there = [Span(a, a + chosen.randrange(1, 20)) for a in range(0, size, 97)]
        plan = Plan(size, [Span(s.start, min(s.end, size)) for s in there], chosen.randrange(1, 50))
        fetched = {n for span in plan.finished for n in range(span.start, span.end)}
        claims: list[Claim] = []
        while not plan.is_whole:
            if len(claims) < 3 and (new := plan.claim(shared=chosen.random() < 0.7)):
                claims.append(new)
            claim = chosen.choice(claims)
            is_through = claim.left == 0 and not plan.extend(claim, size)
            if is_through or chosen.random() < 0.2:
                plan.release(claim)
                claims.remove(claim)
            else:
                count = chosen.randrange(0, claim.left + 1)
                fetched |= set(range(claim.position, claim.position + count))
                plan.advance(claim, count)
        assert fetched == set(range(size)), seed
