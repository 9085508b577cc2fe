"""Whole exports with a pg_dump made of shell."""

import gzip
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyrage
import pytest
import zstandard
from age_keys import AGE, MISTYPED, SSH
from backupexport_contract import names
from backupexport_contract.reasons import FATAL_EXIT_CODES, ExitCode
from backupexport_contract.restore_commands import DumpFile, check_command, restore_command
from backupexport_contract.runner_protocol import (
    Selection,
    read_progress_line,
    recipients_pieces,
    selection_text,
)
from backupexport_runner.export import streaming
from backupexport_runner.postgres.dump_failures import Obstacle
from backupexport_runner.postgres.preflight import Server
from backupexport_runner.task.failure import Failure
from backupexport_runtime.recipients import fingerprint
from runner_bench import Bench

Environment = Callable[..., dict[str, str]]

READ: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda data: data,
    "gzip": gzip.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}
# More than the pipe and the buffers hold, and no multiple of either.
CONTENT = b"".join(b"%d\tsome row of a table\n" % number for number in range(150_001))


@pytest.fixture(autouse=True)
def _progress_at_the_ends_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a busy machine takes over a dump."""
    monkeypatch.setattr(streaming, "_SECONDS_BETWEEN_PROGRESS", 3600.0)


@pytest.mark.parametrize("dump_format", ["sql", "tar"])
@pytest.mark.parametrize("compression", list(READ))
@pytest.mark.parametrize("content", [CONTENT, b""])
def test_success(
    bench: Bench,
    make_environment: Environment,
    dump_format: str,
    compression: str,
    content: bytes,
) -> None:
    (bench.root / "content").write_bytes(content)
    bench.says(f"cat {bench.root}/content")
    values = make_environment(dump_format, compression, EXPORT_STORAGE_PATH="a/b")
    artifact = bench.run(values)

    file = bench.exports / "a/b" / values["EXPORT_FILE_NAME"]
    written = file.read_bytes()
    assert READ[compression](written) == content
    assert artifact.path == f"--help/a/b/{file.name}"
    assert artifact.sha256 == hashlib.sha256(written).hexdigest()
    assert (artifact.size_bytes, artifact.uncompressed_bytes) == (len(written), len(content))
    assert (artifact.server_version, artifact.dump_version) == ("17.6", "17.6")
    manifest = json.loads(Path(f"{file}.json").read_text())
    assert manifest == {
        "path": artifact.path,
        "size_bytes": len(written),
        "uncompressed_bytes": len(content),
        "sha256": artifact.sha256,
        "server_version": "17.6",
        "dump_version": "17.6",
        "restore_with": artifact.restore_with,
        "check_command": check_command(artifact.path, artifact.sha256),
        "restore_command": restore_command(DumpFile(artifact.path, dump_format, compression)),
        "warnings": [],
        "restore_hints": [],
        "storage": "",
        "url": "",
        "encrypted_to": [],
        "content": "all",
        "include_schemas": [],
        "exclude_schemas": [],
        "include_tables": [],
        "exclude_tables": [],
        "exclude_table_data": [],
        "owner": True,
        "privileges": True,
        "job_id": values["EXPORT_JOB_ID"],
        "project_id": "--help",
        "format": dump_format,
        "compression": compression,
        "created_at": "2026-01-29T15:30:00.000Z",
        "started_at": manifest["started_at"],
        "completed_at": manifest["completed_at"],
    }
    assert bench.files == [f"a/b/{file.name}", f"a/b/{file.name}.json"]
    assert [line["event"] for line in bench.log] == [
        "dump_started",
        "progress",
        "dump_finished",
        "progress",
    ]
    assert all("time" in line for line in bench.log)
    # An interpreter takes ten MiB, and no test a GiB.
    finished = bench.log[2]
    assert 10 * 2**20 < finished["runner_peak_bytes"] < 2**30
    assert 2**20 < finished["pg_dump_peak_bytes"] < 2**30
    progress = read_progress_line(bench.output.getvalue().splitlines()[-1])
    assert progress is not None
    assert progress.percent == 100


@pytest.mark.parametrize("compression", list(READ))
@pytest.mark.parametrize("content", [CONTENT, b""])
def test_an_encrypted_export(
    bench: Bench, make_environment: Environment, compression: str, content: bytes
) -> None:
    (bench.root / "content").write_bytes(content)
    bench.says(f"cat {bench.root}/content")
    identities = [pyrage.x25519.Identity.generate() for _ in range(2)]
    recipients = [str(identity.to_public()) for identity in identities]
    values = encrypted(make_environment("sql", compression), *recipients, SSH)
    artifact = bench.run(values)

    assert artifact.path.endswith(".age")
    file = bench.exports / values["EXPORT_FILE_NAME"]
    written = file.read_bytes()
    assert artifact.sha256 == hashlib.sha256(written).hexdigest()
    assert (artifact.size_bytes, artifact.uncompressed_bytes) == (len(written), len(content))
    for identity in identities:
        assert READ[compression](pyrage.decrypt(written, [identity])) == content
    told = json.loads(Path(f"{file}.json").read_text())
    assert artifact.encrypted_to == tuple(map(fingerprint, (*recipients, SSH)))
    assert tuple(told["encrypted_to"]) == artifact.encrypted_to
    assert told["restore_command"].startswith("age -d ")
    assert bench.files == [file.name, f"{file.name}.json"]


def test_a_dump_that_fails_is_not_encrypted_to_an_end(
    bench: Bench, make_environment: Environment
) -> None:
    bench.says("head -c 3000000 /dev/zero; exit 1")
    with pytest.raises(Failure) as failure:
        bench.run(encrypted(make_environment("sql", "none"), AGE))
    assert failure.value.exit_code == ExitCode.DUMP_FAILED
    assert bench.files == []


@pytest.mark.parametrize(
    ("recipients", "code"),
    [
        ([MISTYPED], ExitCode.RECIPIENT_INVALID),
        ([AGE, MISTYPED], ExitCode.RECIPIENT_INVALID),
        (["CANARY"], ExitCode.BAD_REQUEST),
        # The name says that it is encrypted.
        ([], ExitCode.BAD_REQUEST),
    ],
)
def test_nothing_is_dumped_for_recipients_that_are_none(
    bench: Bench, make_environment: Environment, recipients: list[str], code: ExitCode
) -> None:
    bench.says("echo never")
    with pytest.raises(Failure) as failure:
        bench.run(encrypted(make_environment(), *recipients))
    assert failure.value.exit_code == code
    assert code in FATAL_EXIT_CODES
    assert "CANARY" not in failure.value.message
    assert bench.files == []


def test_recipients_are_never_ignored(bench: Bench, make_environment: Environment) -> None:
    values = make_environment() | recipients_pieces([AGE])
    with pytest.raises(Failure) as failure:
        bench.run(values)
    assert failure.value.exit_code == ExitCode.BAD_REQUEST
    assert bench.files == []


def encrypted(values: dict[str, str], *recipients: str) -> dict[str, str]:
    name = values["EXPORT_FILE_NAME"] + names.ENCRYPTED
    return values | recipients_pieces(recipients) | {"EXPORT_FILE_NAME": name}


def test_a_custom_archive_is_stored_as_it_comes(
    bench: Bench, make_environment: Environment
) -> None:
    (bench.root / "content").write_bytes(CONTENT)
    bench.says(f"cat {bench.root}/content")
    values = make_environment("custom", "zstd")
    artifact = bench.run(values)
    assert artifact.path.endswith(".dump")
    assert (bench.exports / values["EXPORT_FILE_NAME"]).read_bytes() == CONTENT
    assert artifact.size_bytes == artifact.uncompressed_bytes == len(CONTENT)
    assert artifact.restore_with == "pg_restore 17 or newer"


def test_what_an_older_server_does_not_know_is_kept_out(
    bench: Bench, make_environment: Environment
) -> None:
    bench.server = replace(bench.server, version_number=160004, version="16.4")
    # In two pieces, so that no one read has it whole.
    bench.says("printf 'a\\nSET transaction_'; sleep 0.2; printf 'timeout = 0;\\nb\\n'")
    values = make_environment("sql", "none")
    artifact = bench.run(values)
    assert (bench.exports / values["EXPORT_FILE_NAME"]).read_bytes() == b"a\nb\n"
    assert artifact.uncompressed_bytes == artifact.size_bytes == 4


def test_what_pg_dump_warns_of_is_kept_and_cleaned(
    bench: Bench, make_environment: Environment
) -> None:
    bench.says("echo 'pg_dump: warning: s3cret-pw and a circle' >&2")
    values = make_environment(**{"secret:password": "s3cret-pw"})
    (warning,) = bench.run(values).warnings
    assert warning.code == "pg_dump_warning"
    assert "s3cret-pw" not in warning.message
    assert "and a circle" in warning.message


def test_the_choice_reaches_pg_dump_and_the_manifest(
    bench: Bench, make_environment: Environment
) -> None:
    bench.says('for argument in "$@"; do echo "$argument"; done')
    chosen = Selection(
        content="schema", include_tables=("--file=/x", "a b"), exclude_schemas=("$(id)",)
    )
    values = make_environment("sql", "none", EXPORT_SELECTION=selection_text(chosen))
    bench.run(values)
    file = bench.exports / values["EXPORT_FILE_NAME"]
    told = file.read_text().splitlines()
    assert {
        "--schema-only", "--table-and-children=--file=/x", "--table-and-children=a b",
        "--exclude-schema=$(id)",
    } < set(told)  # fmt: skip
    manifest = json.loads(Path(f"{file}.json").read_text())
    assert manifest["include_tables"] == ["--file=/x", "a b"]
    assert (manifest["content"], manifest["owner"]) == ("schema", True)


@pytest.mark.parametrize(
    "text", ["{", '{"content": "everything"}', '{"include_tables": ["a\\nb"]}', '{"x": 1}']
)
def test_a_choice_that_breaks_the_rules_is_refused(
    bench: Bench, make_environment: Environment, text: str
) -> None:
    bench.says("echo x")
    with pytest.raises(Failure) as failed:
        bench.run(make_environment(EXPORT_SELECTION=text))
    assert failed.value.exit_code == ExitCode.BAD_REQUEST
    assert bench.files == []


@pytest.mark.parametrize("value", [["public.t"], [], None])
def test_what_a_newer_operator_leaves_out_is_not_exported(
    bench: Bench, make_environment: Environment, value: object
) -> None:
    bench.says("echo x")
    text = json.dumps({"exclude_columns": value, "exclude_tables": ["a"]})
    with pytest.raises(Failure, match=r"older .* \(exclude_columns\): .*runner\.image") as failed:
        bench.run(make_environment(EXPORT_SELECTION=text))
    assert failed.value.exit_code == ExitCode.BAD_REQUEST
    assert failed.value.exit_code in FATAL_EXIT_CODES
    assert bench.files == []


def test_zstd_has_a_checksum(bench: Bench, make_environment: Environment) -> None:
    bench.says("echo x")
    values = make_environment()
    bench.run(values)
    header = (bench.exports / values["EXPORT_FILE_NAME"]).read_bytes()
    assert zstandard.get_frame_parameters(header).has_checksum


def test_a_retry_after_a_lost_report(bench: Bench, make_environment: Environment) -> None:
    bench.says("echo first")
    first = bench.run(make_environment())
    bench.says("echo second")
    assert bench.run(make_environment()) == first
    assert bench.log[-1]["event"] == "already_complete"
    # Of another request, or not whole: dumped again.
    assert bench.run(make_environment(EXPORT_PROJECT_ID="other")) != first
    file = bench.exports / names.artifact_path("", None, make_environment()["EXPORT_FILE_NAME"])
    file.write_bytes(b"cut")
    assert bench.run(make_environment()).size_bytes == file.stat().st_size


def test_what_a_crash_left_is_removed(bench: Bench, make_environment: Environment) -> None:
    bench.says("echo x")
    values = make_environment()
    (bench.exports / f".{values['EXPORT_FILE_NAME']}.partial").write_text("half")
    (bench.exports / values["EXPORT_FILE_NAME"]).write_text("whole, but its manifest is lost")
    bench.run(values)
    assert bench.files == [values["EXPORT_FILE_NAME"], values["EXPORT_FILE_NAME"] + ".json"]


@pytest.mark.parametrize(
    ("shell", "exit_code", "words"),
    [
        ("echo data; echo 'pg_dump: error: odd' >&2; exit 1", ExitCode.DUMP_FAILED, "odd"),
        ("echo data; exit 1", ExitCode.DUMP_FAILED, "exit status 1"),
        (
            "echo 'ERROR:  permission denied for table t' >&2; exit 1",
            ExitCode.PERMISSION_DENIED,
            'table "t"',
        ),
        (
            "echo 'server closed the connection unexpectedly' >&2; exit 1",
            ExitCode.CONNECTION_FAILED,
            "lost",
        ),
        ("echo data; kill -9 $$", 137, "memory"),
        ("echo data; kill -SEGV $$", ExitCode.DUMP_FAILED, "SIGSEGV"),
        ("exec 1>&-; sleep 0.1; exit 1", ExitCode.DUMP_FAILED, "exit status 1"),
        ("yes 'pg_dump: error: flood' | head -100000 >&2; exit 1", ExitCode.DUMP_FAILED, "flood"),
    ],
)
def test_failures_leave_nothing(
    bench: Bench, make_environment: Environment, shell: str, exit_code: int, words: str
) -> None:
    bench.says(shell)
    with pytest.raises(Failure, match=words) as failure:
        bench.run(make_environment())
    assert failure.value.exit_code == exit_code
    assert bench.files == []
    assert [line["event"] for line in bench.log if line["event"] != "pg_dump"] == [
        "dump_started",
        "progress",
        "dump_finished",
    ]
    assert len(bench.log) < 100


def test_other_languages_are_looked_up(bench: Bench, make_environment: Environment) -> None:
    bench.says("echo 'FEHLER:  keine Berechtigung' >&2; exit 1")
    bench.obstacle = Obstacle("table", "public.t")
    with pytest.raises(Failure, match=r"public\.t") as failure:
        bench.run(make_environment())
    assert failure.value.exit_code == ExitCode.PERMISSION_DENIED


def test_no_client_for_the_server(bench: Bench, make_environment: Environment) -> None:
    bench.says("echo x", major=17)
    bench.server = Server(180001, "18.1", 0)
    with pytest.raises(Failure, match=r"18\.1"):
        bench.run(make_environment())
    assert bench.files == []


def test_warnings_are_logged(bench: Bench, make_environment: Environment) -> None:
    bench.says("echo 'pg_dump: warning: circular' >&2; echo x")
    bench.run(make_environment())
    assert {"pg_dump: warning: circular"} == {
        line["message"] for line in bench.log if line["event"] == "pg_dump"
    }


def test_pg_dump_sees_nothing_but_its_own(
    bench: Bench, make_environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c canary=1")
    monkeypatch.setenv("SECRET_password", "canary")
    bench.says('env; echo "$@"')
    values = make_environment("sql", "none")
    bench.run(values)
    seen = (bench.exports / values["EXPORT_FILE_NAME"]).read_text()
    variables = {line.partition("=")[0] for line in seen.splitlines()[:-1]} - {"PWD", "_", "SHLVL"}
    assert variables == {
        "HOME", "LC_ALL", "PATH", "PGAPPNAME", "PGCONNECT_TIMEOUT", "PGDATABASE",
        "PGGSSENCMODE", "PGHOST", "PGPASSWORD", "PGPORT", "PGREQUIREAUTH", "PGSSLMODE", "PGUSER",
        "SSL_CERT_FILE",
    }  # fmt: skip
    assert values["secret:password"] not in seen.splitlines()[-1]
    assert "--help" not in seen.splitlines()[-1]


def test_pg_dump_gets_the_session_that_the_server_needs(
    bench: Bench, make_environment: Environment
) -> None:
    session = {"client_encoding": "LATIN1", "options": "-c role=none"}
    bench.server = Server(170006, "17.6", 0, session)
    bench.says(f"env > {bench.root}/env")
    bench.run(make_environment())
    seen = (bench.root / "env").read_text().splitlines()
    assert {"PGCLIENTENCODING=LATIN1", "PGOPTIONS=-c role=none"} <= set(seen)


def test_parameters_of_other_drivers_are_named_in_the_log(
    bench: Bench, make_environment: Environment
) -> None:
    bench.says("echo x")
    uri = "postgresql://u:s@h/d?schema=tenant_name&connection_limit=4321"
    bench.run(make_environment(**{"secret:uri": uri}))
    said = next(line for line in bench.log if line["event"] == "uri_parameters_ignored")
    assert said["names"] == "schema, connection_limit"
    assert "tenant_name" not in bench.output.getvalue()


def test_the_password_stays_out_of_everything(
    bench: Bench, make_environment: Environment, password: str
) -> None:
    bench.says('echo "pg_dump: error: bad $PGPASSWORD" >&2; exit 1')
    with pytest.raises(Failure):
        bench.run(make_environment())
    assert password not in bench.output.getvalue()
    assert json.dumps(password)[1:-1] not in bench.output.getvalue()
    assert "bad [hidden]" in bench.output.getvalue()


def test_a_full_volume_stops_pg_dump(
    bench: Bench, make_environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.says("yes")
    written = 0
    real_write = os.write

    def write(descriptor: int, data: bytes) -> int:
        nonlocal written
        written += len(data)
        if written > 1_000_000:
            raise OSError(28, "No space left on device")
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(Failure, match="full") as failure:
        bench.run(make_environment("sql", "none"))
    assert failure.value.exit_code == ExitCode.STORAGE_FULL
    assert bench.files == []
