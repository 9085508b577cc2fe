"""Which kinds there are, as kopf and kubectl ask for it."""

from aiohttp import web

from fake_kubernetes.kinds import Kind, kinds
from fake_kubernetes.refusals import Manifest

_SUBRESOURCE_VERBS = {"log": ["get"], "status": ["get", "patch", "update"]}


def discovered(path: str) -> web.Response:
    """The answer for a path that is no resource's; each group has one version."""
    groups = {kind.group: kind.version for kind in kinds().values()}
    named = {group: _group(group, version) for group, version in groups.items() if group}
    answers: dict[str, Manifest] = {
        "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.4"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": list(named.values())},
    }
    for group, version in groups.items():
        of = [kind for kind in kinds().values() if kind.group == group]
        answers[f"/apis/{group}/{version}" if group else f"/api/{version}"] = {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": of[0].api_version,
            "resources": [entry for kind in of for entry in _resources(kind)],
        }
    if path in answers:
        return web.json_response(answers[path])
    return web.Response(text="404 page not found\n", status=404)


def _group(group: str, version: str) -> Manifest:
    only = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [only], "preferredVersion": only}


def _resources(kind: Kind) -> list[Manifest]:
    common = {"namespaced": kind.is_namespaced, "kind": kind.name}
    own = {"name": kind.plural, "singularName": kind.name.lower(), "verbs": list(kind.verbs)}
    subresources = [
        {"name": f"{kind.plural}/{sub}", "singularName": "", "verbs": _SUBRESOURCE_VERBS[sub]}
        for sub in kind.subresources
    ]
    return [common | entry for entry in (own, *subresources)]
