"""Exports made by hand to fail for a cause of their own, and what the cluster says of them.

Several are begun first and looked at afterwards, so that their waits run side by side.
"""

import json
import re
import secrets
from dataclasses import dataclass
from typing import Any

from installation import SMALL, Installation
from playground.targets import export_manifest, make_target, read_export
from playground.tools import apply, get, kubectl, wait_for

FINISHED = ("Succeeded", "Failed", "Cancelled")

# Many pods of one moment; what each asks for by default would not fit a small node.
MODEST = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}}

_LONGEST_MESSAGE = 1000
# Only a failing test waits for so long.
_PATIENCE = 400


def small_connection(installation: Installation) -> dict[str, str]:
    """The Secret of the small database's target, whose password is the right one."""
    found = kubectl(
        "-n", installation.namespace, "get", "secret", f"target-{SMALL}", "-o",
        "go-template={{range $k, $v := .data}}{{$k}}={{base64decode $v}}\n{{end}}",
    )  # fmt: skip
    return dict(line.split("=", 1) for line in found.splitlines() if line)


@dataclass(frozen=True)
class Attempted:
    """One BackupExport of one project; `secret` must appear nowhere."""

    namespace: str
    project_id: str
    name: str
    secret: str

    @property
    def job_name(self) -> str:
        """Its Job's name."""
        return f"bex-{self.name}"

    def job_id(self) -> str:
        """The id that its session on the server shows."""
        uid: str = read_export(self.namespace, self.name)["metadata"]["uid"]
        return uid

    def status(self) -> dict[str, Any]:
        """Its status as the API server has it, `{}` while there is none."""
        found: dict[str, Any] = read_export(self.namespace, self.name).get("status", {})
        return found

    def told(self, reason: str, seconds: float = _PATIENCE) -> dict[str, Any]:
        """The first status with `reason`, before the end or at it."""

        def look() -> dict[str, Any] | None:
            status = self.status()
            if status.get("reason") == reason:
                return status
            if status.get("phase") in FINISHED:
                raise AssertionError(f"{self.name} has ended without {reason}: {status}")
            return None

        return wait_for(look, f"{reason} of {self.name}", seconds)

    def ended(self, seconds: float = _PATIENCE) -> dict[str, Any]:
        """Its status once it has ended, well or not."""

        def look() -> dict[str, Any] | None:
            status = self.status()
            return status if status.get("phase") in FINISHED else None

        return wait_for(look, f"the end of {self.name}", seconds)

    def pods(self) -> list[dict[str, Any]]:
        """The pods of its Job that are still there."""
        selector = f"batch.kubernetes.io/job-name={self.job_name}"
        found: list[dict[str, Any]] = get("-n", self.namespace, "pods", "-l", selector)["items"]
        return found

    def job(self) -> dict[str, Any]:
        """Its Job."""
        found: dict[str, Any] = get("-n", self.namespace, "job", self.job_name)
        return found

    def cancel(self) -> None:
        """Ask for its end."""
        kubectl(
            "-n", self.namespace, "patch", "bex", self.name, "--type=merge",
            "-p", '{"spec":{"cancel":true}}',
        )  # fmt: skip

    def has_event(self, kind: str, reason: str) -> bool:
        """Whether `kubectl describe` comes to show an Event of this type and reason."""

        def look() -> bool:
            selector = f"involvedObject.name={self.name},type={kind},reason={reason}"
            return bool(
                get("-n", self.namespace, "events", f"--field-selector={selector}")["items"]
            )

        what = f"a {kind} event {reason} of {self.name}"
        return wait_for(look, what, 120)


def begin(
    namespace: str,
    project_id: str,
    connection: dict[str, str],
    target: dict[str, Any] | None = None,
    **spec: Any,
) -> Attempted:
    """A target for `project_id` and a BackupExport of it, which starts at once."""
    make_target(namespace, project_id, connection, **({"resources": MODEST} | (target or {})))
    return begin_again(namespace, project_id, connection, **spec)


def begin_again(
    namespace: str, project_id: str, connection: dict[str, str], **spec: Any
) -> Attempted:
    """Another BackupExport of a project that has its target."""
    name = f"{project_id.lower()}-{secrets.token_hex(3)}"
    apply(export_manifest(namespace, name, projectId=project_id, **spec))
    return Attempted(namespace, project_id, name, connection.get("password", ""))


def assert_explained(attempted: Attempted, status: dict[str, Any], *words: str) -> None:
    """The message is one sentence with `words` in it, an Event has it, and no secret is told."""
    message = status["message"]
    assert message.endswith("."), message
    assert "\n" not in message
    assert len(message) <= _LONGEST_MESSAGE
    assert "Traceback" not in message
    assert not re.search(r"[.!?] ", _without_brackets(message)), f"not one sentence: {message}"
    for word in words:
        assert re.search(word, message), f"{word!r} is not in {message!r}"
    assert attempted.has_event("Warning", status["reason"])
    assert_nothing_leaked(attempted)


def _without_brackets(text: str) -> str:
    """The sentence without what others say in it."""
    while (shorter := re.sub(r" ?\([^()]*\)", "", text)) != text:
        text = shorter
    return text


def assert_failed_at_once(attempted: Attempted, reason: str, *words: str) -> dict[str, Any]:
    """The export failed for `reason` in its only attempt."""
    status = attempted.ended()
    assert (status["phase"], status["reason"]) == ("Failed", reason), status
    assert_explained(attempted, status, *words)
    assert status["attempts"] == 1
    assert len(attempted.pods()) == 1
    return status


def assert_tried_again_and_failed(attempted: Attempted, reason: str, *words: str) -> dict[str, Any]:
    """The export failed for `reason`, and was tried as often as the release allows (twice)."""
    status = attempted.ended()
    assert (status["phase"], status["reason"]) == ("Failed", reason), status
    assert_explained(attempted, status, *words)
    assert status["attempts"] == 2
    assert attempted.job()["status"]["failed"] == 2
    return status


def assert_nothing_leaked(attempted: Attempted) -> None:
    """Neither the resource nor its Events, Job, pods and logs tell the password."""
    namespace = attempted.namespace
    events = get(
        "-n", namespace, "events", f"--field-selector=involvedObject.name={attempted.name}"
    )
    told = [read_export(namespace, attempted.name), events, attempted.pods()]
    logs = kubectl(
        "-n", namespace, "logs", "-l", f"batch.kubernetes.io/job-name={attempted.job_name}",
        "--tail=-1", "--ignore-errors",
    )  # fmt: skip
    assert attempted.secret
    assert attempted.secret not in json.dumps(told)
    assert attempted.secret not in logs


def files_of(installation: Installation, *project_ids: str) -> list[str]:
    """The files of projects on the volume, hidden ones too, relative to its root."""
    found = installation.volume.run("find", ".", "-type", "f").splitlines()
    files = sorted(line.removeprefix("./") for line in found)
    return [file for file in files if file.partition("/")[0] in project_ids]
