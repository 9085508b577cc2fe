"""The HTTP side: routes, patches, watches, discovery, faults."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonpatch
from aiohttp import web

from fake_kubernetes import refusals
from fake_kubernetes.discovery import discovered
from fake_kubernetes.faults import Fault
from fake_kubernetes.kinds import Kind, kinds
from fake_kubernetes.refusals import Manifest, RefusedError
from fake_kubernetes.selectors import Match, matcher
from fake_kubernetes.storage import Change, Storage

NAMESPACE = "ns"
_TOO_OLD = "The resourceVersion for the provided watch is too old."

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_TRUE = ("true", "True", "1")
# What ends a watch: as the end of its time does, by a cut connection, by an ERROR event.
END = b"end"
CUT = b"cut"
GONE = b"gone"


@dataclass
class Call:
    """A request for a resource; `status` is that of its answer, None while there is none."""

    verb: str
    kind: Kind
    namespace: str
    name: str
    subresource: str
    query: dict[str, str]
    content_type: str
    body: Any
    status: int | None = None

    @property
    def resource(self) -> str:
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


@dataclass(eq=False)
class _Watcher:
    """An open watch; `lines` is what it still has to send."""

    call: Call
    fits: Match
    lines: "asyncio.Queue[bytes]" = field(default_factory=asyncio.Queue)
    is_silent: bool = False

    @property
    def since(self) -> int:
        return int(self.call.query.get("resourceVersion") or 0)

    def tell(self, *lines: bytes) -> None:
        for line in lines:
            if not self.is_silent or line == CUT:
                self.lines.put_nowait(line)


class FakeKubernetes:
    """The server, on the event loop of whoever enters `serving()`; blocking clients need a thread.

    Tests reach its objects past HTTP, by plural: `seed`, `change`, `remove`, `objects`.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        # Called with each change.
        self.listeners: list[Callable[[Change], None]] = []
        self.url = ""
        self.storage = Storage(self._tell)
        self._watchers: list[_Watcher] = []
        self._logs: dict[str, list[bytes]] = {}
        self._ended_logs: set[str] = set()
        self.storage.seed(kinds()["namespaces"], "", {"metadata": {"name": NAMESPACE}})

    # What tests do past HTTP.

    def seed(self, plural: str, *manifests: Manifest) -> list[Manifest]:
        """Store objects as they are, with status and uid, as if they had been there for long."""
        return [
            self.storage.seed(kinds()[plural], it["metadata"].get("namespace", NAMESPACE), it)
            for it in manifests
        ]

    def change(self, plural: str, name: str, patch: Manifest) -> Manifest:
        """Merge `patch` into an object, its status too, as a controller or a person does."""
        kind, status = kinds()[plural], patch.get("status")
        where = (kind, "" if not kind.is_namespaced else NAMESPACE, name)
        rest = {key: value for key, value in patch.items() if key != "status"}
        stored = self.storage.update(*where, lambda it: _merged(it, rest))
        if status is not None and kind.has_status:
            stored = self.storage.update(
                *where, lambda it: _merged(it, {"status": status}), subresource="status"
            )
        return stored

    def delete(self, plural: str, name: str) -> None:
        """Delete an object as kubectl does: its finalizers hold it."""
        kind = kinds()[plural]
        where = NAMESPACE if kind.is_namespaced else ""
        self.storage.delete(kind, where, name, {"propagationPolicy": "Background"})

    def remove(self, plural: str, name: str) -> None:
        """Take an object away at once; the garbage collector follows."""
        self.storage.remove(kinds()[plural], NAMESPACE, name)

    def objects(self, plural: str) -> dict[str, Manifest]:
        """All of them under their names; not to be changed."""
        return {it["metadata"]["name"]: it for it in self.storage.all(kinds()[plural])}

    def end_namespace(self) -> None:
        """Its deletion has begun: nothing new is taken."""
        held = {"spec": {"finalizers": ["kubernetes"]}, "metadata": {"finalizers": ["it"]}}
        self.change("namespaces", NAMESPACE, held)
        self.delete("namespaces", NAMESPACE)

    def compact(self) -> None:
        """Forget older versions: watches and lists that go on from one are told 410."""
        self.storage.compact()

    def log(self, pod: str, *lines: str, ends: bool = False) -> None:
        """What the pod's container writes, and whether that was its last word."""
        self._logs.setdefault(pod, []).extend(f"{line}\n".encode() for line in lines)
        if ends:
            self._ended_logs.add(pod)

    def watching(self, plural: str) -> int:
        """How many watches of it are open."""
        return sum(watcher.call.kind.plural == plural for watcher in self._watchers)

    def tell_watches(self, plural: str, *lines: bytes) -> None:
        """Have every open watch of it send these, whatever they are; END, CUT and GONE end it."""
        for watcher in self._of(plural):
            watcher.tell(*lines)

    def silence(self, plural: str) -> None:
        """Have every open watch of it stay open and tell nothing more."""
        for watcher in self._of(plural):
            watcher.is_silent = True

    def send_bookmarks(self, plural: str) -> None:
        """As about once a minute, to the watches that want them."""
        for watcher in self._of(plural):
            if watcher.call.query.get("allowWatchBookmarks") in _TRUE:
                watcher.tell(self._bookmark(watcher.call.kind))

    def write_kubeconfig(self, folder: Path) -> Path:
        """A kubeconfig that leads here."""
        config = {
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        }
        file = folder / "kubeconfig"
        file.write_text(json.dumps(config))
        return file

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeKubernetes"]:
        """Serve on a free port of this machine, on this event loop."""
        app = web.Application(client_max_size=8 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # A request whose client has given up is not carried out behind its back.
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.05)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            self.url = f"http://{host}:{port}"
            yield self
        finally:
            for watcher in list(self._watchers):
                watcher.tell(CUT)
            for fault in self.faults:
                fault.release()
            await runner.cleanup()

    # A request.

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            call = await _call(request)
            if call is None:
                return discovered(request.path)
        except RefusedError as refusal:
            return _answered(refusal)
        self.calls.append(call)
        fault = next((it for it in self.faults if it.meets(str(call))), None)
        try:
            return await (
                self._meet(fault, request, call) if fault else self._answer(request, call)
            )
        except RefusedError as refusal:
            call.status = refusal.code
            return _answered(refusal, fault.retry_after if fault else None)

    async def _meet(self, fault: Fault, request: web.Request, call: Call) -> web.StreamResponse:
        answer = await self._answer(request, call) if fault.is_stored else None
        if fault.is_held:
            await fault.wait()
        if fault.is_cut:
            call.status = None
            return _cut(request)
        if fault.status is not None:
            raise fault.refusal
        return answer or await self._answer(request, call)

    async def _answer(self, request: web.Request, call: Call) -> web.StreamResponse:
        if call.verb == "watch":
            return await self._watch(request, call)
        if call.subresource == "log":
            return await self._send_log(request, call)
        body = getattr(self, f"_{call.verb}")(call)
        call.status = call.status or 200
        return web.json_response(body, status=call.status)

    def _get(self, call: Call) -> Manifest:
        return self.storage.get(call.kind, call.namespace, call.name)

    def _list(self, call: Call) -> Manifest:
        query = call.query
        asked = int(query.get("resourceVersion") or 0)
        if asked > self.storage.version:
            message = f"Too large resource version: {asked}, current: {self.storage.version}"
            raise RefusedError(504, "Timeout", f"Timeout: {message}")
        limit, token = int(query.get("limit") or 0), query.get("continue", "")
        items, version, rest = self.storage.page(
            call.kind, call.namespace, _fits(call), limit, token
        )
        if not call.kind.is_custom:
            items = [
                {k: v for k, v in it.items() if k not in ("apiVersion", "kind")} for it in items
            ]
        return {
            "apiVersion": call.kind.api_version,
            "kind": f"{call.kind.name}List",
            "metadata": {"resourceVersion": version, "continue": rest},
            "items": items,
        }

    def _create(self, call: Call) -> Manifest:
        call.status = 201
        return self.storage.create(call.kind, call.namespace, call.body)

    def _update(self, call: Call) -> Manifest:
        if call.name not in self.objects(call.kind.plural):
            call.status = 201
        return self.storage.replace(
            call.kind, call.namespace, call.name, call.body, call.subresource
        )

    def _patch(self, call: Call) -> Manifest:
        if call.content_type == "application/merge-patch+json":
            return self._write(call, lambda it: _merged(it, call.body))
        if call.content_type == "application/json-patch+json":
            return self._write(call, lambda it: _json_patched(it, call.body))
        message = "the body of the request was in an unknown format"
        raise RefusedError(415, "UnsupportedMediaType", message)

    def _write(self, call: Call, change: Any) -> Manifest:
        return self.storage.update(
            call.kind,
            call.namespace,
            call.name,
            change,
            subresource=call.subresource,
        )

    def _delete(self, call: Call) -> Manifest:
        options = {"propagationPolicy": call.query.get("propagationPolicy")} | (call.body or {})
        uid = self._get(call)["metadata"]["uid"]
        left = self.storage.delete(call.kind, call.namespace, call.name, options)
        if left is not None:
            return left
        details = {
            "name": call.name,
            "group": call.kind.group,
            "kind": call.kind.plural,
            "uid": uid,
        }
        return {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": details,
        }  # fmt: skip

    # Watches and logs.

    async def _watch(self, request: web.Request, call: Call) -> web.StreamResponse:
        watcher = _Watcher(call, _fits(call))
        watcher.tell(*self._first_lines(watcher))
        self._watchers.append(watcher)
        call.status = 200
        try:
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            response.enable_chunked_encoding()
            await response.prepare(request)
            with suppress(TimeoutError):
                async with asyncio.timeout(float(call.query.get("timeoutSeconds") or 1800)):
                    while (line := await watcher.lines.get()) not in (END, CUT, GONE):
                        await response.write(line)
                if line == CUT:
                    return _cut(request)
                if line == GONE:
                    await response.write(_event("ERROR", refusals.expired(_TOO_OLD).status))
            return response
        finally:
            self._watchers.remove(watcher)

    def _first_lines(self, watcher: _Watcher) -> list[bytes]:
        """What is there already, or what has happened since the version that is asked for."""
        call, fits = watcher.call, watcher.fits
        if watcher.since:
            try:
                changes = self.storage.changes_since(call.kind, call.namespace, watcher.since)
            except RefusedError as refusal:
                return [_event("ERROR", refusal.status), END]
            told = [change.event(fits) for change in changes]
            return [_event(*event) for event in told if event]
        there = filter(fits, self.storage.all(call.kind, call.namespace))
        lines = [_event("ADDED", it) for it in there]
        if call.query.get("sendInitialEvents") == "true":
            lines.append(self._bookmark(call.kind, {"k8s.io/initial-events-end": "true"}))
        return lines

    def _tell(self, change: Change) -> None:
        """Hear of a change from the storage."""
        for listener in self.listeners:
            listener(change)
        for watcher in self._of(change.kind.plural):
            event = change.event(watcher.fits)
            is_new = change.version > watcher.since
            if event and is_new and watcher.call.namespace in ("", change.namespace):
                watcher.tell(_event(*event))

    def _of(self, plural: str) -> list[_Watcher]:
        return [it for it in list(self._watchers) if it.call.kind.plural == plural]

    def _bookmark(self, kind: Kind, annotations: Manifest | None = None) -> bytes:
        metadata = {"resourceVersion": str(self.storage.version), "annotations": annotations or {}}
        body = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}
        return _event("BOOKMARK", body)

    async def _send_log(self, request: web.Request, call: Call) -> web.StreamResponse:
        self._get(call)
        call.status = 200
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        lines = self._logs.setdefault(call.name, [])
        sent = max(0, len(lines) - int(call.query.get("tailLines") or len(lines)))
        while True:
            await response.write(b"".join(lines[sent:]))
            sent = len(lines)
            if call.query.get("follow") != "true" or call.name in self._ended_logs:
                return response
            await asyncio.sleep(0.005)


async def _call(request: web.Request) -> Call | None:
    """The request as one for a resource of ours, or None; a RefusedError where it can't be one."""
    parts = request.path.strip("/").split("/")
    group, rest = ("", parts[1:]) if parts[0] == "api" else ("".join(parts[1:2]), parts[2:])
    version, rest = "".join(rest[:1]), rest[1:]
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    if not rest:
        return None
    plural, name, subresource = [*rest, "", "", ""][:3]
    kind = kinds().get(plural)
    if kind is None or (kind.group, kind.version) != (group, version):
        return None
    if subresource and subresource not in kind.subresources:
        return None
    query = dict(request.query)
    verb = _VERBS.get(request.method, "get" if name else "list")
    if verb == "list" and query.get("watch") in _TRUE:
        verb = "watch"
    if verb not in kind.verbs or (verb in ("update", "patch", "delete") and not name):
        message = f"{verb} is not supported on resources of kind {kind.qualified}"
        raise RefusedError(405, "MethodNotAllowed", message)
    text = await request.text()
    try:
        body = json.loads(text) if text else None
    except ValueError as error:
        raise refusals.bad_request(f"the body is no JSON: {error}") from error
    return Call(verb, kind, namespace, name, subresource, query, request.content_type, body)


def _fits(call: Call) -> Match:
    query = call.query
    return matcher(call.kind, query.get("labelSelector", ""), query.get("fieldSelector", ""))


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _json_patched(target: Manifest, patch: list[Manifest]) -> Manifest:
    """RFC 6902."""
    try:
        patched: Manifest = jsonpatch.apply_patch(target, patch)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        message = "the server rejected our request due to an error in our request"
        raise RefusedError(422, "Invalid", message) from error
    return patched


def _event(sort: str, manifest: Manifest) -> bytes:
    return json.dumps({"type": sort, "object": manifest}).encode() + b"\n"


def _answered(refusal: RefusedError, retry_after: int | None = None) -> web.Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return web.json_response(refusal.status, status=refusal.code, headers=headers)


def _cut(request: web.Request) -> web.Response:
    """No answer: the connection ends instead."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
