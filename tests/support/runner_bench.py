"""A volume, a scratch directory and a pg_dump made of shell, for tests without a server."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backupexport_contract import runner_protocol as protocol
from backupexport_contract.runner_protocol import Artifact
from backupexport_runner.export.exporter import Exporter, ServerQuestions
from backupexport_runner.postgres.dump_failures import Obstacle
from backupexport_runner.postgres.preflight import Server
from backupexport_runner.task.configuration import Configuration
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.task.log import Log, Scrubber
from secret_files import mount

JOB_ID = "0b7c1111-2222-4333-8444-555566667777"
PASSWORD = "canary-p@ss'w\\ord"
SUFFIX = {"none": "", "zstd": ".zst", "gzip": ".gz"}

FAKE_PG_DUMP = """#!/bin/sh
if [ "$1" = --version ]; then echo "pg_dump (PostgreSQL) 17.6 (Debian 17.6-1.pgdg13+1)"; exit; fi
"""


def environment(dump_format: str = "sql", compression: str = "zstd", **more: str) -> dict[str, str]:
    """What the operator gives the container, for a Secret with all keys."""
    ending = "dump" if dump_format == "custom" else f"{dump_format}{SUFFIX[compression]}"
    return {
        protocol.ENV_JOB_ID: JOB_ID,
        protocol.ENV_PROJECT_ID: "--help",
        protocol.ENV_FORMAT: dump_format,
        protocol.ENV_COMPRESSION: compression,
        protocol.ENV_FILE_NAME: f"20260129T153000Z-{JOB_ID}.{ending}",
        protocol.ENV_CREATED_AT: "2026-01-29T15:30:00.000Z",
        protocol.ENV_SECRET_NAME: "orders-db",
        "secret:host": "db.example",
        "secret:port": "5433",
        "secret:username": "app",
        "secret:password": PASSWORD,
        "secret:database": "orders",
    } | more


@dataclass
class Bench:
    """One runner with its surroundings; `says` is what pg_dump does, as shell."""

    root: Path
    server: Server = field(default_factory=lambda: Server(170006, "17.6", 1_000_000))
    obstacle: Obstacle | None = None
    output: io.StringIO = field(default_factory=io.StringIO)
    interruption: Interruption = field(default_factory=Interruption)

    def __post_init__(self) -> None:
        self.exports = self.root / "exports"
        self.configuration = Configuration(
            exports=self.exports,
            scratch=self.root / "scratch",
            termination_message=self.root / "termination",
            clients=self.root / "clients",
            cgroup=self.root / "cgroup",
            secret=self.root / "secret",
            storage=self.root / "storage",
        )
        for directory in ("exports", "scratch", "cgroup", "storage"):
            (self.root / directory).mkdir()

    def says(self, shell: str, major: int = 17) -> None:
        program = self.configuration.clients / str(major) / "bin" / "pg_dump"
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(FAKE_PG_DUMP + shell)
        program.chmod(0o755)

    def run(self, values: Mapping[str, str]) -> Artifact:
        log = Log(Scrubber(), self.output)
        environment = mount(values, self.configuration.secret)
        questions = ServerQuestions(lambda _: self.server, lambda _: self.obstacle)
        exporter = Exporter(self.configuration, questions, log, self.interruption)
        artifact = exporter.run(environment).artifact
        assert artifact is not None
        return artifact

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.getvalue().splitlines()]

    @property
    def files(self) -> list[str]:
        return sorted(
            str(path.relative_to(self.exports))
            for path in self.exports.rglob("*")
            if not path.is_dir()
        )
