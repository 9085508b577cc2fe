"""A project's volume with an export, and a parcel of it for a chat."""

import hashlib
import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import runner_bench
from backupexport_contract import runner_protocol as protocol
from backupexport_contract.runner_protocol import Artifact, ExportEnd, Outcome
from backupexport_runner.delivery.attempt import deliver
from backupexport_runner.storage.interface import delivery_journal_name
from backupexport_runner.task.configuration import Configuration
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.task.log import Log, Scrubber
from secret_files import mount

TOKEN = "123456789:AAcanary-Token_of_the_bot"
CHAT = "-100987654321"
PART_BYTES = 1024
_SECRET_REF = {"secretRef": {"name": "telegram-bot"}}


def write_random(path: Path, size: int) -> str:
    """A file of `size` bytes that don't compress; its SHA-256."""
    source, digest = random.Random(size), hashlib.sha256()
    with path.open("wb") as file:
        while size:
            piece = source.randbytes(min(size, 1 << 20))
            file.write(piece)
            digest.update(piece)
            size -= len(piece)
    return digest.hexdigest()


@dataclass
class TelegramBench:
    """Where an attempt is made; `root`/exports is the volume."""

    root: Path
    api_url: str
    size: int = 2 * PART_BYTES + 500
    part_bytes: int = PART_BYTES
    token: str = TOKEN
    chat_id: str = CHAT
    storage_path: str | None = None
    more: dict[str, Any] = field(default_factory=dict)
    output: io.StringIO = field(default_factory=io.StringIO)
    interruption: Interruption = field(default_factory=Interruption)

    def __post_init__(self) -> None:
        self.exports = self.root / "exports"
        self.directory = self.exports / (self.storage_path or "")
        self.directory.mkdir(parents=True)
        self.request = runner_bench.environment()
        self.file_name = self.request[protocol.ENV_FILE_NAME]
        self.file = self.directory / self.file_name
        self.sha256 = write_random(self.file, self.size)
        self.journal = self.directory / delivery_journal_name(self.file_name, "telegram")

    def environment(self) -> dict[str, str]:
        """What the operator gives the container."""
        artifact = Artifact(self.file_name, self.size, self.size, self.sha256, "17.6", "17.6")
        settings = {
            "apiUrl": self.api_url,
            "partBytes": self.part_bytes,
            **_SECRET_REF,
            **self.more,
        }
        request = {key: self.request[key] for key in self.request if key.startswith("EXPORT_")}
        if self.storage_path:
            request[protocol.ENV_STORAGE_PATH] = self.storage_path
        return {
            **request,
            protocol.ENV_TASK: protocol.delivery_task("telegram"),
            protocol.ENV_EXPORT_END: protocol.export_end_text(
                ExportEnd("Succeeded", artifact=artifact, restore_command="psql -f FILE")
            ),
            protocol.ENV_DELIVERY_SETTINGS: json.dumps(settings | self.more),
            "secret:token": self.token,
            "secret:chat_id": self.chat_id,
        }

    def deliver(self) -> str:
        """One attempt in this process; its sentence."""
        outcome = self.attempt(Log(Scrubber(), self.output))
        assert outcome.message is not None
        return outcome.message

    def attempt(self, log: Log) -> Outcome:
        """One attempt in this process."""
        configuration = Configuration(exports=self.exports, secret=self.root / "secret")
        environment = mount(self.environment(), configuration.secret)
        return deliver("telegram", environment, configuration, log, self.interruption)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's lines of this event."""
        lines = map(json.loads, self.output.getvalue().splitlines())
        return [line for line in lines if line["event"] == name]


def joined(documents: list[dict[str, Any]], kept: Path) -> str:
    """The SHA-256 of what `cat NAME.part*of003` makes of the documents."""
    digest = hashlib.sha256()
    for document in sorted(documents, key=_name):
        digest.update((kept / document["sha256"]).read_bytes())
    return digest.hexdigest()


_name: Callable[[dict[str, Any]], str] = lambda document: document["name"]  # noqa: E731
