"""Schemathesis (https://schemathesis.io) holds the API to its own OpenAPI document.

All of its checks, and its stateful tests along each of the document's links, against a process
of the API before the cluster's API server.  No operator watches the namespace, so what is
requested there is stored and never run.

The same requests every time; `make schemathesis` runs for SCHEMATHESIS_SECONDS, with others.
"""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import Installation
from local_api import LocalApi, local_api
from playground.targets import API_VERSION
from playground.tools import ROOT, apply, kubectl, make_namespace

pytestmark = pytest.mark.cluster

_SEED = 1
_EXAMPLES = 100
_LONGEST_SECONDS = 1800

# The document's examples name this project, and half of all valid requests are for it: a
# request for one that doesn't exist is a 404 and leads no further.
_PROJECT = "proj-123"
_CONFIGURATION = f"""
[dictionaries.projects]
values = ["{_PROJECT}"]

[parameters."body.project_id"]
dictionary = "projects"
probability = 0.5
"""


@pytest.fixture
def served(installation: Installation, tmp_path: Path) -> Iterator[LocalApi]:
    """`installation` is there for the CRDs alone."""
    namespace = f"backupexport-schemathesis-{secrets.token_hex(3)}"
    make_namespace(namespace)
    try:
        apply(
            {
                "apiVersion": API_VERSION,
                "kind": "ExportTarget",
                "metadata": {"name": "target", "namespace": namespace},
                "spec": {"projectId": _PROJECT, "secretRef": {"name": "nobody-reads-it"}},
            }
        )
        settings = {
            # No job here ever ends, and an answer that doesn't end either can't be checked.
            "BACKUPEXPORT_EVENT_STREAM_SECONDS": "0.1",
            # Without these downloads and links would be errors of the server, said in words.
            "BACKUPEXPORT_EXPORTS_DIRECTORY": str(tmp_path),
            "BACKUPEXPORT_LINK_SECRET": secrets.token_urlsafe(48),
        }
        with local_api(namespace, tmp_path, settings) as api:
            yield api
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")


def test_nothing_is_found(served: LocalApi, tmp_path: Path) -> None:
    seconds = int(os.environ.get("SCHEMATHESIS_SECONDS", "0"))
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(_CONFIGURATION, encoding="utf-8")
    amount = (
        ["--max-time", str(seconds), "--max-examples", "1000"]
        if seconds
        else ["--seed", str(_SEED), "--max-examples", str(_EXAMPLES)]
    )
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "st"),
            "--config-file", str(configuration),
            "run", f"{served.url}/openapi.json",
            "--header", f"Authorization: Bearer {served.token('*')}",
            "--generation-database", "none",
            "--output-truncate", "false",
            "--no-color",
            # Of a server that hangs, and of no other.
            "--request-timeout", "60",
            *amount,
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
            "PYTHONPATH": f"{ROOT}/tests/support:{ROOT}/cluster",
        },
        capture_output=True,
        text=True,
        timeout=(seconds * 2) + _LONGEST_SECONDS,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    # Less would be a run that has not got anywhere; which of the links that it infers by itself are
    # tried is left to its chance.
    links = re.search(r"API Links: +(\d+) covered / (\d+) selected", done.stdout)
    assert links is not None, done.stdout
    assert int(links[1]) * 10 >= int(links[2]) * 8, done.stdout
    made = kubectl("-n", served.namespace, "get", "backupexports", "-o", "name").split()
    cancelled = kubectl(
        "-n", served.namespace, "get", "backupexports", "-o",
        "jsonpath={.items[?(@.spec.cancel==true)].metadata.name}",
    ).split()  # fmt: skip
    summary = done.stdout.partition("SUMMARY")[2]
    print(f"{summary}\n{len(made)} exports made, {len(cancelled)} cancelled")  # noqa: T201 - for -s
    assert len(made) >= 10
    assert cancelled
    assert "Traceback" not in served.log.read_text(encoding="utf-8")
