"""What ours rely on of a Kubernetes API, as tests: the fake and a real one must both keep it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from kubernetes.aio import client

EXPORTS = "apis/backupexport.dev/v1alpha1", "backupexports"
TARGETS = "apis/backupexport.dev/v1alpha1", "exporttargets"
JOBS = "apis/batch/v1", "jobs"
LEASES = "apis/coordination.k8s.io/v1", "leases"
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"

Kind = tuple[str, str]


class Asked:
    """Requests by hand to one namespace of an API server."""

    def __init__(self, api_client: client.ApiClient, namespace: str) -> None:
        self.api_client = api_client
        self.namespace = namespace

    def path(self, kind: Kind, *below: str) -> str:
        return "/".join(["", kind[0], "namespaces", self.namespace, kind[1], *below])

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = "application/json",
        **query: str,
    ) -> tuple[int, Any]:
        """The status and the answer's JSON, or its text where it is none."""
        async with self.opened(method, path, body, content_type, **query) as response:
            text = await response.text()
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, text

    @asynccontextmanager
    async def opened(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = "application/json",
        **query: str,
    ) -> AsyncIterator[Any]:
        request = await self.api_client.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = await self.api_client.call_api(
            *request, _request_timeout=60, _preload_content=False
        )
        async with answer.response as response:
            yield response

    async def create(self, kind: Kind, manifest: dict[str, Any], **query: str) -> tuple[int, Any]:
        return await self.send("POST", self.path(kind), manifest, **query)

    async def get(self, kind: Kind, name: str) -> tuple[int, Any]:
        return await self.send("GET", self.path(kind, name))

    async def patch(
        self, kind: Kind, name: str, body: Any, content_type: str = MERGE
    ) -> tuple[int, Any]:
        return await self.send("PATCH", self.path(kind, *name.split("/")), body, content_type)

    async def delete(self, kind: Kind, name: str, **options: Any) -> tuple[int, Any]:
        return await self.send("DELETE", self.path(kind, name), options)

    async def list(self, kind: Kind, **query: str) -> tuple[int, Any]:
        return await self.send("GET", self.path(kind), **query)

    @asynccontextmanager
    async def watching(
        self, kind: Kind, **query: str
    ) -> AsyncIterator[Callable[[], Awaitable[tuple[str, Any]]]]:
        """The next event's type and object, each time it is called."""
        query = {"watch": "true", "timeoutSeconds": "60", **query}
        async with self.opened("GET", self.path(kind), **query) as response:
            assert response.status == 200

            async def following() -> tuple[str, Any]:
                event = json.loads(await response.content.readline())
                return event["type"], event["object"]

            yield following


def export(name: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "backupexport.dev/v1alpha1",
        "kind": "BackupExport",
        "metadata": {"name": name, **metadata},
        "spec": {"projectId": "p"},
    }


def job(name: str, **metadata: Any) -> dict[str, Any]:
    """A Job that no controller touches."""
    container = {"name": "c", "image": "none"}
    pod = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, **metadata},
        "spec": {"suspend": True, "template": pod},
    }


def lease(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name},
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 10},
    }


def owned_by(owner: dict[str, Any], name: str) -> dict[str, Any]:
    metadata = owner["metadata"]
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    return lease(name) | {"metadata": {"name": name, "ownerReferences": [reference]}}


async def the_server_fills_in(server: Asked) -> None:
    code, made = await server.create(EXPORTS, export("a") | {"status": {"phase": "Failed"}})
    assert code == 201
    metadata = made["metadata"]
    assert metadata["namespace"] == server.namespace
    assert metadata["generation"] == 1
    assert int(metadata["resourceVersion"]) > 0
    assert metadata["uid"]
    assert metadata["creationTimestamp"].endswith("Z")
    assert "status" not in made
    assert (await server.get(EXPORTS, "a"))[1] == made


async def a_name_is_given_out_once(server: Asked) -> None:
    await server.create(EXPORTS, export("a"))
    code, said = await server.create(EXPORTS, export("a"))
    assert (code, said["reason"], said["code"]) == (409, "AlreadyExists", 409)
    assert said["details"] == {"name": "a", "group": "backupexport.dev", "kind": "backupexports"}
    assert said["message"] == 'backupexports.backupexport.dev "a" already exists'
    assert said["status"] == "Failure"


async def a_name_can_be_generated(server: Asked) -> None:
    made = [
        (await server.create(EXPORTS, export("", generateName="a-")))[1]["metadata"]["name"]
        for _ in range(2)
    ]
    assert len(set(made)) == 2
    assert all(name.startswith("a-") and len(name) == 7 for name in made)


async def what_is_missing_is_said(server: Asked) -> None:
    code, said = await server.get(JOBS, "a")
    assert (code, said["reason"]) == (404, "NotFound")
    assert said["details"] == {"name": "a", "group": "batch", "kind": "jobs"}
    assert said["message"] == 'jobs.batch "a" not found'
    assert (await server.patch(EXPORTS, "a", {}))[0] == 404
    assert (await server.delete(EXPORTS, "a"))[0] == 404
    code, text = await server.send("GET", f"/apis/{server.namespace}.dev/v1/namespaces/a/things")
    assert (code, text) == (404, "404 page not found\n")
    elsewhere = Asked(server.api_client, f"{server.namespace}-none")
    code, said = await elsewhere.create(EXPORTS, export("a"))
    assert (code, said["reason"], said["details"]["kind"]) == (404, "NotFound", "namespaces")


async def an_old_version_is_a_conflict(server: Asked) -> None:
    _, first = await server.create(EXPORTS, export("a"))
    labels = {"metadata": {"labels": {"x": "y"}}}
    code, second = await server.patch(EXPORTS, "a", labels)
    assert code == 200
    assert second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    old = {"resourceVersion": first["metadata"]["resourceVersion"]}
    for where, patch in (
        ("a", {"metadata": {"finalizers": ["example.com/x"], **old}}),
        ("a/status", {"metadata": old, "status": {"phase": "Pending"}}),
    ):
        code, said = await server.patch(EXPORTS, where, patch)
        assert (code, said["reason"]) == (409, "Conflict")
        assert said["details"]["name"] == "a"
        assert "the object has been modified" in said["message"]
    assert (await server.get(EXPORTS, "a"))[1] == second
    code, said = await server.send("PUT", server.path(EXPORTS, "a"), first)
    assert (code, said["reason"]) == (409, "Conflict")


async def a_version_may_not_be_left_out(server: Asked) -> None:
    for kind, manifest in ((EXPORTS, export("a")), (LEASES, lease("a"))):
        await server.create(kind, manifest)
        code, said = await server.send("PUT", server.path(kind, "a"), manifest)
        assert (code, said["reason"]) == (422, "Invalid")
        assert said["details"]["causes"][0]["field"] == "metadata.resourceVersion"


async def a_change_of_nothing_is_none(server: Asked) -> None:
    _, made = await server.create(EXPORTS, export("a"))
    _, patched = await server.patch(EXPORTS, "a/status", {"status": {"phase": "Pending"}})
    for where, patch in (
        ("a/status", {"status": {"phase": "Pending"}}),
        ("a", {"spec": {"projectId": "p"}}),
        ("a", {"status": {"phase": "Running"}}),
        ("a", {"metadata": {"finalizers": [], "labels": {}}}),
    ):
        code, same = await server.patch(EXPORTS, where, patch)
        assert code == 200
        assert same["metadata"]["resourceVersion"] == patched["metadata"]["resourceVersion"]
        assert same["status"] == {"phase": "Pending"}
    since = made["metadata"]["resourceVersion"]
    async with server.watching(EXPORTS, resourceVersion=since) as following:
        assert (await following())[0] == "MODIFIED"
        await server.delete(EXPORTS, "a")
        assert (await following())[0] == "DELETED"


async def status_and_spec_are_written_apart(server: Asked) -> None:
    await server.create(EXPORTS, export("a"))
    both = {"spec": {"cancel": True}, "status": {"phase": "Pending"}}
    labels = {"metadata": {"labels": {"x": "y"}}}
    _, told = await server.patch(EXPORTS, "a/status", both | labels)
    assert not told["spec"].get("cancel")
    assert "labels" not in told["metadata"]
    assert (told["status"], told["metadata"]["generation"]) == ({"phase": "Pending"}, 1)
    _, changed = await server.patch(EXPORTS, "a", {**both, "status": {"phase": "Running"}})
    assert changed["spec"]["cancel"]
    assert (changed["status"], changed["metadata"]["generation"]) == ({"phase": "Pending"}, 2)


async def another_uid_is_refused(server: Asked) -> None:
    await server.create(EXPORTS, export("a"))
    patch = {"metadata": {"uid": "another"}, "spec": {"cancel": True}}
    code, said = await server.patch(EXPORTS, "a", patch)
    assert (code, said["reason"]) == (422, "Invalid")
    assert {cause["field"] for cause in said["details"]["causes"]} == {"metadata.uid"}
    assert not (await server.get(EXPORTS, "a"))[1]["spec"].get("cancel")


async def a_put_is_for_this_very_object(server: Asked) -> None:
    for kind, manifest in ((EXPORTS, export("a")), (LEASES, lease("a"))):
        _, made = await server.create(kind, manifest)
        path = server.path(kind, "a")
        other = {**made, "metadata": made["metadata"] | {"uid": "another"}}
        code, said = await server.send("PUT", path, other)
        assert (code, said["reason"]) == (409, "Conflict")
        assert (await server.get(kind, "a"))[1] == made
        assert (await server.send("PUT", path, made))[0] == 200
        await server.delete(kind, "a")
        code, _ = await server.send("PUT", path, made)
        assert code == {"backupexports": 404, "leases": 409}[kind[1]]
    code, anew = await server.send("PUT", server.path(LEASES, "a"), lease("a"))
    assert (code, anew["spec"]["holderIdentity"]) == (201, "a"), "only a Lease is made by a PUT"


async def a_delete_may_ask_for_this_very_object(server: Asked) -> None:
    _, made = await server.create(EXPORTS, export("a"))
    uid, version = made["metadata"]["uid"], made["metadata"]["resourceVersion"]
    for wrong in ({"uid": "another"}, {"resourceVersion": "1"}):
        code, said = await server.delete(EXPORTS, "a", preconditions=wrong)
        assert (code, said["reason"]) == (409, "Conflict")
        assert "does not match the" in said["message"]
    right = {"uid": uid, "resourceVersion": version}
    code, said = await server.delete(EXPORTS, "a", preconditions=right)
    assert (code, said["status"], said["details"]["uid"]) == (200, "Success", uid)
    assert (await server.get(EXPORTS, "a"))[0] == 404


async def a_finalizer_holds_an_object(server: Asked) -> None:
    _, made = await server.create(EXPORTS, export("a", finalizers=["example.com/x"]))
    code, held = await server.delete(EXPORTS, "a")
    assert code == 200
    assert held["metadata"]["deletionTimestamp"].endswith("Z")
    assert held["metadata"]["uid"] == made["metadata"]["uid"]
    more = {"metadata": {"finalizers": ["example.com/x", "example.com/y"]}}
    code, said = await server.patch(EXPORTS, "a", more)
    assert (code, said["details"]["causes"][0]["field"]) == (422, "metadata.finalizers")
    code, _ = await server.patch(EXPORTS, "a", {"metadata": {"finalizers": []}})
    assert code == 200
    assert (await server.get(EXPORTS, "a"))[0] == 404


async def a_json_patch_is_a_whole(server: Asked) -> None:
    await server.create(EXPORTS, export("a", finalizers=["example.com/x", "example.com/y"]))
    path = "/metadata/finalizers/0"
    remove = {"op": "remove", "path": path}
    test = {"op": "test", "path": path, "value": "example.com/y"}
    code, said = await server.patch(EXPORTS, "a", [test, remove], JSON_PATCH)
    assert (code, said["reason"]) == (422, "Invalid")
    test["value"] = "example.com/x"
    code, patched = await server.patch(EXPORTS, "a", [test, remove], JSON_PATCH)
    assert (code, patched["metadata"]["finalizers"]) == (200, ["example.com/y"])
    code, _ = await server.patch(EXPORTS, "a", {}, "application/strategic-merge-patch+json")
    assert code == 415


async def lists_choose(server: Asked) -> None:
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "2"}), ("c", {})):
        await server.create(EXPORTS, export(name, labels=labels))
    await server.patch(EXPORTS, "a/status", {"status": {"phase": "Failed"}})
    for query, names in (
        ({}, "abc"),
        ({"labelSelector": "x=1"}, "a"),
        ({"labelSelector": "x"}, "ab"),
        ({"labelSelector": "!x"}, "c"),
        ({"labelSelector": "x!=1"}, "bc"),
        ({"fieldSelector": "status.phase=Failed"}, "a"),
        ({"fieldSelector": "status.phase!=Failed,status.phase!=Cancelled"}, "bc"),
        ({"fieldSelector": "spec.projectId=p,metadata.name=b"}, "b"),
        ({"fieldSelector": "spec.projectId=q"}, ""),
    ):
        code, found = await server.list(EXPORTS, **query)
        assert (code, found["kind"]) == (200, "BackupExportList")
        assert "".join(item["metadata"]["name"] for item in found["items"]) == names
    code, said = await server.list(EXPORTS, fieldSelector="spec.format=sql")
    assert (code, said["reason"]) == (400, "BadRequest")
    assert "field label not supported: spec.format" in said["message"]


async def pages_show_one_moment(server: Asked) -> None:
    for name in "ace":
        await server.create(EXPORTS, export(name))
    _, first = await server.list(EXPORTS, limit="2")
    await server.create(EXPORTS, export("d"))
    await server.delete(EXPORTS, "e")
    token = first["metadata"]["continue"]
    _, second = await server.list(EXPORTS, **{"limit": "2", "continue": token})
    assert [item["metadata"]["name"] for item in first["items"] + second["items"]] == list("ace")
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    assert not second["metadata"].get("continue")


async def a_watch_tells_what_happened_since(server: Asked) -> None:
    _, found = await server.list(EXPORTS)
    since = found["metadata"]["resourceVersion"]
    await server.create(EXPORTS, export("a"))
    async with server.watching(EXPORTS, resourceVersion=since) as following:
        sort, made = await following()
        assert (sort, made["metadata"]["name"]) == ("ADDED", "a")
        _, patched = await server.patch(EXPORTS, "a", {"spec": {"cancel": True}})
        assert await following() == ("MODIFIED", patched)
        await server.delete(EXPORTS, "a")
        sort, gone = await following()
    assert (sort, gone["spec"]) == ("DELETED", patched["spec"])
    version = int(patched["metadata"]["resourceVersion"])
    assert int(gone["metadata"]["resourceVersion"]) > version


async def what_leaves_a_selector_is_deleted_for_its_watch(server: Asked) -> None:
    _, found = await server.list(EXPORTS)
    since = found["metadata"]["resourceVersion"]
    unfinished = {"fieldSelector": "status.phase!=Failed", "resourceVersion": since}
    async with server.watching(EXPORTS, **unfinished) as following:
        await server.create(EXPORTS, export("a"))
        assert (await following())[0] == "ADDED"
        _, told = await server.patch(EXPORTS, "a/status", {"status": {"phase": "Failed"}})
        sort, last_seen = await following()
    assert sort == "DELETED"
    assert last_seen["metadata"]["resourceVersion"] == told["metadata"]["resourceVersion"]
    assert not last_seen.get("status"), "it is shown as it was while it fitted"


async def a_watch_may_begin_with_what_there_is(server: Asked) -> None:
    _, made = await server.create(EXPORTS, export("a"))
    query = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    async with server.watching(EXPORTS, **query) as following:
        assert await following() == ("ADDED", made)
        sort, bookmark = await following()
    assert sort == "BOOKMARK"
    assert bookmark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    version = int(made["metadata"]["resourceVersion"])
    assert int(bookmark["metadata"]["resourceVersion"]) >= version


async def a_watch_from_long_ago_is_told_so(server: Asked) -> None:
    async with server.watching(EXPORTS, resourceVersion="1") as following:
        sort, said = await following()
    assert (sort, said["code"], said["reason"]) == ("ERROR", 410, "Expired")


async def a_jobs_dependents_stay_unless_asked_for(server: Asked) -> None:
    for name, options in (("a", {}), ("b", {"propagationPolicy": "Background"})):
        _, owner = await server.create(JOBS, job(name))
        await server.create(LEASES, owned_by(owner, name))
        await server.delete(JOBS, name, **options)

    async def is_gone(kind: Kind, name: str) -> bool:
        return (await server.get(kind, name))[0] == 404

    await _until(lambda: is_gone(LEASES, "b"))
    await _until(lambda: is_gone(JOBS, "a"))
    code, kept = await server.get(LEASES, "a")
    assert (code, kept["metadata"].get("ownerReferences", [])) == (200, [])


async def what_has_lost_its_owner_is_collected(server: Asked) -> None:
    _, owner = await server.create(EXPORTS, export("a"))
    await server.delete(EXPORTS, "a")
    await server.create(LEASES, owned_by(owner, "a"))

    async def is_gone() -> bool:
        return (await server.get(LEASES, "a"))[0] == 404

    await _until(is_gone)


async def cleared(server: Asked) -> None:
    """Take away what a promise has left, for the next one."""
    for kind in (EXPORTS, JOBS, LEASES):
        for item in (await server.list(kind))[1]["items"]:
            name = item["metadata"]["name"]
            await server.patch(kind, name, {"metadata": {"finalizers": None}})
            await server.delete(kind, name, propagationPolicy="Background")

        async def is_empty(kind: Kind = kind) -> bool:
            return not (await server.list(kind))[1]["items"]

        await _until(is_empty)


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(120):
        while not await condition():
            await asyncio.sleep(0.02)


PROMISES: list[Callable[[Asked], Awaitable[None]]] = [
    the_server_fills_in,
    a_name_is_given_out_once,
    a_name_can_be_generated,
    what_is_missing_is_said,
    an_old_version_is_a_conflict,
    a_version_may_not_be_left_out,
    a_change_of_nothing_is_none,
    status_and_spec_are_written_apart,
    another_uid_is_refused,
    a_put_is_for_this_very_object,
    a_delete_may_ask_for_this_very_object,
    a_finalizer_holds_an_object,
    a_json_patch_is_a_whole,
    lists_choose,
    pages_show_one_moment,
    a_watch_tells_what_happened_since,
    what_leaves_a_selector_is_deleted_for_its_watch,
    a_watch_may_begin_with_what_there_is,
    a_watch_from_long_ago_is_told_so,
    a_jobs_dependents_stay_unless_asked_for,
    what_has_lost_its_owner_is_collected,
]
