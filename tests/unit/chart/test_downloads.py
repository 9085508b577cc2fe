"""Downloads in the chart: whether there are any, volume, secret of links, public URL."""

import json
from pathlib import Path
from typing import Any

import pytest
from backupexport_api.downloads.settings import DownloadSettings
from backupexport_contract.storages import AzureStorage, S3Storage, Storages
from backupexport_operator.settings import Settings
from pydantic import TypeAdapter
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


BUCKET = {"s3": {"bucket": "exports"}, "secretRef": {"name": "keys-of-s3"}}
_STORAGES: TypeAdapter[Storages] = TypeAdapter(Storages)
STORAGES = {
    "default": BUCKET,
    "blobs": {
        "azure": {"account": "account", "container": "exports"},
        "secretRef": {"name": "keys-of-azure"},
        "downloads": "stream",
    },
    "by-identity": {"gcs": {"bucket": "exports"}},
    "fast": {"volume": {"claim": "ssd"}},
}


def api_pod(manifests: list[Manifest]) -> Any:
    (deployment,) = of_kind(manifests, "Deployment", "-api")
    return deployment["spec"]["template"]["spec"]


def files_of_buckets(manifests: list[Manifest]) -> dict[str, str]:
    """Each file below the mount of the buckets' Secrets, with the Secret that it is from."""
    found = {}
    for volume in api_pod(manifests)["volumes"]:
        if volume["name"] == "storages":
            for source in volume["projected"]["sources"]:
                # One of a bucket that nobody asks for must not keep the api from starting.
                assert source["secret"]["optional"] is True
                for item in source["secret"]["items"]:
                    assert item["path"].endswith(f"/{item['key']}")
                    found[item["path"]] = source["secret"]["name"]
    return found


def test_the_api_has_the_named_keys_of_buckets_with_a_secret_and_nothing_else() -> None:
    manifests = render({"storages": STORAGES})
    found = files_of_buckets(manifests)
    expected = {f"default/{key}": "keys-of-s3" for key in S3Storage.secret_keys}
    expected |= {f"blobs/{key}": "keys-of-azure" for key in AzureStorage.secret_keys}
    assert found == expected
    (mount,) = (
        mount
        for mount in api_pod(manifests)["containers"][0]["volumeMounts"]
        if mount["name"] == "storages"
    )
    assert mount == {"name": "storages", "mountPath": "/storages", "readOnly": True}
    for component in ("operator", "valkey"):
        (deployment,) = of_kind(manifests, "Deployment", f"-{component}")
        volumes = json.dumps(deployment["spec"]["template"]["spec"]["volumes"])
        assert "keys-of" not in volumes


def test_without_such_a_bucket_it_has_no_mount_of_them() -> None:
    for storages in ({}, {"by-identity": STORAGES["by-identity"]}, {"fast": STORAGES["fast"]}):
        pod = api_pod(render({"storages": storages}))
        assert "storages" not in {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize(
    ("said", "served", "mounted"),
    [
        (None, {"default", "blobs", "by-identity"}, set()),
        (True, set(STORAGES), {"r-backupexport-exports", "ssd"}),
        (False, set(), set()),
    ],
)
def test_the_storages_that_the_api_has_files_of(
    said: bool | None, served: set[str], mounted: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = render({"storages": STORAGES, "api": {"downloads": {"enabled": said}}})
    for name, value in environment(manifests, "operator").items():
        if isinstance(value, str):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("BACKUPEXPORT_NAMESPACE", "n")
    told = environment(manifests, "api")
    storages = _STORAGES.validate_json(told.get("BACKUPEXPORT_STORAGES", "{}"))
    assert storages == {
        name: storage
        for name, storage in _STORAGES.validate_json(json.dumps(STORAGES)).items()
        if name in served
    }
    found = mounts(manifests)
    assert set(found) == mounted
    assert bool(files_of_buckets(manifests)) is bool(served)
    # So mails name what can be fetched.
    names = Settings().downloads
    assert names == (served | {"default"} if mounted else served)
    # Links lead to a bucket as they do to a volume.
    assert ("BACKUPEXPORT_LINK_SECRET_FILE" in told) is bool(served)
    if "ssd" in mounted:
        assert (found["ssd"]["mountPath"], found["ssd"]["readOnly"]) == ("/volumes/fast", True)


def test_without_a_volume_there_is_none_to_mount() -> None:
    values = {"storage": {"enabled": False}, "storages": {"default": BUCKET}, **with_downloads()}
    told = environment(render(values), "api")
    assert mounts(render(values)) == {}
    assert "BACKUPEXPORT_EXPORTS_DIRECTORY" not in told
    assert set(_STORAGES.validate_json(told["BACKUPEXPORT_STORAGES"])) == {"default"}


def test_where_the_api_looks_for_them_is_where_they_are() -> None:
    fields = DownloadSettings.model_fields
    assert fields["storages_directory"].default == Path("/storages")
    assert fields["volumes_directory"].default == Path("/volumes")


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
