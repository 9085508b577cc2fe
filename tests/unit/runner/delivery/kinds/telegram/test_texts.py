"""What is sent to a Telegram chat, and what its answers mean: pure functions."""

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import runner_bench
from backupexport_contract.reasons import ExitCode
from backupexport_runner.delivery.kinds.telegram import texts
from backupexport_runner.delivery.kinds.telegram.answers import (
    Answer,
    InChat,
    Moved,
    Refused,
    Unclear,
    Wait,
    read_answer,
)
from backupexport_runner.delivery.kinds.telegram.parts import MOST_PARTS, part_count, plan_parts
from backupexport_runner.task.request import Request, read_request
from hypothesis import given
from hypothesis import strategies as st

NAME = "20260129T153000Z-0b7c1111-2222-4333-8444-555566667777.sql.zst"


@pytest.fixture
def request_of() -> Request:
    request = read_request(runner_bench.environment())
    return replace(request, project_id="p" * 100)


@pytest.mark.parametrize(
    ("size", "names"),
    [
        (1, [NAME]),
        (10, [NAME]),
        (11, [f"{NAME}.part001of002", f"{NAME}.part002of002"]),
        (20, [f"{NAME}.part001of002", f"{NAME}.part002of002"]),
        (21, [f"{NAME}.part00{number}of003" for number in (1, 2, 3)]),
    ],
)
def test_a_file_is_whole_where_it_fits_and_numbered_parts_else(size: int, names: list[str]) -> None:
    assert [part.name for part in plan_parts(NAME, size, 10)] == names


@given(size=st.integers(1, 10**13), part_bytes=st.integers(1024, 4 * 10**9))
def test_parts_cover_the_file_exactly_and_sort_as_a_shell_sorts_them(
    size: int, part_bytes: int
) -> None:
    count = part_count(size, part_bytes)
    if count > MOST_PARTS:
        size = size % (part_bytes * MOST_PARTS) + 1
        count = part_count(size, part_bytes)
    parts = plan_parts(NAME, size, part_bytes)
    assert len(parts) == count <= MOST_PARTS
    end = 0
    for number, part in enumerate(parts, start=1):
        assert part.number == number
        assert part.offset == end
        assert 0 < part.size <= part_bytes
        end += part.size
    assert end == size
    names = [part.name for part in parts]
    assert names == sorted(set(names))


def test_the_longest_caption_fits(request_of: Request) -> None:
    part = plan_parts(NAME, 10**15, 10**12)[-1]
    for count in (1, 1000):
        text = texts.caption(request_of, part, count, "f" * 64)
        assert len(text) <= texts.LONGEST_CAPTION
        assert request_of.project_id in text
        assert "f" * 64 in text
        assert request_of.job_id in text
        assert ("part 1000 of 1000" in text) == (count == 1000)


@pytest.mark.parametrize("count", [2, 3, 24, 25, 26, 27, 28, 29, 52, 53, 54, 999, 1000])
def test_closing_messages_fit_and_tell_every_part(request_of: Request, count: int) -> None:
    parts = plan_parts(NAME, count * 10, 10)
    digests = [f"{part.number:064x}" for part in parts]
    messages = texts.closing_messages(request_of, parts, digests, "f" * 64)
    assert max(map(len, messages)) <= texts.LONGEST_MESSAGE
    lines = "\n".join(messages).splitlines()
    for part, digest in zip(parts, digests, strict=True):
        assert lines.count(f"{digest}  {part.name}") == 1
    assert f"cat {NAME}.part*of{count:03} > {NAME}" in messages[-1]
    assert f"{'f' * 64}  {NAME}" in messages[-1]
    assert messages[-1].endswith(f"zstd -dc {NAME} | psql -X -v ON_ERROR_STOP=1 -d DATABASE")


@pytest.mark.parametrize("count", [2, 60])
def test_the_commands_of_the_closing_messages_work(
    request_of: Request, tmp_path: Path, count: int
) -> None:
    content = bytes(range(200)) * count
    parts = plan_parts(NAME, len(content), 200)
    digests = []
    for part in parts:
        piece = content[part.offset :][: part.size]
        (tmp_path / part.name).write_bytes(piece)
        digests.append(hashlib.sha256(piece).hexdigest())
    # Of an attempt with another partBytes, and a second copy as browsers save it.
    other = plan_parts(NAME, len(content), 150)[0].name
    for stray in (other, f"{parts[0].name} (1)", f"{parts[0].name}.part"):
        (tmp_path / stray).write_bytes(b"stray")
    whole = hashlib.sha256(content).hexdigest()
    messages = texts.closing_messages(request_of, parts, digests, whole)
    lines = [line for text in messages for line in text.splitlines() if not line.endswith(":")]
    script = "\n".join(["set -e", *lines[:-1]])
    done = subprocess.run(
        ["/bin/sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK") == count + 1
    assert (tmp_path / NAME).read_bytes() == content


def test_the_success_sentence() -> None:
    assert (
        texts.success_sentence(125829120, 3) == "Sent to the Telegram chat in 3 parts (120.0 MiB)."
    )
    assert texts.success_sentence(10, 1) == "Sent to the Telegram chat (10 B)."


def _error(code: int, description: str = "no", **parameters: int) -> bytes:
    fields = {"ok": False, "error_code": code, "description": description}
    return json.dumps(fields | ({"parameters": parameters} if parameters else {})).encode()


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (200, b'{"ok":true,"result":{"message_id":7}}', InChat(7)),
        (200, b'{"ok":true,"result":{"message_id":7,"document":{"file_size":9}}}', InChat(7, 9)),
        (429, _error(429, retry_after=3), Wait(3)),
        (429, b"<html>", Wait(5)),
        (429, _error(429, retry_after=-1), Wait(5)),
        (400, _error(400, migrate_to_chat_id=-1009), Moved("-1009")),
    ],
)
def test_answers_that_send_on(status: int, body: bytes, meaning: Answer) -> None:
    assert read_answer(status, body) == meaning


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"<html>"),
        (200, b"[" * 100_000),
        (200, b"[]"),
        (200, b"\xff"),
        (200, b'{"ok":false}'),
        (200, b'{"ok":"true","result":{"message_id":7}}'),
        (200, b'{"ok":true,"result":{"message_id":true}}'),
        (200, b'{"ok":true,"result":{"message_id":7,"document":{"file_size":"9"}}}'),
        (200, b'{"ok":true,"result":[]}'),
        (302, b"{}"),
        (307, b""),
        (404, b"<html>nginx</html>"),
        (500, _error(500)),
        (502, b"<html>"),
        (408, b""),
    ],
)
def test_answers_that_say_nothing_are_for_another_try(status: int, body: bytes) -> None:
    answer = read_answer(status, body)
    assert isinstance(answer, Unclear)
    assert answer.exit_code is ExitCode.DELIVERY_DEFERRED


@pytest.mark.parametrize(
    ("status", "body", "exit_code", "words"),
    [
        (401, _error(401, "Unauthorized"), ExitCode.AUTHENTICATION_FAILED, "current token"),
        (404, _error(404, "Not Found"), ExitCode.AUTHENTICATION_FAILED, "current token"),
        (400, _error(400, "chat not found"), ExitCode.DELIVERY_REFUSED, "chat not found"),
        (403, _error(403, "bot was\nkicked\x1b"), ExitCode.DELIVERY_REFUSED, "bot was kicked)"),
        (403, b"{}", ExitCode.DELIVERY_REFUSED, "no description"),
        (413, b"<html>", ExitCode.DELIVERY_REFUSED, "lower partBytes"),
        (413, _error(413), ExitCode.DELIVERY_REFUSED, "lower partBytes"),
    ],
)
def test_answers_that_end_it(status: int, body: bytes, exit_code: ExitCode, words: str) -> None:
    answer = read_answer(status, body)
    assert isinstance(answer, Refused)
    assert answer.exit_code is exit_code
    assert words in answer.message
