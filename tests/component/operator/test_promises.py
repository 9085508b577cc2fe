"""What an export's owner is promised whatever happens, kept by the operator's own process.

The test plays the rest of the cluster over the fake Kubernetes API: controllers, nodes, people.
Nothing here knows how the operator is built, so these tests name its faults however it is changed.
"""

import json
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import builders
import pytest
import pytest_asyncio
from backupexport_contract import names, timestamps
from backupexport_contract.runner_protocol import (
    TASK_EXPORT,
    TASK_REMOVE,
    TASK_TIDY,
    Outcome,
    delivery_task,
)
from fake_kubernetes.faults import Fault
from fake_kubernetes.server import FakeKubernetes
from operator_process import RESYNC_SECONDS, OperatorProcess
from waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXPORTS = "backupexports"
PROJECT = "p"
MAIL = {"email": {"host": "mail", "from": "exports@example.com", "tls": "none"}}
DONE = Outcome(builders.ARTIFACT)


def is_of(labels: dict[str, str], name: str, task: str) -> bool:
    """Whether a Job with these labels does the task for the export."""
    found = labels.get(names.LABEL_EXPORT_UID), labels.get(names.LABEL_TASK)
    return found == (f"uid-of-{name}", task)


class Cluster:
    """The fake API server with one operator, and what others than the operator do there."""

    def __init__(self, kubernetes: FakeKubernetes, operator: OperatorProcess) -> None:
        self.kubernetes = kubernetes
        self.operator = operator
        self._passers_by = 0

    def target(self, project: str, **spec: Any) -> None:
        self.kubernetes.seed("exporttargets", builders.target_manifest(project, project, **spec))

    def ask(self, name: str, project: str = PROJECT, **spec: Any) -> None:
        """Somebody makes an export."""
        manifest = builders.export_manifest(
            name,
            {"projectId": project, **spec},
            uid=f"uid-of-{name}",
            creationTimestamp=builders.ago(30),
        )
        self.kubernetes.seed(EXPORTS, manifest)

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.kubernetes.objects(EXPORTS)[name].get("status", {})
        return found

    def conditions(self, name: str) -> dict[str, str]:
        return {it["type"]: it["status"] for it in self.status(name).get("conditions", [])}

    async def ended(self, name: str) -> dict[str, Any]:
        """Its status when it is over."""
        await until(lambda: self.status(name).get("phase") in ("Succeeded", "Failed", "Cancelled"))
        return self.status(name)

    def jobs(self, name: str, task: str = TASK_EXPORT) -> list[str]:
        """The names of all Jobs that were ever stored for the export's task."""
        return self._made(lambda labels: is_of(labels, name, task))

    def removals(self) -> list[str]:
        """The names of all Jobs that were ever stored to remove files, of whatever exports."""
        return self._made(lambda labels: labels[names.LABEL_TASK] == TASK_REMOVE)

    def _made(self, is_wanted: Callable[[dict[str, str]], bool]) -> list[str]:
        return [
            call.body["metadata"]["name"]
            for call in self.kubernetes.calls
            if str(call) == "create jobs"
            and call.status == 201
            and is_wanted(call.body["metadata"]["labels"])
        ]

    def stored_jobs(self, name: str, task: str = TASK_EXPORT) -> list[str]:
        """The names of the Jobs that are there for the export's task."""
        jobs = self.kubernetes.objects("jobs").items()
        return [job for job, it in jobs if is_of(it["metadata"]["labels"], name, task)]

    async def job(self, name: str, task: str = TASK_EXPORT) -> str:
        """The name of the Job for the task, once it is there."""
        await until(lambda: bool(self.stored_jobs(name, task)))
        return self.stored_jobs(name, task)[0]

    def run_pod(self, job: str, state: dict[str, Any] | None = None, **metadata: Any) -> str:
        """The Job gets a pod, whose container has this state; its name."""
        pod = f"pod-of-{job}"
        of = self.kubernetes.objects("jobs")[job]
        self.kubernetes.seed("pods", builders.pod_manifest(of, pod, state, **metadata))
        return pod

    def end_pod(self, pod: str, code: int, outcome: Outcome | None = None, **told: str) -> None:
        """The kubelet says that the container has ended."""
        state = builders.ended(code, outcome)
        state["terminated"] |= told
        self.kubernetes.change("pods", pod, {"status": builders.pod_status(state)})

    def end_job(self, job: str, status: dict[str, Any]) -> None:
        self.kubernetes.change("jobs", job, {"status": status})

    def tidied(self, name: str, outcome: Outcome | None = None) -> None:
        """Where the files of the export are looked for, `outcome` is what is found."""
        job = names.task_job_name(name, TASK_TIDY)
        found = self.kubernetes.objects("jobs").get(job)
        if found is not None and not found.get("status"):
            self.end_pod(self.run_pod(job), 0, outcome or Outcome())
            self.end_job(job, builders.complete())

    async def ended_after_tidying(
        self, name: str, outcome: Outcome | None = None
    ) -> dict[str, Any]:
        """Its status when it is over, its files having been looked for where that is wanted."""
        await until(
            lambda: bool(self.jobs(name, TASK_TIDY)) or "completionTime" in self.status(name)
        )
        self.tidied(name, outcome)
        return await self.ended(name)

    async def stays(self, is_so: Callable[[], bool]) -> None:
        """It is so, and still is when others' exports have come and gone, and all was looked at."""
        await until(is_so)
        looked_at = time.monotonic() + 1.5 * RESYNC_SECONDS
        for _ in range(3):
            await self._one_more()
        await until(lambda: not is_so() or time.monotonic() > looked_at)
        assert is_so()

    async def _one_more(self) -> None:
        """An export of another project from its beginning to its end."""
        self._passers_by += 1
        name = f"passer-by-{self._passers_by}"
        self.ask(name)
        self.end_pod(self.run_pod(await self.job(name)), 0, DONE)
        await self.ended(name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def _running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with FakeKubernetes().serving() as kubernetes:
        settings = {"DELIVERIES": json.dumps(MAIL), "BACKOFF_LIMIT": "1"}
        operator = OperatorProcess(kubernetes, tmp_path_factory.mktemp("operator"), **settings)
        kubernetes.seed("exporttargets", builders.target_manifest(PROJECT, maxConcurrent=100))
        operator.start()
        try:
            await operator.leading()
            yield Cluster(kubernetes, operator)
        finally:
            operator.end()


@pytest.fixture
def cluster(_running: Cluster) -> Cluster:
    _running.kubernetes.faults.clear()
    return _running


async def test_an_answer_that_is_lost_makes_no_second_job(cluster: Cluster) -> None:
    """The Job is stored, its maker hears nothing and dies, and the next one comes."""
    lost = Fault("create jobs", is_cut=True, is_stored=True, times=3)
    cluster.kubernetes.faults.append(lost)
    cluster.ask("lost")
    await until(lambda: lost.met > 0)
    cluster.operator.signal(signal.SIGKILL)
    cluster.kubernetes.faults.clear()
    cluster.operator.start()
    await cluster.operator.leading()
    pod = cluster.run_pod(await cluster.job("lost"))
    cluster.end_pod(pod, 0, DONE)
    assert (await cluster.ended("lost"))["phase"] == "Succeeded"
    assert len(cluster.stored_jobs("lost")) == 1


async def test_a_job_that_somebody_deletes_is_not_made_again(cluster: Cluster) -> None:
    cluster.ask("deleted")
    job = await cluster.job("deleted")
    await until(lambda: "jobName" in cluster.status("deleted"))
    cluster.kubernetes.remove("jobs", job)
    status = await cluster.ended_after_tidying("deleted")
    assert (status["phase"], status["reason"]) == ("Failed", "JobDeleted")
    assert len(cluster.jobs("deleted")) == 1


async def test_no_export_ends_while_a_pod_of_it_is_at_work(cluster: Cluster) -> None:
    """Its Job has failed by its deadline, and its pod has not noticed yet."""
    cluster.ask("late")
    job = await cluster.job("late")
    pod = cluster.run_pod(job)
    await until(lambda: cluster.status("late").get("phase") == "Running")
    cluster.end_job(job, builders.failed("DeadlineExceeded"))
    await cluster.stays(lambda: cluster.status("late")["phase"] == "Running")
    # Whoever looks at its files by now finds nothing whole, and that says nothing.
    cluster.tidied("late")
    await cluster.stays(lambda: cluster.status("late")["phase"] == "Running")
    cluster.end_pod(pod, 143, Outcome(message="It was stopped."))
    status = await cluster.ended_after_tidying("late")
    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")


@pytest.mark.parametrize("found", ["nothing", "file"])
async def test_what_a_killed_attempt_left_is_looked_for_before_the_end(
    cluster: Cluster, found: str
) -> None:
    """A partial file would stay for good, and a whole one be reported by nobody."""
    name = f"killed-{found}"
    cluster.ask(name)
    job = await cluster.job(name)
    cluster.end_pod(cluster.run_pod(job), 137)
    cluster.end_job(job, builders.failed())
    await until(lambda: len(cluster.jobs(name, TASK_TIDY)) == 1)
    assert "completionTime" not in cluster.status(name)
    status = await cluster.ended_after_tidying(name, DONE if found == "file" else Outcome())
    assert status["phase"] == ("Succeeded" if found == "file" else "Failed")
    assert ("artifact" in status) == (found == "file")


async def test_an_export_goes_after_its_file(cluster: Cluster) -> None:
    """With artifactPolicy Delete its finalizer holds it until the file is removed."""
    cluster.ask("held", artifactPolicy="Delete")
    job = await cluster.job("held")
    cluster.end_pod(cluster.run_pod(job), 0, DONE)
    assert (await cluster.ended("held"))["phase"] == "Succeeded"
    known = len(cluster.removals())
    cluster.kubernetes.delete(EXPORTS, "held")
    await until(lambda: len(cluster.removals()) > known)
    removal = cluster.removals()[-1]
    await cluster.stays(lambda: "held" in cluster.kubernetes.objects(EXPORTS))
    cluster.end_pod(cluster.run_pod(removal), 0, Outcome())
    cluster.end_job(removal, builders.complete())
    await until(lambda: "held" not in cluster.kubernetes.objects(EXPORTS))


async def test_a_node_whose_clock_is_behind_shortens_no_retention(cluster: Cluster) -> None:
    cluster.ask("kept", retentionSeconds=3600)
    job = await cluster.job("kept")
    pod, before = cluster.run_pod(job), timestamps.now()
    cluster.end_pod(pod, 0, DONE, startedAt=builders.ago(86460), finishedAt=builders.ago(86400))
    status = await cluster.ended("kept")
    assert timestamps.from_text(status["expirationTime"]) >= before + timedelta(seconds=3600)
    removals = cluster.removals()
    await cluster.stays(lambda: "kept" in cluster.kubernetes.objects(EXPORTS))
    assert cluster.removals() == removals


async def test_a_target_that_changes_later_changes_no_retention(cluster: Cluster) -> None:
    cluster.target("lasting", retentionSeconds=3600)
    cluster.ask("lasting", "lasting")
    job = await cluster.job("lasting")
    await until(lambda: "jobName" in cluster.status("lasting"))
    cluster.kubernetes.change("exporttargets", "lasting", {"spec": {"retentionSeconds": 1}})
    cluster.end_pod(cluster.run_pod(job), 0, DONE)
    status = await cluster.ended("lasting")
    left = timestamps.from_text(status["expirationTime"]) - timestamps.now()
    assert left > timedelta(seconds=3000)


async def test_no_more_exports_run_than_the_target_allows(cluster: Cluster) -> None:
    cluster.target("narrow", maxConcurrent=2)
    asked = ["narrow-1", "narrow-2", "narrow-3"]
    for name in asked:
        cluster.ask(name, "narrow")

    def begun() -> list[str]:
        return [name for name in asked if cluster.jobs(name)]

    await cluster.stays(lambda: len(begun()) == 2)
    first = begun()[0]
    pod = cluster.run_pod(await cluster.job(first))
    await cluster.stays(lambda: len(begun()) == 2)
    cluster.end_pod(pod, 0, DONE)
    await until(lambda: len(begun()) == 3)


async def test_a_cancel_is_over_when_its_pod_is(cluster: Cluster) -> None:
    """Until then its place is taken, too."""
    cluster.target("single")
    cluster.ask("cancelled", "single")
    pod = cluster.run_pod(await cluster.job("cancelled"))
    await until(lambda: cluster.status("cancelled").get("phase") == "Running")
    cluster.ask("next", "single")
    cluster.kubernetes.change(EXPORTS, "cancelled", {"spec": {"cancel": True}})
    # Its Job goes, and the node takes its time with the pod.
    await until(lambda: "deletionTimestamp" in cluster.kubernetes.objects("pods")[pod]["metadata"])
    await cluster.stays(
        lambda: cluster.status("cancelled")["phase"] == "Running" and not cluster.jobs("next")
    )
    cluster.kubernetes.remove("pods", pod)
    assert (await cluster.ended_after_tidying("cancelled"))["phase"] == "Cancelled"
    await cluster.job("next")


async def test_a_mail_that_is_sent_is_not_sent_again(cluster: Cluster) -> None:
    """Whoever heard of it dies before it is written down."""
    task = delivery_task("email")
    cluster.ask("told", notifyEmail="owner@example.com")
    cluster.end_pod(cluster.run_pod(await cluster.job("told")), 0, DONE)
    await cluster.ended("told")
    job = await cluster.job("told", task)
    unwritten = Fault("patch backupexports/status", is_held=True, times=99)
    cluster.kubernetes.faults.append(unwritten)
    cluster.end_pod(cluster.run_pod(job), 0, Outcome(message="Sent."))
    cluster.end_job(job, builders.complete())
    await until(lambda: unwritten.met > 0)
    cluster.operator.signal(signal.SIGKILL)
    cluster.kubernetes.faults.clear()
    unwritten.release()
    cluster.operator.start()
    await cluster.operator.leading()
    await until(lambda: cluster.conditions("told").get("Notified") == "True")
    await cluster.stays(lambda: len(cluster.jobs("told", task)) == 1)


async def test_whoever_only_wears_our_labels_ends_no_export(cluster: Cluster) -> None:
    """A pod of nobody's, and one of another project's Job, with the labels of this export."""
    cluster.ask("mine")
    cluster.ask("theirs")
    job, other = await cluster.job("mine"), await cluster.job("theirs")
    jobs = cluster.kubernetes.objects("jobs")
    own = jobs[job]["metadata"]["labels"]
    forged = replace(builders.ARTIFACT, path="other/file")
    done = builders.ended(0, Outcome(forged))
    stranger = builders.pod_manifest(jobs[job], "stranger", done, ownerReferences=[])
    neighbour = builders.pod_manifest(jobs[other], "neighbour", done)
    neighbour["metadata"]["labels"] |= own
    cluster.kubernetes.seed("pods", stranger, neighbour)
    await cluster.stays(lambda: cluster.status("mine").get("phase") in (None, "Pending"))
    cluster.end_pod(cluster.run_pod(job), 0, DONE)
    assert (await cluster.ended("mine"))["artifact"]["path"] == builders.ARTIFACT.path


async def test_a_late_write_does_not_hit_another_export_of_the_name(cluster: Cluster) -> None:
    held = Fault("patch backupexports/status", is_held=True)
    cluster.kubernetes.faults.append(held)
    cluster.ask("anew")
    await until(lambda: held.met == 1)
    uid = "another"
    cluster.kubernetes.remove(EXPORTS, "anew")
    manifest = builders.export_manifest(
        "anew", {"projectId": "nobody"}, uid=uid, creationTimestamp=builders.ago(0)
    )
    cluster.kubernetes.seed(EXPORTS, manifest)
    seen: list[dict[str, Any]] = []
    cluster.kubernetes.listeners.append(
        lambda change: (
            seen.append(change.new)
            if change.new is not None and change.new["metadata"].get("uid") == uid
            else None
        )
    )
    held.release()
    await cluster.stays(lambda: "phase" in cluster.status("anew"))
    assert all("jobName" not in it.get("status", {}) for it in seen)


async def test_a_leader_that_was_frozen_sends_nothing_when_it_wakes_up(tmp_path: Path) -> None:
    async with FakeKubernetes().serving() as kubernetes:
        kubernetes.seed("exporttargets", builders.target_manifest(PROJECT, maxConcurrent=100))
        sleeper, successor = (OperatorProcess(kubernetes, tmp_path) for _ in range(2))
        try:
            sleeper.start()
            await sleeper.leading()
            # What it writes as it begins is over when it is frozen.
            await until(lambda: "status" in kubernetes.objects("exporttargets")["t"])
            successor.start()
            await successor.standing_by()
            before = await sleeper.leading()
            sleeper.signal(signal.SIGSTOP)
            cluster = Cluster(kubernetes, successor)
            asked = [f"meanwhile-{number}" for number in range(20)]
            for name in asked:
                cluster.ask(name)
            await until(lambda: all(cluster.jobs(name) for name in asked), 120)
            sleeper.signal(signal.SIGCONT)
            assert (await sleeper.standing_by()).writes == before.writes
            assert all(len(cluster.jobs(name)) == 1 for name in asked)
        finally:
            sleeper.end()
            successor.end()
