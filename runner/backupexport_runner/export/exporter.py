"""One export, from its environment to its artifact."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
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
from backupexport_runner.volume.artifact import (
    BEGINNING_SECONDS,
    PartialFile,
    TakenOverFailure,
    remove_abandoned_partials,
    seconds_now,
)
from backupexport_runner.volume.cleanup import tidy
from backupexport_runner.volume.directories import existing_directory, made_directory
from backupexport_runner.volume.failures import before_it_begins
from backupexport_runner.volume.finished_files import finished_bytes
from backupexport_runner.volume.manifest import manifest_name, manifest_text, whole_artifact
from backupexport_runner.volume.project_directory import require_own_directory
from backupexport_runner.volume.room import Room


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
        mount = self.configuration.exports
        # First of all, so that an attempt that fails at once leaves nothing of earlier ones either.
        with before_it_begins():
            whole = tidy(mount, request, self.log, until)
        if whole is not None:
            self.log.event("already_complete", path=whole.path)
            return Outcome(whole)
        try:
            return self._export(request, selection, environment)
        except TakenOverFailure:
            with existing_directory(mount, request.storage_path) as directory:
                first = None if directory is None else whole_artifact(directory, request)
            if first is None:
                raise
            self.log.event("completed_by_another_attempt", path=first.path)
            return Outcome(first)

    def _export(
        self, request: Request, selection: Selection, environment: Mapping[str, str]
    ) -> Outcome:
        started_at = timestamps.to_text(timestamps.now())
        mount, attempt = self.configuration.exports, read_attempt(environment)
        recipients = read_recipients(environment, request)
        keys, encrypted_to = encryption.keys_and_fingerprints(recipients)
        with before_it_begins():
            room = self._room(environment, mount)
        connection = self._connection(request, environment)
        certificates = write_certificates(connection, self.configuration.scratch)
        parameters = libpq_parameters(connection, certificates, request.job_id)
        server = self.questions.look_at_server(parameters)
        self.interruption.check()
        parameters |= server.session
        installed = clients.installed_clients(self.configuration.clients)
        client = clients.choose_client(installed, server.major, server.version)
        version = clients.dump_version(client.program)
        self._sweep(mount)
        with made_directory(mount, request.storage_path) as directory:
            file, manifest = (
                PartialFile(directory, name, attempt, self.interruption)
                for name in (request.file_name, manifest_name(request.file_name))
            )
            with file:
                require_own_directory(mount, request.project_id, directory, file.name)
                estimate = estimated_bytes(server.estimated_bytes, request, selection)
                meter = ProgressMeter(estimate, time.monotonic())
                write = room.limited(file.write)
                source = _Source(request, selection, parameters, client, version, server, keys)
                streamed, lines = self._dump(source, write, meter, room.spool_bytes)
                file.sync()
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
                    restore_hints=self._told(
                        *restore_needs.restore_hints(server.catalogs, selection)
                    ),
                    encrypted_to=encrypted_to,
                    **asdict(streamed),
                )
                completed_at = timestamps.to_text(timestamps.now())
                with manifest:
                    text = manifest_text(request, selection, artifact, started_at, completed_at)
                    manifest.write(text.encode())
                    manifest.sync()
                    with self.interruption.changing:
                        self.interruption.check()
                        file.publish()
                        manifest.publish()
                        self.interruption.keep()
        self.log.progress(meter.complete(streamed.uncompressed_bytes))
        return Outcome(artifact, server_verified=connection.verifies_server)

    def _room(self, environment: Mapping[str, str], mount: Path) -> Room:
        """Returns what the export may take.  Raises Failure if it can't begin."""
        room = Room.of(environment)
        if room.lacks(mount) is not None:
            self._sweep(mount)
            if (lack := room.lacks(mount)) is not None:
                raise lack
        if room.most_stored is None:
            return room
        stored, is_whole = finished_bytes(mount)
        if not is_whole:
            self.log.event("finished_files_not_all_counted", counted_bytes=stored)
        return room.beside(stored)

    def _told(self, *remarks: Remark) -> tuple[Remark, ...]:
        """Returns the remarks without secrets, as the log has them, too."""
        clean = self.log.scrubber.clean
        told = tuple(replace(each, message=clean(each.message)) for each in remarks)
        for each in told:
            self.log.event("remark", code=each.code, message=each.message)
        return told

    def _sweep(self, mount: Path) -> None:
        for path in remove_abandoned_partials(mount, time.time()):
            self.log.event("abandoned_partial_removed", path=path)

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
