"""A hundred thousand finished exports with a retention, which no API server has to store.

To create and finish so many in a real cluster takes half an hour.  So a proxy in front of the
API server answers what only they are in, the list and the watch of the exports that await their
removal, with pages made as they are asked for; everything else goes through.
"""

import hashlib
import json
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from ssl import SSLContext
from urllib.parse import parse_qs, urlsplit

import many_exports
from backupexport_contract import names, timestamps
from counting_proxy import CountingProxy, Request
from measures import MeasurementError, check_equal

_RETENTION = timedelta(days=90)
_VERSION = "1"
_PATIENCE_SECONDS = 150.0
# In a page's texts, in place of each export's own.
_NAME, _UID = (str(uuid.UUID(int=number)) for number in (1, 2))
_SELECTOR = "status.disposalPending=true"
_WATCH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


class RetainingProxy(CountingProxy):
    """A proxy that knows of `count` retained exports of a namespace."""

    def __init__(
        self, host: str, port: int, context: SSLContext | None, namespace: str, count: int
    ) -> None:
        super().__init__(host, port, context)
        self._namespace, self._count = namespace, count
        self._created = timestamps.now() - timedelta(days=1)
        self._is_watched = threading.Event()
        self.lists = 0

    def await_watch(self) -> None:
        """Wait until everything was listed and the watch has begun."""
        if not self._is_watched.wait(_PATIENCE_SECONDS):
            raise MeasurementError("the retained exports were not listed and watched in time")

    def check(self) -> None:
        """MeasurementError unless all were listed, and once."""
        check_equal("the lists of the retained exports", self.lists, 1)

    def instead(self, request: Request) -> bytes | None:
        """The answer to the list or the watch of the retained exports."""
        url = urlsplit(request.target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        is_theirs = url.path.endswith(f"/{names.EXPORT_PLURAL}") and request.method == "GET"
        if not is_theirs or query.get("fieldSelector") != _SELECTOR:
            return None
        if request.is_watch:
            self._is_watched.set()
            # Nothing more comes: nobody ends it before the benchmark does.
            return _WATCH
        limit = int(query.get("limit", self._count))
        # That one asks whether the selector is known.
        self.lists += limit > 1 and "continue" not in query
        first = int(query.get("continue", 0))
        last = min(first + limit, self._count)
        metadata = {"resourceVersion": _VERSION}
        if last < self._count:
            metadata["continue"] = str(last)
        kind = {"apiVersion": names.API_VERSION, "kind": f"{names.EXPORT_KIND}List"}
        page = json.dumps({**kind, "metadata": metadata, "items": []}).removesuffix("]}")
        body = f"{page}{','.join(self._exports(first, last))}]}}".encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        return f"{head}\r\n\r\n".encode() + body

    def _exports(self, first: int, last: int) -> Iterator[str]:
        """Yields their JSON; those of a page have the same times, and each project its own text."""
        texts = [json.dumps(self._export(project, first)) for project in many_exports.PROJECTS]
        for number in range(first, last):
            # Alike from list to list, and as hard to pack as what nobody has chosen.
            name, uid = (str(uuid.UUID(bytes=_hash(f"{kind}{number}"))) for kind in "nu")
            yield texts[number % len(texts)].replace(_NAME, name).replace(_UID, uid)

    def _export(self, project: str, number: int) -> dict[str, object]:
        created = self._created - timedelta(seconds=number)
        export = many_exports.manifest(_NAME, project, created)
        export["metadata"] |= {
            "namespace": self._namespace,
            "uid": _UID,
            "generation": 1,
            "resourceVersion": str(10_000 + number),
            "creationTimestamp": many_exports.kubernetes_time(created),
            "managedFields": _MANAGED,
        }
        size = 171_966_464 + number
        export["status"] = many_exports.succeeded(_NAME, project, created, size, 4 * size) | {
            "expirationTime": many_exports.kubernetes_time(created + _RETENTION),
            "disposalPending": True,
            "retentionSeconds": int(_RETENTION.total_seconds()),
        }
        return export


def _hash(text: str) -> bytes:
    return hashlib.md5(text.encode(), usedforsecurity=False).digest()


def _managed(manager: str, subresource: str, *fields: str) -> dict[str, object]:
    owned: dict[str, object] = {f"f:{field}": {} for field in fields}
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": names.API_VERSION,
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {f"f:{subresource}": owned},
        "subresource": subresource,
    }


_MANAGED = [
    _managed("api", "spec", "compress", "format", "projectId"),
    _managed(
        "operator", "status", "artifact", "attempts", "completionTime", "conditions", "jobName",
        "disposalPending", "expirationTime", "observedGeneration", "phase", "progress",
    ),
]  # fmt: skip
