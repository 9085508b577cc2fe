"""A release whose exports go to buckets of S3 servers in pods of the same namespace."""

import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from debian_programs import require_programs
from failing_exports import Attempted, begin
from playground.forward import forwarded
from playground.release import Release
from playground.rest import Api
from playground.s3_server import KeyPair, S3Pod, storage_secret
from playground.tools import ROOT, STATE, apply, get, wait_for
from s3_client import Bucket
from s3_pod import reached

PREFIX = "team/exports"
_PIECE = 2**20
_DOCUMENT = ROOT / "docs" / "storage.md"


@dataclass(frozen=True)
class BucketRelease:
    """What tests talk to; `objects` is the first server's bucket, asked as its owner."""

    namespace: str
    release: Release
    s3: S3Pod
    objects: Bucket
    url: str
    everything: Api
    connection: dict[str, str]
    addresses: dict[str, str] = field(default_factory=dict)

    def begin(
        self, project_id: str, storage: str, target: dict[str, Any] | None = None, **spec: Any
    ) -> Attempted:
        """An export by hand of a project of its own, into this storage."""
        target = {"storage": storage, **(target or {})}
        return begin(self.namespace, project_id, self.connection, target, **spec)

    def keys(self, project_id: str) -> list[str]:
        """The names of a project's objects, relative to the prefix."""
        found = self.objects.keys(f"{PREFIX}/{project_id}/")
        return [key.removeprefix(f"{PREFIX}/") for key in found]

    def curl(self, *arguments: str, to: S3Pod | None = None) -> subprocess.CompletedProcess[bytes]:
        """Curl, which finds the S3 servers by the names that pods know them by."""
        command = self._command(to or self.s3, *arguments)
        return subprocess.run(command, capture_output=True, timeout=300, check=False)

    def fetched(self, link: str, size: int, cuts: int = 0) -> str:
        """The SHA-256 (hex) of what a client gets who is cut off and goes on, so often."""
        digest, got = hashlib.sha256(), 0
        ends = [*(size * (cut + 1) // (cuts + 1) for cut in range(cuts)), size]
        for end in ends:
            command = self._command(self.s3, "--location", "--fail", "--range", f"{got}-", link)
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                while got < end and (piece := process.stdout.read(min(_PIECE, end - got))):
                    digest.update(piece)
                    got += len(piece)
                process.kill()
            assert got == end, f"{got} bytes instead of {end}"
        return digest.hexdigest()

    def _command(self, pod: S3Pod, *arguments: str) -> list[str]:
        require_programs(curl="curl")
        command = [
            "curl",
            "--silent",
            "--show-error",
            "--resolve",
            f"{_host(pod)}:{self._address(pod)}",
        ]
        if pod.authority:
            bundle = STATE / f"{self.namespace}-{pod.name}.pem"
            bundle.write_text(pod.authority, encoding="ascii")
            command += ["--cacert", str(bundle)]
        return [*command, *arguments]

    def _address(self, pod: S3Pod) -> str:
        if pod.name not in self.addresses:
            service = get("-n", pod.namespace, "service", pod.name)
            self.addresses[pod.name] = str(service["spec"]["clusterIP"])
        return self.addresses[pod.name]

    def ready_condition(self, project_id: str, status: str, seconds: float = 240) -> dict[str, Any]:
        """The condition StorageReady of a project's target, once it has this status."""

        def look() -> dict[str, Any] | None:
            targets = get("-n", self.namespace, "exporttargets")["items"]
            (target,) = (it for it in targets if it["spec"]["projectId"] == project_id)
            for condition in target.get("status", {}).get("conditions", ()):
                if (condition["type"], condition["status"]) == ("StorageReady", status):
                    found: dict[str, Any] = condition
                    return found
            return None

        return wait_for(look, f"StorageReady {status} of {project_id}", seconds)


def _host(pod: S3Pod) -> str:
    return pod.url.partition("://")[2]


def storage_values(pod: S3Pod, secret: str, **changes: Any) -> dict[str, Any]:
    """The chart's `storages.NAME` for the pod's bucket, below a prefix."""
    return pod.storage(secret, **{"prefix": PREFIX} | changes)


def least_policy(pod: S3Pod) -> str:
    """The policy that docs/storage.md prints, as one of the bucket for the server's user."""
    (printed,) = re.findall(r"```json\n(.*?)```", _DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    policy = json.loads(printed.replace("BUCKET", pod.bucket).replace("PREFIX", PREFIX))
    for statement in policy["Statement"]:
        statement["Principal"] = {"AWS": [pod.user.access_key_id]}
    return json.dumps(policy)


@contextmanager
def bucket_release(
    namespace: str, s3: S3Pod, values: dict[str, Any], connection: dict[str, str]
) -> Iterator[BucketRelease]:
    """The chart with these values; `s3` runs already."""
    release = Release(namespace)
    with ThreadPoolExecutor() as beside:
        installed = beside.submit(release.install, values)
        with reached(s3) as objects:
            installed.result()
            with forwarded(namespace, f"{release.name}-api") as url:
                everything = Api(url, release.token("tests", "--all-projects"))
                yield BucketRelease(namespace, release, s3, objects, url, everything, connection)


def apply_credentials(namespace: str, **keys: KeyPair) -> None:
    """The Secrets of storages by their names."""
    apply(*(storage_secret(namespace, name, pair) for name, pair in keys.items()))
