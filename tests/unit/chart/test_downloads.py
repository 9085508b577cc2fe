"""Downloads in the chart: whether there are any, volume, secret of links, public URL."""

from pathlib import Path
from typing import Any

import pytest
from rendered_chart import (
    LONG_SECRET,
    Manifest,
    data_of,
    environment,
    of_kind,
    render,
    rendered_notes,
    secret_file,
    template,
)


def with_downloads(**api: Any) -> dict[str, Any]:
    return {"api": {"downloads": {"enabled": True}, **api}}


def mounts(manifests: list[Manifest]) -> dict[str, Any]:
    """The api's mounts of claims, each with its claim."""
    (deployment,) = of_kind(manifests, "Deployment", "-api")
    spec = deployment["spec"]["template"]["spec"]
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in spec["volumes"]
        if "persistentVolumeClaim" in volume
    }
    return {
        claims[mount["name"]]: mount
        for mount in spec["containers"][0]["volumeMounts"]
        if mount["name"] in claims
    }


@pytest.mark.parametrize(
    ("values", "on"),
    [
        ({}, False),
        ({"storage": {"accessModes": ["ReadWriteMany"]}}, True),
        ({"storage": {"accessModes": ["ReadWriteOnce", "ReadWriteMany"]}}, True),
        ({"storage": {"accessModes": ["ReadWriteOncePod"]}}, False),
        # The chart can't see what modes it has.
        ({"storage": {"existingClaim": "mine", "accessModes": ["ReadWriteMany"]}}, False),
        ({"storage": {"existingClaim": "mine"}, **with_downloads()}, True),
        (with_downloads(), True),
        (
            {
                "storage": {"accessModes": ["ReadWriteMany"]},
                "api": {"downloads": {"enabled": False}},
            },
            False,
        ),
    ],
    ids=str,
)
def test_whether_there_are_any(values: dict[str, Any], on: bool) -> None:
    manifests = render(values)
    claim = values.get("storage", {}).get("existingClaim", "r-backupexport-exports")
    found = mounts(manifests)
    assert list(found) == ([claim] if on else [])
    if on:
        assert found[claim] == {"name": "exports", "mountPath": "/exports", "readOnly": True}
    told = environment(manifests, "api")
    assert told.get("BACKUPEXPORT_EXPORTS_DIRECTORY") == ("/exports" if on else None)
    assert told.get("BACKUPEXPORT_EXPORTS_CLAIM") == (claim if on else None)
    assert ("BACKUPEXPORT_LINK_SECRET_FILE" in told) is on
    assert bool(of_kind(manifests, "Secret", "-links")) is on


def test_the_pods_may_read_what_runners_write() -> None:
    (deployment,) = of_kind(render(with_downloads()), "Deployment", "-api")
    context = deployment["spec"]["template"]["spec"]["securityContext"]
    assert (context["runAsGroup"], context["fsGroup"]) == (65532, 65532)
    assert context["fsGroupChangePolicy"] == "OnRootMismatch"


@pytest.mark.parametrize("values", [{}, with_downloads(), {"storage": {"existingClaim": "a"}}])
def test_the_notes_say_so(values: dict[str, Any], tmp_path: Path) -> None:
    notes = rendered_notes(values, tmp_path)
    on = bool(values.get("api"))
    assert ("Downloads are on" in notes) is on
    assert ("Downloads are off" in notes) is not on
    assert f"api.downloads.enabled={'false' if on else 'true'}" in notes


def secret_of_links(manifests: list[Manifest]) -> Any:
    return secret_file(manifests, "LINK_SECRET_FILE")


def test_a_secret_of_links_is_made() -> None:
    manifests = render(with_downloads())
    made = data_of(manifests, "-links")["link-secret"]
    assert len(made) >= 64
    assert made != data_of(manifests, "-jwt")["jwt-secret"]
    assert secret_of_links(manifests) == {"name": "r-backupexport-links", "key": "link-secret"}


def test_a_given_secret_is_used_and_its_change_rolls_the_api() -> None:
    def of(secret: str) -> tuple[str, str]:
        manifests = render(with_downloads(links={"secret": secret}))
        (api,) = of_kind(manifests, "Deployment", "-api")
        annotations = api["spec"]["template"]["metadata"]["annotations"]
        return data_of(manifests, "-links")["link-secret"], annotations["checksum/links"]

    first, second = of(LONG_SECRET), of(LONG_SECRET[::-1])
    assert first[0] == LONG_SECRET
    assert first[1] != second[1]
    assert len(first[1]) <= 8


def test_an_existing_secret_is_used_and_none_is_made() -> None:
    manifests = render(with_downloads(links={"existingSecret": "mine", "key": "k"}))
    assert not of_kind(manifests, "Secret", "-links")
    assert secret_of_links(manifests) == {"name": "mine", "key": "k"}


def test_the_settings_reach_the_api() -> None:
    downloads = {"enabled": True, "most": 7, "mostEach": 3, "stallSeconds": 61.5}
    told = environment(
        render({"api": {"downloads": downloads, "links": {"maxSeconds": 3600}}}), "api"
    )
    assert told["BACKUPEXPORT_MOST_DOWNLOADS"] == "7"
    assert told["BACKUPEXPORT_MOST_DOWNLOADS_EACH"] == "3"
    assert told["BACKUPEXPORT_DOWNLOAD_STALL_SECONDS"] == "61.5"
    assert told["BACKUPEXPORT_LINK_MAX_SECONDS"] == "3600"


_TLS = [{"secretName": "tls", "hosts": ["e.example.com"]}]
_HTTP = {"allowHttp": True}


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, None),
        ({"publicUrl": "https://x.example/exports/"}, "https://x.example/exports"),
        ({"publicUrl": "https://x.example/a//"}, "https://x.example/a"),
        (
            {"ingress": {"enabled": True, "hosts": ["e.example.com"], **_HTTP}},
            "http://e.example.com",
        ),
        (
            {"ingress": {"enabled": True, "hosts": ["e.example.com", "f"], "tls": _TLS, **_HTTP}},
            "https://e.example.com",
        ),
        # A wildcard is nobody's address.
        (
            {"ingress": {"enabled": True, "hosts": ["*.a", "e.example.com"], **_HTTP}},
            "http://e.example.com",
        ),
        ({"ingress": {"enabled": True, "hosts": ["*.a"], **_HTTP}}, None),
        ({"ingress": {"enabled": False, "hosts": ["e.example.com"], **_HTTP}}, None),
        (
            {
                "publicUrl": "https://x.example",
                "ingress": {"enabled": True, "hosts": ["e.example.com"], **_HTTP},
            },
            "https://x.example",
        ),
    ],
    ids=str,
)
def test_the_public_url(values: dict[str, Any], url: str | None) -> None:
    assert environment(render(values), "api").get("BACKUPEXPORT_PUBLIC_URL") == url


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"publicUrl": "exports.example.com"}, "does not match pattern"),
        ({"publicUrl": "https://x/?a=b"}, "does not match pattern"),
        ({"publicUrl": "https://user@x"}, "does not match pattern"),
        (with_downloads(links={"secret": "short"}), "minLength"),
        (
            with_downloads(links={"secret": LONG_SECRET, "existingSecret": "a"}),
            "secret or existingSecret, not both",
        ),
        (
            {
                "auth": {"jwt": {"secret": LONG_SECRET}},
                **with_downloads(links={"secret": LONG_SECRET}),
            },
            "must be another one than auth.jwt.secret",
        ),
        ({"api": {"downloads": {"enabled": "yes"}}}, "want null or boolean"),
        ({"api": {"links": {"maxSeconds": 59}}}, "minimum"),
    ],
    ids=str,
)
def test_what_is_refused(values: dict[str, Any], why: str) -> None:
    done = template(values)
    assert done.returncode != 0
    assert why in done.stderr
