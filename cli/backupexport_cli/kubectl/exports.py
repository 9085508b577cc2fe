"""The exports as BackupExports, by kubectl: for who has the cluster and no REST address."""

import hashlib
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from backupexport_contract import names, rules
from backupexport_contract.reasons import REST_STATUS, Phase

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.kubectl.failures import KubectlError
from backupexport_cli.kubectl.job_of_resource import SPEC_DEFAULTS, Resource, camel_case, job_of
from backupexport_cli.kubectl.json_documents import JsonDocuments
from backupexport_cli.kubectl.process import Kubectl
from backupexport_cli.service.interface import FINISHED, Job, JobFilter

_RESOURCE = f"{names.EXPORT_PLURAL}.{names.GROUP}"
# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
# What a request doesn't say, and what changes, is no part of what was asked for.
_NOT_ASKED = {"cancel", "artifactPolicy", "activeDeadlineSeconds", "retentionSeconds"}
_LIST = "List the exports with: backupexport --kube jobs"

# A watch that tells nothing for so long may be one that nobody serves any more.
_SILENCE_SECONDS = 20.0
# Cuts that a new watch doesn't bridge.
_NOT_HEALED = (ExitCode.NOT_ALLOWED, ExitCode.NOT_FOUND, ExitCode.USAGE)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
# Between the tries of a create.
_PAUSES = (0.5, 1.0, 2.0, 4.0)
# Of what can't be reached, or can't serve: a namespace that ends, or a right that lacks, stays so.
_PASSES = ("", "ServiceUnavailable")
_PATIENCE_SECONDS = 120.0


class KubeExports:
    """The exports of one namespace."""

    def __init__(
        self,
        kubectl: Kubectl,
        *,
        silence_seconds: float = _SILENCE_SECONDS,
        patience_seconds: float = _PATIENCE_SECONDS,
        pauses: Sequence[float] = _PAUSES,
        on_cut: Callable[[CliError], None] = lambda _: None,
    ) -> None:
        """`on_cut` is told why a watch was cut, which goes on all the same for its patience.

        `pauses` are those between the tries of a create.
        """
        self._kubectl = kubectl
        self._silence_seconds = silence_seconds
        self._patience_seconds = patience_seconds
        self._pauses = pauses
        self._on_cut = on_cut

    def create(self, request: dict[str, Any], idempotency_key: str) -> str:
        """Create a BackupExport whose name follows from the key; return its job id.

        Where there is one of this name already, it is the same export, if it is for the same.  So
        it is tried again where the answer was lost: the cluster may have made it all the same.
        """
        manifest = export_manifest(request, name_of_key(idempotency_key))
        pauses = list(self._pauses)
        ends_at = time.monotonic() + self._patience_seconds
        while True:
            try:
                return self._created(manifest)
            except KubectlError as error:
                may_pass = error.exit_code is ExitCode.UNREACHABLE and error.reason in _PASSES
                if not (may_pass and pauses) or time.monotonic() > ends_at:
                    raise
            time.sleep(pauses.pop(0))

    def _created(self, manifest: Resource) -> str:
        try:
            made = self._kubectl.json(
                "create", "--validate=strict", "--filename=-", stdin=json.dumps(manifest)
            )
        except KubectlError as error:
            if error.reason != "AlreadyExists":
                raise
            made = self._get(manifest["metadata"]["name"])
            if not _asks_the_same(made, manifest):
                raise CliError(
                    ExitCode.FAILED,
                    "This idempotency key was used for another export.",
                    "Use a key of its own for each export, or give none.",
                    code="idempotency_key_reused",
                ) from None
        return str(job_of(made)["job_id"])

    def job(self, job_id: str) -> Job:
        """Return the job of a BackupExport, by its name or its uid."""
        return job_of(self._resource(job_id))

    def jobs(self, wanted: JobFilter, limit: int) -> list[Job]:
        """Return at most `limit` jobs, the newest first."""
        found = self._kubectl.json("get", _RESOURCE, *_selectors(wanted))
        jobs = [job_of(resource) for resource in found.get("items") or ()]
        if not jobs:
            self._check_namespace()
        jobs.sort(key=lambda job: (job["created_at"], job["job_id"]), reverse=True)
        return jobs[:limit]

    def _check_namespace(self) -> None:
        """Raise CliError where there is no such namespace, which lists as an empty one does."""
        if self._kubectl.namespace is None:
            return
        try:
            self._kubectl.run("get", "namespace", self._kubectl.namespace, "--output=name")
        except KubectlError as error:
            # Many may list exports, and not look at namespaces.
            if error.exit_code is ExitCode.NOT_FOUND:
                raise

    def states(self, job_id: str) -> Iterator[Job]:
        """Yield the job now and whenever it changes, until it has finished; cuts are bridged."""
        resource = self._resource(job_id)
        name, uid = resource["metadata"]["name"], resource["metadata"]["uid"]
        last: Job | None = None
        for seen in self._resources(name):
            if seen is None or seen["metadata"]["uid"] != uid:
                raise CliError(
                    ExitCode.NOT_FOUND, f"The export {job_id} was deleted while it went on.", _LIST
                )
            job = job_of(seen)
            if job != last:
                last = job
                yield job
            if job["status"] in FINISHED:
                return

    def cancel(self, job_id: str) -> None:
        """Set `spec.cancel` of a job that waits or runs."""
        resource = self._resource(job_id)
        if job_of(resource)["status"] in FINISHED:
            raise _ended(job_id)
        # With the uid, so that another export that has taken the name is left alone.
        uid = resource["metadata"]["uid"]
        patch = {"metadata": {"uid": uid}, "spec": {"cancel": True}}
        try:
            self._kubectl.run(
                "patch", _RESOURCE, resource["metadata"]["name"], "--type=merge",
                f"--patch={json.dumps(patch)}",
            )  # fmt: skip
        except KubectlError as error:
            # A rule of the CRD refuses it where the export has ended just now.
            if error.reason == "Invalid" and self.job(job_id)["status"] in FINISHED:
                raise _ended(job_id) from None
            raise

    def _resources(self, name: str) -> Iterator[Resource | None]:
        """Yield a BackupExport now and at each change, None where there is none; for ever."""
        bridge = _Bridge(self._patience_seconds)
        while True:
            try:
                for resource in self._watched(name):
                    bridge.is_well()
                    yield resource
            except KubectlError as error:
                if error.exit_code in _NOT_HEALED:
                    raise
                self._on_cut(error)
                bridge.wait(error)

    def _watched(self, name: str) -> Iterator[Resource | None]:
        """Yield a BackupExport now and at each change, None once it is gone, until a cut.

        By a list of one: the watch of a name would leave out what happens before it has begun.
        And what a silent one should have told is asked for.
        """
        documents = JsonDocuments()
        yield self._get_or_none(name)
        watch = (
            "get", _RESOURCE, f"--field-selector=metadata.name={name}", "--output=json",
            "--watch", "--output-watch-events",
        )  # fmt: skip
        with self._kubectl.following(*watch) as followed:
            while (chunk := followed.read(self._silence_seconds)) != b"":
                if chunk is None:
                    yield self._get_or_none(name)
                    continue
                for event in _events(documents, chunk):
                    if event.get("type") == "DELETED":
                        yield None
                    elif event.get("type") in ("ADDED", "MODIFIED"):
                        yield event["object"]
            failure = followed.failure()
        raise failure or KubectlError(
            ExitCode.UNREACHABLE, "The watch has ended.", "Check with: kubectl get --raw /readyz"
        )

    def _resource(self, job_id: str) -> Resource:
        """Return the BackupExport with this job id, or of this name."""
        found = self._get_or_none(job_id) if _NAME.fullmatch(job_id) else None
        if found is None and names.is_uuid(job_id):
            # Of what has a name of its own the id is the uid, which nothing selects by.
            where = f'jsonpath={{.items[?(@.metadata.uid=="{job_id}")].metadata.name}}'
            name = self._kubectl.run("get", _RESOURCE, f"--output={where}").strip()
            found = self._get_or_none(name) if _NAME.fullmatch(name) else None
        if found is None:
            raise CliError(ExitCode.NOT_FOUND, f"There is no export {job_id} here.", _LIST)
        return found

    def _get(self, name: str) -> Resource:
        found: Resource = self._kubectl.json("get", _RESOURCE, name)
        return found

    def _get_or_none(self, name: str) -> Resource | None:
        try:
            return self._get(name)
        except KubectlError as error:
            if error.reason != "NotFound":
                raise
            return None


class _Bridge:
    """Waits after each cut, longer where they come soon, and gives up where all is cut for long."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._pause = _FIRST_PAUSE
        self._last_cut = self._last_well = time.monotonic()

    def is_well(self) -> None:
        self._last_well = time.monotonic()

    def wait(self, error: KubectlError) -> None:
        now = time.monotonic()
        if now - self._last_well > self._patience_seconds:
            raise error
        is_soon = now - self._last_cut < _LONGEST_PAUSE * 2
        self._pause = min(self._pause * 2, _LONGEST_PAUSE) if is_soon else _FIRST_PAUSE
        self._last_cut = now
        time.sleep(self._pause)


def name_of_key(key: str) -> str:
    """Return the version-4 UUID of an idempotency key, the same one every time."""
    digest = hashlib.sha256(f"kubectl:{key}".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def export_manifest(request: dict[str, Any], name: str) -> Resource:
    """Return the BackupExport that a request over REST stands for."""
    spec = {camel_case(field): value for field, value in request.items() if value is not None}
    labels = {names.LABEL_JOB_ID: name}
    project_id = request.get("project_id")
    if isinstance(project_id, str):
        labels[names.LABEL_PROJECT_HASH] = names.project_hash(project_id)
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.EXPORT_KIND,
        # Without the time of this machine, whose clock nobody knows.
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
    }


def _asks_the_same(stored: Resource, manifest: Resource) -> bool:
    return _asked(stored) == _asked(manifest)


def _asked(resource: Resource) -> Resource:
    spec = SPEC_DEFAULTS | resource["spec"]
    return {field: value for field, value in spec.items() if field not in _NOT_ASKED}


def _selectors(wanted: JobFilter) -> list[str]:
    selectors = []
    if wanted.project_id is not None:
        broken = rules.first_broken(rules.PROJECT_ID, wanted.project_id)
        if broken is not None:
            message = f"The project id {broken.message}."
            raise CliError(ExitCode.USAGE, message, "Change --project, and try again.")
        selectors.append(f"spec.projectId={wanted.project_id}")
    phase = None if wanted.status is None else _phase(wanted.status)
    if phase is Phase.PENDING:
        # Its first phase is none at all.
        others = [each for each in Phase if each is not Phase.PENDING]
        selectors += [f"status.phase!={other}" for other in others]
    elif phase is not None:
        selectors.append(f"status.phase={phase}")
    return [f"--field-selector={','.join(selectors)}"] if selectors else []


def _phase(status: str) -> Phase:
    for phase, told in REST_STATUS.items():
        if told == status:
            return phase
    known = ", ".join(REST_STATUS.values())
    raise CliError(ExitCode.USAGE, "There is no such status.", f"The statuses are: {known}.")


def _events(documents: JsonDocuments, chunk: bytes) -> list[dict[str, Any]]:
    try:
        return [event for event in documents.feed(chunk) if isinstance(event, dict)]
    except (ValueError, RecursionError):
        raise KubectlError(
            ExitCode.FAILED,
            "kubectl printed something else than JSON.",
            "Look at `kubectl version`: 1.27 or newer is needed.",
        ) from None


def _ended(job_id: str) -> CliError:
    return CliError(
        ExitCode.FAILED,
        f"The export {job_id} has ended: there is nothing left to cancel.",
        f"Look at it with: backupexport --kube job {job_id}",
    )
