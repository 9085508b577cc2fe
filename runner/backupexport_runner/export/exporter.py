"""One export, from its environment to its artifact."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from backupexport_contract import names, timestamps
from backupexport_contract.runner_protocol import Artifact, Outcome, Remark, Selection

from backupexport_runner.export import encryption
from backupexport_runner.export.cgroup import memory_kills, thread_count
from backupexport_runner.export.compression import Chunk, compressor
from backupexport_runner.export.dump_file import (
    cleaned_head,
    compression_warnings,
    estimated_bytes,
    restore_with,
)
from backupexport_runner.export.streaming import ProgressMeter, Streamed, stream
from backupexport_runner.postgres import clients, dump_failures, left_out, pg_dump, restore_needs
from backupexport_runner.postgres.connection import (
    Connection,
    hidden_values,
    in_the_clear,
    read_connection,
    whose,
)
from backupexport_runner.postgres.dump_warnings import dump_warnings
from backupexport_runner.postgres.libpq_parameters import (
    child_environment,
    libpq_parameters,
    write_certificates,
)
from backupexport_runner.postgres.preflight import Server
from backupexport_runner.storage.failures import TakenOverFailure, before_it_begins
from backupexport_runner.storage.interface import BEGINNING_SECONDS, Storage
from backupexport_runner.storage.manifest import manifest_text
from backupexport_runner.storages import open_storage
from backupexport_runner.task.clock import seconds_now
from backupexport_runner.task.configuration import Configuration
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.task.log import Log
from backupexport_runner.task.request import (
    Request,
    read_attempt,
    read_recipients,
    read_request,
    read_selection,
)
from backupexport_runner.task.secret import read_secret


@dataclass(frozen=True, slots=True)
class ServerQuestions:
    """The calls that ask the server, and what ends one at once; tests put others in their place."""

    look_at_server: Callable[[Mapping[str, str]], Server]
    find_obstacle: Callable[[Mapping[str, str]], dump_failures.Obstacle | None]
    kill: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class _Source:
    """What is dumped, from where and by which program."""

    request: Request
    selection: Selection
    parameters: Mapping[str, str]
    client: clients.Client
    dump_version: str
    server: Server
    keys: Sequence[Any]

    def clean_head(self, head: bytes) -> bytes:
        """Returns the beginning of the dump as it goes into the file."""
        return cleaned_head(head, self.request.format, self.dump_version, self.server.version)


@dataclass(frozen=True, slots=True)
class Exporter:
    """Exports; holds what the process has beside the export's environment."""

    configuration: Configuration
    questions: ServerQuestions
    log: Log
    interruption: Interruption

    def run(self, environment: Mapping[str, str]) -> Outcome:
        """Returns an Outcome with the artifact, complete under its final name.  Raises Failure."""
        until = seconds_now() + BEGINNING_SECONDS
        request, selection = read_request(environment), read_selection(environment)
        storage = open_storage(environment, self.configuration, self.log, self.interruption)
        with contextlib.closing(storage):
            # First of all, so that an attempt that fails at once leaves nothing of earlier ones.
            with before_it_begins():
                whole = storage.tidy(request, until)
            if whole is not None:
                self.log.event("already_complete", path=whole.path)
                return Outcome(whole)
            try:
                return self._export(request, selection, environment, storage)
            except TakenOverFailure:
                first = storage.whole_artifact(request)
                if first is None:
                    raise
                self.log.event("completed_by_another_attempt", path=first.path)
                return Outcome(first)

    def _export(
        self,
        request: Request,
        selection: Selection,
        environment: Mapping[str, str],
        storage: Storage,
    ) -> Outcome:
        started_at, attempt = timestamps.to_text(timestamps.now()), read_attempt(environment)
        recipients = read_recipients(environment, request)
        keys, encrypted_to = encryption.keys_and_fingerprints(recipients)
        with before_it_begins():
            room = storage.room(environment, request.project_id)
        connection = self._connection(request, environment)
        certificates = write_certificates(connection, self.configuration.scratch)
        parameters = libpq_parameters(connection, certificates, request.job_id)
        server = self.questions.look_at_server(parameters)
        self.interruption.check()
        parameters |= server.session
        installed = clients.installed_clients(self.configuration.clients)
        client = clients.choose_client(installed, server.major, server.version)
        version = clients.dump_version(client.program)
        estimate = estimated_bytes(server.estimated_bytes, request, selection)
        with storage.new_file(request, attempt, estimate) as file:
            meter = ProgressMeter(estimate, time.monotonic())
            write = room.limited(file.write)
            source = _Source(request, selection, parameters, client, version, server, keys)
            streamed, lines = self._dump(source, write, meter, room.spool_bytes)
            file.finish()
            artifact = Artifact(
                path=request.artifact_path,
                # The server's own words.
                server_version=self.log.scrubber.clean(server.version),
                dump_version=version,
                restore_with=restore_with(request.format, version, server.version),
                warnings=self._told(
                    *compression_warnings(request, client.major),
                    *dump_warnings(lines),
                    *left_out.warnings(
                        server.catalogs,
                        selection,
                        reaches_partitions=pg_dump.reaches_partitions(client),
                    ),
                ),
                restore_hints=self._told(*restore_needs.restore_hints(server.catalogs, selection)),
                storage=storage.name,
                url=storage.url(request.artifact_path),
                encrypted_to=encrypted_to,
                **asdict(streamed),
            )
            completed_at = timestamps.to_text(timestamps.now())
            text = manifest_text(request, selection, artifact, started_at, completed_at)
            file.publish(text, streamed.sha256)
        self.log.progress(meter.complete(streamed.uncompressed_bytes))
        return Outcome(artifact, server_verified=connection.verifies_server)

    def _told(self, *remarks: Remark) -> tuple[Remark, ...]:
        """Returns the remarks without secrets, as the log has them, too."""
        clean = self.log.scrubber.clean
        told = tuple(replace(each, message=clean(each.message)) for each in remarks)
        for each in told:
            self.log.event("remark", code=each.code, message=each.message)
        return told

    def _connection(self, request: Request, environment: Mapping[str, str]) -> Connection:
        secret = read_secret(self.configuration.secret, whose(environment))
        clear = (request.project_id, request.job_id, *in_the_clear(environment))
        self.log.scrubber.learn(*hidden_values(secret, clear))
        connection = read_connection(environment, secret)
        if connection.ignored:
            self.log.event("uri_parameters_ignored", names=", ".join(connection.ignored))
        return connection

    def _dump(
        self,
        source: _Source,
        write: Callable[[Chunk], None],
        meter: ProgressMeter,
        spool_bytes: int | None,
    ) -> tuple[Streamed, list[str]]:
        """Returns what was written, and the lines of pg_dump's stderr.  Raises Failure."""
        request, client, parameters = source.request, source.client, source.parameters
        cgroup = self.configuration.cgroup
        command = pg_dump.dump_command(
            client,
            request.format,
            request.compression,
            source.selection,
            parameters.get("client_encoding", "UTF8"),
        )
        environment = child_environment(parameters, self.configuration.scratch)
        kills_before = memory_kills(cgroup)
        lines: list[str] = []

        def count(read_bytes: int) -> None:
            progress = meter.update(read_bytes, time.monotonic())
            if progress is not None:
                self.log.progress(progress)

        with pg_dump.running_pg_dump(
            command,
            environment,
            lambda line: self.log.event("pg_dump", message=line),
            spool_bytes,
        ) as dump:
            self.log.event("dump_started", program=str(client.program), format=request.format)
            self.log.progress(meter.begin())
            with self.interruption.kills(dump.process):
                streamed = stream(
                    dump.stdout,
                    compressor(
                        names.outer_compression(request.format, request.compression),
                        thread_count(cgroup),
                    ),
                    write,
                    source.keys,
                    clean_head=source.clean_head,
                    count=count,
                    at_end=lambda: lines.extend(self._check_end(dump, parameters, kills_before)),
                )
        return streamed, lines

    def _check_end(
        self, dump: pg_dump.PgDump, parameters: Mapping[str, str], kills_before: int
    ) -> list[str]:
        """Returns the lines of its stderr.  Raises Failure unless pg_dump ended well."""
        status, lines = dump.wait()
        self.log.event("dump_finished", exit_status=status, **pg_dump.peak_memory())
        self.interruption.check()
        if status != 0:
            kills = memory_kills(self.configuration.cgroup) - kills_before
            end = dump_failures.DumpEnd(status, lines, kills)
            failure = dump_failures.dump_failure(end)
            if failure is None and (obstacle := self.questions.find_obstacle(parameters)):
                # The server's catalogs explain it whatever language the server speaks.
                failure = dump_failures.permission_failure(obstacle)
            raise failure or dump_failures.other_dump_failure(end)
        return lines
