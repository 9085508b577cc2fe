"""The command line on the custom resources, with the user's kubectl and without an address.

Must hold: export, jobs, job, watch and cancel do what they do over REST and show the same; what
Kubernetes refuses ends with the right exit code and words; a cut watch goes on, and the end of a
resource is told.
"""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from api_server_gate import api_server_address, kubeconfig_through
from command_line import CommandLine, first_line, interrupt
from gate import gate
from held_project import HeldProject
from installation import SMALL, Installation
from playground.forward import free_port
from playground.rest import Api
from playground.targets import export_manifest
from playground.tools import ROOT, STATE, apply, environment, get, kubectl, wait_for

pytestmark = pytest.mark.cluster


class KubeCommandLine(CommandLine):
    """Says `--kube` and the namespace each time."""

    namespace = ""

    def started(self, *arguments: str) -> Any:
        return super().started("--kube", f"--namespace={self.namespace}", *arguments)


def command_line(installation: Installation, folder: Path, **variables: Any) -> KubeCommandLine:
    made = KubeCommandLine(folder, **variables)
    made.namespace = installation.namespace
    return made


@pytest.fixture
def cli(installation: Installation, tmp_path: Path) -> KubeCommandLine:
    return command_line(installation, tmp_path / "home")


def test_an_export_is_followed_and_shown_as_over_rest(cli: KubeCommandLine, api: Api) -> None:
    events = cli.run("export", SMALL, "--format", "tar", "--wait", "--json").events
    job_id = events[-1]["job_id"]
    assert events[-1] == api.finished(job_id)
    assert cli.run("job", job_id, "--json").json == api.job(job_id)
    assert cli.run("watch", job_id, "--json").events[-1] == api.job(job_id)
    assert SMALL in cli.run("job", job_id).out


def test_jobs_are_those_of_rest(cli: KubeCommandLine, api: Api) -> None:
    cli.run("export", SMALL, "--wait")
    for options, query in (
        ((), ""),
        (("--project", SMALL), f"&project_id={SMALL}"),
        (("--status", "completed"), "&status=completed"),
    ):
        # Other tests' jobs may change between two questions.
        def look(options: Any = options, query: str = query) -> bool:
            ours = cli.run("jobs", *options, "--limit", "100", "--json").json["jobs"]
            its = api.call("GET", f"/api/jobs?limit=100{query}").body["data"]
            return bool(ours) and ours == its

        wait_for(look, f"the same jobs {query}", 180)


def test_a_repeated_key_is_one_export(cli: KubeCommandLine, installation: Installation) -> None:
    key = secrets.token_hex(8)
    made = [cli.run("export", SMALL, "--idempotency-key", key, "--json").json for _ in range(2)]
    assert made[0] == made[1]
    assert get("-n", installation.namespace, "bex", made[0]["job_id"])["spec"]["projectId"] == SMALL
    assert "key" in cli.run("export", SMALL, "--idempotency-key", key, "--no-owner", code=1).err


def test_a_job_is_cancelled_once(cli: KubeCommandLine, api: Api, held_project: HeldProject) -> None:
    with held_project.locked():
        job_id = cli.run("export", held_project.name, "--json").json["job_id"]
        held_project.wait_until_blocked(job_id)
        cli.run("cancel", job_id)
        cli.run("watch", job_id, code=1)
        assert api.finished(job_id)["status"] == "cancelled"
    assert "cancel" in cli.run("cancel", job_id, code=1).err


def test_one_that_a_person_has_named_has_its_uid_for_an_id(
    cli: KubeCommandLine, installation: Installation
) -> None:
    name = f"by-hand-{secrets.token_hex(3)}"
    apply(export_manifest(installation.namespace, name, projectId=SMALL))
    uid = get("-n", installation.namespace, "bex", name)["metadata"]["uid"]
    assert cli.run("watch", uid, "--json").events[-1]["job_id"] == uid


def test_ctrl_c_leaves_the_export_alone(
    cli: KubeCommandLine, api: Api, held_project: HeldProject
) -> None:
    with held_project.locked():
        with cli.started("export", held_project.name, "--wait") as process:
            job_id = first_line(process)
            held_project.wait_until_blocked(job_id)
            interrupt(process)
            cli.ended(process, code=130)
        wait_for(lambda: api.job(job_id)["status"] == "running", "the export to go on", 120)
        cli.run("cancel", job_id)


def test_a_resource_that_is_deleted_ends_its_watch(
    cli: KubeCommandLine, installation: Installation, held_project: HeldProject
) -> None:
    with held_project.locked(), cli.started("export", held_project.name, "--wait") as process:
        job_id = first_line(process)
        held_project.wait_until_blocked(job_id)
        kubectl("-n", installation.namespace, "delete", "bex", job_id, "--wait=false")
        assert "deleted" in cli.ended(process, code=4).err


def test_a_watch_that_is_cut_goes_on(
    installation: Installation, api: Api, held_project: HeldProject, tmp_path: Path
) -> None:
    with gate(api_server_address()) as between, ExitStack() as stack:
        kubeconfig = kubeconfig_through(between, tmp_path)
        cli = command_line(installation, tmp_path / "home", KUBECONFIG=str(kubeconfig))
        with held_project.locked():
            process = stack.enter_context(
                cli.started("export", held_project.name, "--wait", "--json")
            )
            job_id = json.loads(first_line(process))["job_id"]
            held_project.wait_until_blocked(job_id)
            between.shut()
        job = api.finished(job_id)
        between.open()
        assert cli.ended(process).events[-1] == job


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("export", "a b"), "must be 1 to 100 characters"),
        (("export", SMALL, "--storage-path", "/a"), "drop the leading /"),
        (("export", SMALL, "--table", ""), "must be 1 to 255 characters long"),
        (("export", SMALL, "--email", "nobody"), "must be one e-mail address"),
        (("export", SMALL, "--encrypt-to", "age1x"), "must be a recipient of age"),
        (("jobs", "--project", "a,b"), "project id"),
    ],
    ids=str,
)
def test_a_broken_rule_is_told_by_its_field(
    cli: KubeCommandLine, arguments: tuple[str, ...], word: str
) -> None:
    assert word in cli.run(*arguments, code=2).err


def test_a_namespace_that_is_not_there(cli: KubeCommandLine) -> None:
    cli.namespace = "no-such-namespace"
    assert "no-such-namespace" in cli.run("export", SMALL, code=4).err
    assert "no-such-namespace" in cli.run("jobs", "--json", code=4).err


@pytest.fixture
def nobody(installation: Installation, tmp_path: Path) -> Iterator[Path]:
    """The kubeconfig of a ServiceAccount without rights."""
    namespace, name = installation.namespace, f"nobody-{secrets.token_hex(3)}"
    kubectl("-n", namespace, "create", "serviceaccount", name)
    token = kubectl("-n", namespace, "create", "token", name).strip()
    config = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    config["users"] = [{"name": "nobody", "user": {"token": token}}]
    config["contexts"][0]["context"]["user"] = "nobody"
    file = tmp_path / "nobody"
    file.write_text(json.dumps(config), encoding="utf-8")
    yield file
    kubectl("-n", namespace, "delete", "serviceaccount", name)


def test_who_has_no_right_is_told_so(
    installation: Installation, nobody: Path, tmp_path: Path
) -> None:
    cli = command_line(installation, tmp_path / "home", KUBECONFIG=str(nobody))
    for arguments in (("jobs",), ("export", SMALL)):
        assert "does not allow it" in cli.run(*arguments, code=3).err


def test_a_cluster_that_is_not_there_ends_with_5(
    installation: Installation, tmp_path: Path
) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(Path(environment()["KUBECONFIG"]).read_text(encoding="utf-8"))
    cluster = kubectl(
        "config", "view", f"--kubeconfig={file}", "--minify", "-o", "jsonpath={.clusters[0].name}"
    )
    server = f"--server=https://127.0.0.1:{free_port()}"
    kubectl("config", "set-cluster", cluster, f"--kubeconfig={file}", server)
    cli = command_line(installation, tmp_path / "home", KUBECONFIG=str(file))
    assert "refused" in cli.run("jobs", code=5).err


def test_without_kubeconfig_or_kubectl_it_ends_with_3(
    installation: Installation, tmp_path: Path
) -> None:
    nowhere = str(tmp_path / "none")
    cli = command_line(installation, tmp_path / "home", KUBECONFIG=nowhere)
    assert "knows of no cluster" in cli.run("jobs", code=3).err
    cli = command_line(installation, tmp_path / "home", PATH=nowhere)
    assert "no kubectl" in cli.run("jobs", code=3).err


def test_as_a_plugin_of_kubectl_it_is_the_same(installation: Installation, tmp_path: Path) -> None:
    plugin = tmp_path / "kubectl-backupexport"
    plugin.write_text(f'#!/bin/sh\nexec {sys.executable} -m backupexport_cli "$@"\n')
    plugin.chmod(0o755)
    namespace = f"--namespace={installation.namespace}"
    path = os.pathsep.join((str(tmp_path), str(STATE / "bin"), os.environ["PATH"]))
    done = subprocess.run(
        [STATE / "bin" / "kubectl", "backupexport", "--kube", namespace, "jobs", "--json"],
        env={
            **environment(),
            "PATH": path,
            "PYTHONPATH": f"{ROOT / 'cli'}{os.pathsep}{ROOT / 'crds'}",
        },
        stdout=subprocess.PIPE,
        check=True,
    )
    assert "jobs" in json.loads(done.stdout)
