"""`make demo`: from nothing to a mail, fetched files and restored databases, step by step.

Needs a cluster and images (`make cluster-up images`); running it again works.
"""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_cluster.errors import ClusterError
from playground import demo_database, forward, owner
from playground.command_line import DIRECTORY, CommandLine
from playground.mail_server import MailServer
from playground.postgres import Postgres
from playground.release import Release
from playground.restore import ExportsVolume
from playground.s3_server import S3Pod, storage_secret
from playground.targets import make_target, read_export
from playground.tools import (
    ROOT,
    STATE,
    apply,
    environment,
    kubectl,
    make_namespace,
    wait_for,
)

NAMESPACE = "backupexport-demo"
PROJECT = "demo-shop"
PORT, S3_PORT = 18080, 18070
CLAIM = "backupexport-exports"
FORMATS = ("sql", "tar")
# Its owner gets a mail, and fetches the file by a link.
FETCHED = FORMATS[0]
OWNER = "owner@example.com"
SENDER = "exports@example.com"
# The same database again: its exports go to the bucket of this storage, which a Secret is named as.
ARCHIVED, STORAGE = "demo-archive", "bucket"
# Stays, for what is in the bucket can be decrypted by nothing else.
IDENTITY = STATE / "demo-identity.txt"

_began = time.monotonic()


class DemoFailedError(RuntimeError):
    """Something did not come out as it must; the message says what."""


def step(text: str) -> None:
    """A headline with the time since the start."""
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}[{time.monotonic() - _began:4.0f}s] {text}{plain}", flush=True)


def main() -> int:
    """0 where the mail came and all exports restore to equal databases."""
    try:
        demo()
    except (RuntimeError, OSError, ClusterError, subprocess.SubprocessError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    return 0


def demo() -> None:
    """All of it, in order."""
    owner.require_programs()
    make_namespace(NAMESPACE)
    server = Postgres(NAMESPACE)
    step("PostgreSQL 17 in a pod, and a database that is nobody's toy")
    server.start()
    fresh = demo_database.load(server)
    size = server.psql("SELECT pg_size_pretty(pg_database_size('demo'))")
    print(f"database demo: {size}{'' if fresh else ' (still there from an earlier run)'}")

    step("A mail server in a pod, with TLS and a login")
    mail = MailServer(NAMESPACE)
    mail.start()
    print(f"{mail.host}:{mail.starttls_port}, the login in the Secret {mail.login_secret}")

    step("An S3 server in a pod, with a bucket")
    port, s3_port = forward.ports_to_leave_forwarded(PORT, S3_PORT)
    s3 = S3Pod(NAMESPACE, tls=False)
    s3.start()
    apply(storage_secret(NAMESPACE, STORAGE, s3.owner))
    s3_url = forward.leave_forwarded(NAMESPACE, s3.name, s3_port, "s3")
    print(f"{s3.url} for pods, {s3_url} for us; the keys in the Secret {STORAGE}")

    step("The project, installed by its own chart")
    release = Release(NAMESPACE)
    release.install(
        {
            "storage": {"size": "5Gi"},
            "storages": {STORAGE: s3.storage(STORAGE, publicEndpoint=s3_url)},
            "publicUrl": f"http://127.0.0.1:{port}",
            "deliveries": {"email": _mail_settings(mail)},
        }
    )
    print(kubectl("-n", NAMESPACE, "get", "deployments,pods,pvc").rstrip())

    step("ExportTargets: where databases of projects are, and where their exports go")
    connection = demo_database.exporter_connection(server)
    make_target(NAMESPACE, PROJECT, connection)
    make_target(NAMESPACE, ARCHIVED, connection, storage=STORAGE)
    wait_for(_targets_ready, "the Ready condition of both", 60)
    print(kubectl("-n", NAMESPACE, "get", "exporttargets").rstrip())
    print(f"exports of {ARCHIVED} go to the storage {STORAGE}, the others to the volume")

    step("A token, and the API on 127.0.0.1")
    token = release.token("demo", "--project", PROJECT, "--project", ARCHIVED, "--ttl", "24h")
    url = forward.leave_forwarded(NAMESPACE, f"{release.name}-api", port)
    commands = CommandLine(url, token)
    _write_environment(commands)
    print(url)
    commands.show("whoami")

    jobs = {dump_format: _export_to_volume(commands, dump_format) for dump_format in FORMATS}
    _show_mail(mail, commands, jobs[FETCHED]["job_id"])
    encrypted = _export_to_bucket(commands)

    step("The same story in kubectl")
    print(kubectl("-n", NAMESPACE, "get", "backupexports", "-o", "wide").rstrip())

    volume = ExportsVolume(NAMESPACE, CLAIM, server)
    volume.open()
    with tempfile.TemporaryDirectory(prefix="backupexport-demo-") as folder:
        file = _fetch(commands, jobs[FETCHED], Path(folder))
        for dump_format, job in jobs.items():
            _prove(volume, server, job, file if dump_format == FETCHED else None)
    _prove_encrypted(commands, server, encrypted)
    _summary(url, [*jobs.values(), encrypted])


def _mail_settings(mail: MailServer) -> dict[str, Any]:
    return {
        "host": mail.host,
        "port": mail.starttls_port,
        "tls": "starttls",
        "from": SENDER,
        "allowedDomains": [OWNER.partition("@")[2]],
        "caCertificates": mail.authority,
        "secretRef": {"name": mail.login_secret},
    }


def _targets_ready() -> bool:
    ready = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}"
    told = kubectl("-n", NAMESPACE, "get", "exporttargets", "-o", ready)
    return told.split() == ["True", "True"]


def _export_to_volume(commands: CommandLine, dump_format: str) -> dict[str, Any]:
    step(f"An export as {dump_format}, by the command line")
    told = ("--email", OWNER) if dump_format == FETCHED else ()
    return _export(commands, PROJECT, "--format", dump_format, *told)


def _export_to_bucket(commands: CommandLine) -> dict[str, Any]:
    step("An export into the bucket, encrypted to a key that the cluster never sees")
    recipient = owner.recipient(IDENTITY)
    print(f"$ age-keygen -y {IDENTITY.relative_to(ROOT)}\n{recipient}")
    return _export(commands, ARCHIVED, "--encrypt-to", recipient)


def _export(commands: CommandLine, *arguments: str) -> dict[str, Any]:
    job_id = commands.answer("export", *arguments)
    commands.show("watch", job_id)
    commands.show("job", job_id)
    return commands.job(job_id)


def _show_mail(server: MailServer, commands: CommandLine, job_id: str) -> None:
    step(f"The mail that {OWNER} got")
    heading = wait_for(
        lambda: next(
            (one for one in server.messages() if one.message_id.partition("@")[0] == job_id), None
        ),
        f"the mail about job {job_id}",
        60,
    )
    print(f"From: {heading.sender}\nTo: {', '.join(heading.recipients)}")
    print(f"Subject: {heading.subject}\nMessage-ID: <{heading.message_id}>\n")
    print(server.message(heading.id).text.strip())
    told = wait_for(
        lambda: _ended(commands.job(job_id)["notification"]),
        "the outcome of the mail in the API",
        30,
    )
    print(f"\nnotification of the job: {json.dumps(told)}")
    _must(told["status"] == "sent", "the API says that the mail is sent")


def _ended(notification: dict[str, Any] | None) -> dict[str, Any] | None:
    """None while it is not known what became of the mail."""
    return None if notification is None or notification["status"] == "pending" else notification


def _fetch(commands: CommandLine, job: dict[str, Any], folder: Path) -> Path:
    """Download with the token, and compare."""
    step(f"The {job['format']} export, fetched and checked by the command line")
    commands.show("download", job["job_id"], str(folder))
    artifact = job["artifact"]
    (file,) = folder.iterdir()
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    _must(file.name == Path(artifact["path"]).name, "its name is the recorded one")
    _must(file.stat().st_size == artifact["size_bytes"], "its size is the recorded one")
    _must(digest == artifact["sha256"], "its SHA-256 is the recorded one")
    return file


def _prove_encrypted(commands: CommandLine, server: Postgres, job: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="backupexport-demo-") as folder:
        _fetch_from_bucket(commands, job, Path(folder))
        _decrypt_and_restore(server, job, Path(folder))


def _fetch_from_bucket(commands: CommandLine, job: dict[str, Any], folder: Path) -> None:
    """Download by a link, which leads to the bucket, and compare."""
    step("The encrypted export, fetched from the bucket by a link that needs no token")
    command = ["curl", "--fail", "--location", "--remote-name", "--remote-header-name"]
    link = commands.answer("link", job["job_id"], "--lifetime", "10m")
    print(f"$ {shlex.join([*command, link])}", flush=True)
    told = "%{num_redirects} %{url_effective}"
    began = time.monotonic()
    redirects, url = subprocess.check_output(
        [*command, "--silent", "--show-error", "--write-out", told, link], cwd=folder, text=True
    ).split()
    artifact = job["artifact"]
    (file,) = folder.iterdir()
    megabytes, seconds = file.stat().st_size / 1e6, time.monotonic() - began
    print(f"{megabytes:.1f} MB in {seconds:.0f} s, from {url.partition('?')[0]}?...")
    _must(int(redirects) == 1, "the API has led curl there, with a signature after the '?'")
    _must(file.name == Path(artifact["path"]).name, "its name is the recorded one")
    print(f"$ {artifact['check_command']}", flush=True)
    checked = subprocess.run(["bash", "-c", artifact["check_command"]], cwd=folder, check=False)
    _must(checked.returncode == 0, "its SHA-256 is the recorded one")


def _decrypt_and_restore(server: Postgres, job: dict[str, Any], folder: Path) -> None:
    """Restore with the command that the API prints, here; its psql is the one beside the server."""
    step("The encrypted export: decrypted with age, restored by the printed command, compared")
    database = "restored_encrypted"
    server.make_empty(database)
    values = {"DATABASE": database, "KEY": shlex.quote(str(IDENTITY))}
    command = re.sub(
        r"\b(DATABASE|KEY)\b", lambda name: values[name[0]], job["artifact"]["restore_command"]
    )
    psql = f'psql() {{ kubectl -n {NAMESPACE} exec -i {server.pod} -- psql -q "$@"; }}'
    print(f"$ {psql}  # the server's major\n$ {command}", flush=True)
    seconds = _timed(
        lambda: subprocess.run(
            ["bash", "-c", f"{psql}; {command}"],
            cwd=folder,
            env=environment() | {"PATH": f"{STATE / 'bin'}:{os.environ['PATH']}"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
    )
    print(f"decrypted and restored in {seconds:.0f} s")
    _compare(server, database)


def _prove(
    volume: ExportsVolume, server: Postgres, job: dict[str, Any], downloaded: Path | None
) -> None:
    artifact, dump_format = job["artifact"], job["format"]
    path, database = artifact["path"], f"restored_{dump_format}"
    where = "the downloaded file" if downloaded else "the file on the volume"
    step(f"The {dump_format} export: {where}, restored into an empty database, compared")
    manifest = json.loads(volume.text(f"{path}.json"))
    _must({key: manifest[key] for key in artifact} == artifact, "the manifest beside it agrees")
    if downloaded is None:
        _must(volume.size(path) == artifact["size_bytes"], "the size is the recorded one")
        _must(volume.sha256(path) == artifact["sha256"], "the SHA-256 is the recorded one")
        seconds = _timed(lambda: volume.restore(path, database))
    else:
        seconds = _timed(lambda: volume.restore_copy(downloaded, database))
    tool = "psql" if dump_format == "sql" else "pg_restore"
    print(f"restored with {tool} --single-transaction in {seconds:.0f} s")
    _compare(server, database)


def _compare(server: Postgres, database: str) -> None:
    compared = subprocess.run(demo_database.comparison(server, "demo", database), check=False)
    _must(compared.returncode == 0, "schema and content are equal")
    server.psql(f'DROP DATABASE "{database}"')


def _must(holds: bool, text: str) -> None:
    print(f"{'ok' if holds else 'NOT SO'}: {text}", flush=True)
    if not holds:
        raise DemoFailedError(f"not so: {text}")


def _timed(action: Callable[[], object]) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


def _write_environment(commands: CommandLine) -> None:
    file = STATE / "demo.env"
    file.touch(mode=0o600)
    file.chmod(0o600)
    lines = commands.environment() | {
        "NAMESPACE": NAMESPACE,
        "KUBECONFIG": str(STATE / "kubeconfig"),
        "PATH": f"{DIRECTORY}:{STATE / 'bin'}:$PATH",
    }
    file.write_text("".join(f'export {key}="{value}"\n' for key, value in lines.items()), "utf-8")


def _summary(url: str, jobs: list[dict[str, Any]]) -> None:
    step("Done")
    for job in jobs:
        artifact = read_export(NAMESPACE, job["job_id"])["status"]["artifact"]
        place = artifact.get("url") or artifact["path"]
        print(f"{job['format']}: {artifact['displaySize']}, restored and equal ({place})")
    print(
        f"""
The cluster stays up, with a web page on {url} (sign in with BACKUPEXPORT_TOKEN of
.cluster/demo.env). {IDENTITY.relative_to(ROOT)} decrypts what is in the bucket.
Going on by hand:

  . .cluster/demo.env
  backupexport export {PROJECT} --download
  kubectl -n "$NAMESPACE" get backupexports
  kubectl -n "$NAMESPACE" describe backupexport {jobs[0]["job_id"]}

`make cluster-down` takes all of it away."""
    )


if __name__ == "__main__":
    sys.exit(main())
