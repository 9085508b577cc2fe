"""Commands against a server on loopback that answers well, or means no good."""

import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cli_run
import cli_server
import pytest
from backupexport_cli.__main__ import main
from backupexport_cli.service import http
from cli_jobs import HOSTILE, JOB_ID, SHA256, artifact, is_harmless, job, progress
from cli_run import Ran
from cli_server import TOKEN, Asked, Reply, Server, data, plain, problem
from playground.tools import wait_for


@pytest.fixture
def server() -> Iterator[Server]:
    with cli_server.serving() as it:
        yield it


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


Run = Callable[..., Ran]


@pytest.fixture
def run(
    server: Server,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run a command in this process, which is quicker than one of its own."""
    for name, value in cli_run.cli_environment(home, server.settings()).items():
        monkeypatch.setenv(name, value)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(http, "_PAUSES", (0.01,) * 4)

    def ran(*arguments: str) -> Ran:
        code = main(arguments)
        captured = capsys.readouterr()
        # Of every command, whatever it is about.
        assert TOKEN not in captured.out + captured.err
        assert "Traceback" not in captured.err
        assert is_harmless(captured.out)
        assert is_harmless(captured.err)
        return Ran(code, captured.out, captured.err)

    return ran


def _answers(server: Server, **by_path: Reply) -> None:
    server.answer = lambda asked: (
        by_path.get(asked.path.rpartition("/")[2])
        or problem(404, "not_found", "There is nothing at this path.")
    )


def _event_stream(*states: dict[str, object]) -> Reply:
    pieces = tuple(
        f"id: {number}\ndata: {json.dumps(state)}\n\n".encode()
        for number, state in enumerate(states)
    )
    return Reply(200, {"Content-Type": "text/event-stream"}, pieces)


def test_an_export_is_asked_for_with_all_that_was_given(run: Run, server: Server) -> None:
    _answers(server, export=data({"job_id": JOB_ID, "status": "pending"}, 202))
    ran = run("export", "shop", "--format", "custom", "--table", "public.a", "--table",
        "b*", "--no-owner", "--email", "ops@example.com",
    )  # fmt: skip
    assert (ran.code, ran.out) == (0, f"{JOB_ID}\n")
    assert f"backupexport watch {JOB_ID}" in ran.err
    (asked,) = server.asked
    assert json.loads(asked.body) == {
        "project_id": "shop",
        "format": "custom",
        "include_tables": ["public.a", "b*"],
        "owner": False,
        "notify_email": "ops@example.com",
    }
    assert len(asked.headers["Idempotency-Key"]) == 36


def test_an_export_that_is_asked_for_again_is_the_same_one(run: Run, server: Server) -> None:
    replies = [plain(b"", 502), plain(b"<html>", 503), data({"job_id": JOB_ID}, 202)]
    server.answer = lambda _: replies.pop(0)
    assert run("export", "shop").code == 0
    keys = {asked.headers["Idempotency-Key"] for asked in server.asked}
    assert (len(server.asked), len(keys)) == (3, 1)
    assert run("export", "shop", "--help").code == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_this_machine_is_asked_by_no_proxy(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch, host: str, variable: str
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    server.answer = lambda _: data([])
    with cli_server.serving() as proxy:
        monkeypatch.setenv(variable, proxy.url)
        monkeypatch.setenv("BACKUPEXPORT_URL", server.url.replace("127.0.0.1", host))
        ran = run("jobs")
    assert (ran.code, proxy.asked) == (0, [])
    assert server.asked[0].headers["Authorization"] == f"Bearer {TOKEN}"


def test_another_machine_is_asked_by_the_proxy(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer = lambda _: data([])
    monkeypatch.setenv("HTTP_PROXY", server.url)
    assert run("jobs", "--url", "http://exports.example.com", "--insecure-http").code == 0
    assert server.asked[0].headers["Host"] == "exports.example.com"


def test_an_export_that_can_not_be_asked_for_tells_its_key(run: Run, server: Server) -> None:
    server.answer = lambda _: plain(b"", 500)
    ran = run("export", "shop", "--idempotency-key", "mine")
    assert ran.code == 5
    assert "--idempotency-key mine" in ran.err


def test_waiting_tells_of_each_change_and_of_what_comes_next(run: Run, server: Server) -> None:
    states = (job(), job("running", progress=progress(1)), job("completed"))
    _answers(
        server,
        export=data({"job_id": JOB_ID}, 202),
        events=_event_stream(*states),
        **{JOB_ID: data(job())},
    )
    ran = run("export", "shop", "--wait")
    assert (ran.code, ran.out) == (0, f"{JOB_ID}\n")
    for word in ("pending", "1 %", SHA256, "backupexport download"):
        assert word in ran.err
    assert "\r" not in ran.err
    as_json = run("export", "shop", "--wait", "--json", "--quiet")
    assert [each["status"] for each in as_json.events] == ["pending", "running", "completed"]
    assert as_json.err == ""


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_an_export_that_ends_badly_has_exit_code_1(run: Run, server: Server, status: str) -> None:
    _answers(server, export=data({"job_id": JOB_ID}, 202), **{JOB_ID: data(job(status))})
    ran = run("export", "shop", "--wait")
    assert ran.code == 1
    assert status in ran.err
    assert run("watch", JOB_ID).code == 1


def test_who_stops_waiting_is_told_how_to_go_on(home: Path, server: Server) -> None:
    def heartbeats() -> Iterator[bytes]:
        for _ in itertools.count():
            yield b":\n\n"
            time.sleep(0.05)

    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("/events"):
            return Reply(200, {"Content-Type": "text/event-stream"}, heartbeats())
        return data(job("running"))

    server.answer = answer
    with cli_run.start(home, server.settings(), "watch", JOB_ID) as process:
        wait_for(lambda: len(server.asked) == 2, "the stream", 30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "running" in out
    assert f"The export goes on. Follow it again: backupexport watch {JOB_ID}" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--download", "/nonexistent/directory/file"),
        ("--download", "nonexistent/"),
        # A file that is there, and can't be the export's.
        ("--download", "/etc/hostname"),
        ("--download", ".", "--identity", "/nonexistent"),
    ],
)
def test_an_export_whose_file_has_no_way_here_is_not_asked_for(
    run: Run, server: Server, arguments: tuple[str, ...]
) -> None:
    assert run("export", "shop", *arguments).code == 2
    assert server.asked == []


def test_a_file_that_does_not_come_is_no_reason_for_another_export(
    run: Run, server: Server, home: Path
) -> None:
    _answers(
        server,
        export=data({"job_id": JOB_ID}, 202),
        events=_event_stream(job("completed")),
        download=problem(403, "forbidden", "No."),
        **{JOB_ID: data(job("completed"))},
    )
    ran = run("export", "shop", "--download", str(home), "--json", "--url", server.url)
    assert ran.code == 3
    again = f"Fetch its file: backupexport --url {server.url} download {JOB_ID} {home}"
    assert again in ran.err


def test_who_stops_a_quiet_command_is_told_how_to_go_on(home: Path, server: Server) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("/events"):
            return Reply(200, {"Content-Type": "text/event-stream"}, _for_ever())
        if asked.path.endswith("/export"):
            return data({"job_id": JOB_ID}, 202)
        return data(job("running"))

    def _for_ever() -> Iterator[bytes]:
        while True:
            yield b":\n\n"
            time.sleep(0.05)

    server.answer = answer
    arguments = ("-q", "export", "shop", "--download", str(home))
    with cli_run.start(home, server.settings(), *arguments) as process:
        wait_for(lambda: len(server.asked) == 3, "the stream", 30)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"backupexport download {JOB_ID} {home}" in err


def test_a_full_disk_behind_standard_output_is_told(home: Path, server: Server) -> None:
    server.answer = lambda _: data([job("completed")])
    program = [sys.executable, "-m", "backupexport_cli", "jobs"]
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            program,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=cli_run.cli_environment(home, server.settings()),
            timeout=60,
            check=False,
        )
    assert ran.returncode == 1
    assert "Standard output can't be written: no space left on device." in ran.stderr
    assert "Exception ignored" not in ran.stderr


def test_jobs_are_listed_as_a_table_and_as_json(run: Run, server: Server) -> None:
    _answers(server, jobs=data([job("completed"), job("failed")]))
    ran = run("jobs", "--project", "shop", "--status", "failed", "--limit", "2")
    assert ran.code == 0
    assert ran.out.splitlines()[0].split() == [
        "JOB", "PROJECT", "STATUS", "DONE", "FORMAT", "AGE", "WHY",
    ]  # fmt: skip
    assert JOB_ID in ran.out
    assert server.asked[0].query == {"project_id": ["shop"], "status": ["failed"], "limit": ["2"]}
    shown = run("--json", "jobs").document["jobs"]
    assert [each["status"] for each in shown] == ["completed", "failed"]


def test_a_longer_list_comes_page_by_page(run: Run, server: Server) -> None:
    ids = [f"{number:08x}{JOB_ID[8:]}" for number in range(450)]

    def answer(asked: Asked) -> Reply:
        begin, limit = int(asked.query.get("cursor", ["0"])[0]), int(asked.query["limit"][0])
        end = begin + limit
        body = {
            "data": [job(job_id=each) for each in ids[begin:end]],
            "next_cursor": str(end) if end < len(ids) else None,
        }
        return plain(json.dumps(body).encode())

    server.answer = answer
    shown = run("jobs", "--limit", "430", "--json").document["jobs"]
    assert [each["job_id"] for each in shown] == ids[:430]


def test_two_hundred_jobs_are_one_request(run: Run, server: Server) -> None:
    _answers(server, jobs=data([job("completed", f"{n:08x}{JOB_ID[8:]}") for n in range(200)]))
    assert len(run("jobs", "--limit", "200").out.splitlines()) == 201
    assert len(server.asked) == 1


def test_a_job_is_found_by_the_beginning_of_its_id(run: Run, server: Server) -> None:
    _answers(server, jobs=data([job("completed")]), **{JOB_ID: data(job("completed"))})
    ran = run("job", JOB_ID[:8])
    assert ran.code == 0
    assert SHA256 in ran.out


def test_watching_the_list_prints_a_line_for_each_change(home: Path, server: Server) -> None:
    states = iter([job(), job(), job("running"), job("completed")])
    server.answer = lambda _: data([next(states, job("completed"))])
    with cli_run.start(home, server.settings(), "jobs", "--watch", "--json") as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert [each["status"] for each in lines] == ["pending", "running", "completed"]
    assert process.returncode == 130


def test_a_job_is_cancelled(run: Run, server: Server) -> None:
    _answers(server, cancel=data(job("cancelled"), 202), **{JOB_ID: data(job("running"))})
    ran = run("cancel", JOB_ID)
    assert ran.code == 0
    assert "is being stopped" in ran.err
    assert server.asked[-1].method == "POST"
    cancelled = data(job("cancelled"), 202)
    _answers(server, cancel=cancelled, **{JOB_ID: data(job("cancelled"))})
    ran = run("cancel", JOB_ID)
    assert (ran.code, ran.err) == (0, f"Job {JOB_ID} was cancelled already.\n")
    ended = problem(409, "job_finished", "The job has ended already.")
    _answers(server, cancel=ended, **{JOB_ID: data(job("completed"))})
    ran = run("cancel", JOB_ID, "--json")
    assert ran.code == 1
    assert json.loads(ran.err)["error"]["code"] == "job_finished"


def test_a_link_is_whole_even_where_the_server_does_not_know_its_address(
    run: Run, server: Server
) -> None:
    link = {"link_id": "l", "url": "/api/jobs/x/download?a=b", "expires_at": job()["created_at"]}
    _answers(server, link=data(link, 201))
    ran = run("link", JOB_ID, "--lifetime", "12h")
    assert ran.out == f"{server.url}/api/jobs/x/download?a=b\n"
    assert json.loads(server.asked[0].body) == {"lifetime_seconds": 43200}


def test_the_restore_command_is_made_here_whatever_the_server_says(
    run: Run, server: Server
) -> None:
    hostile = artifact(path="shop/$(touch pwned);'x.sql.zst", encrypted_to=[])
    _answers(server, **{JOB_ID: data(job("completed", artifact=hostile))})
    ran = run("restore-command", JOB_ID)
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 1
    assert "rm -rf" not in ran.out
    assert """'$(touch pwned);'"'"'x.sql.zst'""" in ran.out
    assert "superuser" in ran.err
    _answers(server, **{JOB_ID: data(job("running"))})
    assert run("restore-command", JOB_ID).code == 1


def test_what_was_decrypted_is_restored_without_a_key(run: Run, server: Server) -> None:
    encrypted = artifact(path="shop/x.sql.zst.age", encrypted_to=["SHA256:x"])
    _answers(server, **{JOB_ID: data(job("completed", artifact=encrypted))})
    with_key, without = (
        run("restore-command", JOB_ID),
        run("restore-command", JOB_ID, "--decrypted"),
    )
    assert with_key.out.startswith("age -d -i KEY -o x.sql.zst x.sql.zst.age && ")
    assert with_key.out.endswith(without.out.strip() + "\n")
    assert "zstd -dc x.sql.zst " in without.out
    assert "KEY" in with_key.err
    assert "KEY" not in without.err


def test_targets_are_listed(run: Run, server: Server) -> None:
    project = {"suspended": False, "encryption_required": True, "newest_job": job("completed")}
    _answers(server, projects=data([{"project_id": "shop", **project}]))
    ran = run("targets")
    assert "must be encrypted" in ran.out
    assert "backupexport export shop" in ran.err
    assert run("targets", "--json").document["projects"][0]["project_id"] == "shop"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (plain(b"<html>please log in</html>"), 5),
        (plain(b"[" * 1_000_000), 5),
        (plain(b'{"data": 5}'), 5),
        (data({"status": "completed"}), 5),
        (data(job() | {"progress": "all of it"}), 5),
        (plain(b"", 302, Location="/api/jobs"), 5),
        (problem(401, "unauthorized", HOSTILE), 3),
        (problem(403, "project_forbidden", "Not yours."), 3),
        (problem(404, "job_not_found", "No such job."), 4),
        (problem(410, "artifact_gone", "Gone."), 4),
        (problem(429, "rate_limited", "Slower.", **{"Retry-After": "86400"}), 5),
        (problem(500, "internal_error", "A bug."), 5),
        (problem(501, "downloads_disabled", "Off."), 1),
        (Reply(200, {"Content-Length": "1000"}, (b"{",)), 5),
    ],
)
def test_each_bad_answer_has_its_exit_code_and_its_sentence(
    run: Run, server: Server, reply: Reply, code: int
) -> None:
    server.answer = lambda _: reply
    ran = run("job", JOB_ID)
    assert ran.code == code
    assert ran.out == ""
    assert ran.err.startswith("Error: ")
    told = json.loads(run("job", JOB_ID, "--json").err)["error"]
    assert told["exit_code"] == code


@pytest.mark.parametrize("command", ["job", "restore-command"])
def test_a_hostile_job_is_only_text(run: Run, server: Server, command: str) -> None:
    hostile = job(
        "completed",
        artifact=artifact(path=f"p/{HOSTILE}", restore_with=HOSTILE, server_version=HOSTILE),
        requested_by=HOSTILE,
        warnings=[{"code": "c", "message": HOSTILE}],
        restore_hints=[{"code": "c", "message": HOSTILE}],
        error={"reason": HOSTILE, "message": HOSTILE},
    )
    _answers(server, jobs=data([hostile]), **{JOB_ID: data(hostile)})
    # What is looked for is in every run.
    assert run(command, JOB_ID).code == 0
    assert run("jobs").code == 0
    assert json.loads(run("job", JOB_ID, "--json").out)["requested_by"] == HOSTILE


def test_verbose_tells_of_requests_and_never_of_the_token(run: Run, server: Server) -> None:
    _answers(server, jobs=data([]))
    ran = run("jobs", "-v")
    assert "GET 127.0.0.1/api/jobs: 200" in ran.err
    assert server.asked[0].headers["Authorization"] == f"Bearer {TOKEN}"


def test_a_server_that_is_not_there_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with cli_server.serving() as gone:
        monkeypatch.setenv("BACKUPEXPORT_URL", gone.url)
    ran = run("jobs")
    assert ran.code == 5
    assert "can't be reached" in ran.err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSL_CERT_FILE", "/dev/null"),
        ("SSL_CERT_FILE", "/missing"),
        ("HTTPS_PROXY", "gopher://user:hidden@proxy"),
    ],
)
def test_an_environment_that_is_of_no_use_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    ran = run("jobs")
    assert ran.code == 2
    assert name in ran.err
    assert "hidden" not in ran.err


@pytest.mark.parametrize(
    "url",
    ["ftp://x", "exports.example.com", "http://exports.example.com", "https://u:p@x", "http://["],
)
def test_an_address_that_is_none_or_not_private_is_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("BACKUPEXPORT_URL", url)
    assert run("jobs").code == 2


def test_a_reader_that_goes_is_no_error_of_ours(home: Path, server: Server) -> None:
    _answers(server, jobs=data([job("completed", f"{n:08x}{JOB_ID[8:]}") for n in range(200)] * 5))
    with cli_run.start(home, server.settings(), "jobs", "--json") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, err = process.communicate(timeout=30)
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def _completed(home: Path, server: Server, *words: str) -> tuple[list[str], float]:
    typed = " ".join(("backupexport", *words))
    began = time.perf_counter()
    ran = cli_run.run(
        home,
        server.settings()
        | {
            "_BACKUPEXPORT_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(words)),
        },
    )
    assert ran.err == ""
    return ran.out.split(), time.perf_counter() - began


def test_a_shell_completes_ids(home: Path, server: Server) -> None:
    project = {"project_id": "shop", "suspended": False, "encryption_required": False}
    _answers(server, jobs=data([job("completed")]), projects=data([project]))
    assert _completed(home, server, "job", JOB_ID[:3])[0] == [JOB_ID]
    assert _completed(home, server, "export", "s")[0] == ["shop"]
    assert _completed(home, server, "jobs", "--project", "s")[0] == ["shop"]


def test_a_shell_is_not_held_up_nor_bothered(home: Path, server: Server) -> None:
    server.answer = lambda _: problem(401, "unauthorized", "No.")
    assert _completed(home, server, "job", "0")[0] == []
    server.answer = lambda _: plain(b"<html>", 503, **{"Retry-After": "60"})
    assert _completed(home, server, "job", "0")[0] == []
    server.answer = lambda _: Reply(200, {}, (b" " for _ in map(time.sleep, itertools.repeat(0.1))))
    found, took = _completed(home, server, "job", "0")
    assert found == []
    assert took < 10
