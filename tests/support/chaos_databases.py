"""The databases of a chaos run, their projects, and when the server was away."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import slow_link
from chaos_schedule import Project
from chaos_verdict import Outage
from playground.demo_database import EXPORTER, exporter_connection
from playground.postgres import CONTAINER_SECURITY, POD_SECURITY, Postgres
from playground.targets import make_target
from playground.tools import apply, images, kubectl

_DATABASE = """
CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL, payload text NOT NULL);
INSERT INTO items SELECT i, 'item ' || i, md5(i::text) || md5((i * 7)::text) || md5((-i)::text)
    FROM generate_series(1, {rows}) AS i;
CREATE TABLE notes (id serial PRIMARY KEY, item bigint REFERENCES items, words text);
INSERT INTO notes (item, words) SELECT i, E'tab\\tquote\\' ' || i
    FROM generate_series(1, {notes}) AS i;
CREATE INDEX ON items (name);
CREATE TABLE whose (project text NOT NULL);
INSERT INTO whose VALUES ('{project}');
"""
_FINGERPRINT = """
SELECT string_agg(project, '+'), NULL FROM whose UNION ALL
SELECT count(*)::text, coalesce(sum(hashtextextended(i::text, 0)), 0) FROM items AS i
UNION ALL SELECT count(*)::text, coalesce(sum(hashtextextended(n::text, 0)), 0) FROM notes AS n
"""
# pg_isready asks through the Service and its name, as a runner does.
_PROBE = """
while :; do
    if pg_isready -q -h "$1" -t 1; then now=up; else now=down; fi
    [ "$now" = "$last" ] || date -u "+%Y-%m-%dT%H:%M:%S.%6N+00:00 $now" >> /tmp/seen
    last=$now
    sleep 0.2
done
"""


def load(server: Postgres, projects: Sequence[Project]) -> dict[str, str]:
    """Make each project's database and target; fingerprints of the contents by project."""
    speeds = {project.bytes_a_second for project in projects if project.bytes_a_second}
    hosts = {None: server.host} | {speed: _start_link(server, speed) for speed in speeds}
    server.psql(f"CREATE ROLE {EXPORTER} LOGIN IN ROLE pg_read_all_data")
    connection = exporter_connection(server)
    contents = {}
    for project in projects:
        database = project.name.replace("-", "_")
        own = {**connection, "host": hosts[project.bytes_a_second], "database": database}
        if "AuthenticationFailed" in project.fails_with:
            own |= {"database": "postgres", "password": "not-the-password"}
        spec = {"maxConcurrent": project.at_once}
        if project.deadline_seconds is not None:
            spec["activeDeadlineSeconds"] = project.deadline_seconds
        if project.retention_seconds is not None:
            spec["retentionSeconds"] = project.retention_seconds
        make_target(server.namespace, project.name, own, **spec)
        if project.has_database:
            server.psql(f"CREATE DATABASE {database}")
            rows = {"rows": project.rows, "notes": min(project.rows, 1000)}
            server.psql(_DATABASE.format(**rows, project=project.name), database)
            contents[project.name] = fingerprint(server, database)
    server.psql("CHECKPOINT")
    return contents


def fingerprint(server: Postgres, database: str) -> str:
    """The project's name, counts and checksums of all rows, in one line."""
    return " ".join(server.psql(_FINGERPRINT, database).replace("|", " ").split())


class Probe:
    """A pod that asks the server all the time whether it is there."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._pod = "probe"

    def start(self) -> None:
        """Start it and wait until it runs."""
        _run_pod(
            self._server.namespace,
            self._pod,
            images()["POSTGRES_IMAGE"],
            ["bash", "-c", _PROBE, "probe", self._server.host],
        )

    def outages(self) -> list[Outage]:
        """When the server was away, as the pod saw it."""
        seen = kubectl("-n", self._server.namespace, "exec", self._pod, "--", "cat", "/tmp/seen")
        return read_outages(seen)


def _start_link(server: Postgres, bytes_a_second: int) -> str:
    """A host that leads to the server over a link of that speed."""
    name = f"link-{bytes_a_second}"
    source = Path(slow_link.__file__).read_text(encoding="utf-8")
    where = [server.host, "5432", str(bytes_a_second)]
    apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": server.namespace},
            "spec": {"selector": {"app": name}, "ports": [{"port": slow_link.PORT}]},
        }
    )
    _run_pod(server.namespace, name, images()["IMAGE"], ["python3", "-c", source, *where])
    return name


def _run_pod(namespace: str, name: str, image: str, command: list[str]) -> None:
    """A pod that no fault strikes by name; returns when it runs."""
    container = {
        "name": name,
        "image": image,
        "command": command,
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {**POD_SECURITY, "runAsUser": 999, "runAsGroup": 999},
                "containers": [container],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            },
        }
    )
    kubectl("-n", namespace, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=240s")


def read_outages(seen: str) -> list[Outage]:
    """Outages from the probe's lines, `<time> up` and `<time> down`; the last may go on."""
    outages, since = [], None
    for line in seen.splitlines():
        moment, state = line.split()
        at = datetime.fromisoformat(moment).timestamp()
        if state == "down":
            since = at
        elif since is not None:
            outages.append(Outage(since, at))
            since = None
    return outages if since is None else [*outages, Outage(since, float("inf"))]
