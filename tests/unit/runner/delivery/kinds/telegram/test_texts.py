"""What people read in a Telegram chat."""

import hashlib
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import runner_bench
from backupexport_contract.restore_commands import (
    CAUTION,
    DECRYPTION,
    DumpFile,
    restore_command,
)
from backupexport_contract.runner_protocol import Artifact, ExportEnd, Remark
from backupexport_runner.delivery.kinds.telegram import texts
from backupexport_runner.delivery.kinds.telegram.parts import plan_parts
from backupexport_runner.task.request import Request, read_request

NAME = "20260129T153000Z-0b7c1111-2222-4333-8444-555566667777.sql.zst"
ENCRYPTED = "20260129T153000Z-0b7c1111-2222-4333-8444-555566667777.tar.zst.age"
# The longest that there is.
RESTORE = restore_command(DumpFile(NAME, "tar", "zstd", "13.1", "18.1", False, False))
END = ExportEnd(
    "Succeeded",
    artifact=Artifact(NAME, 1, 2, "ab", "13.1", "18.1", warnings=(Remark("a", "B."),)),
    restore_command=RESTORE,
    contents="Not tables " + ", ".join("t" * 100),
)


@pytest.fixture
def request_of() -> Request:
    request = read_request(runner_bench.environment())
    return replace(request, project_id="p" * 100)


def test_the_longest_caption_fits(request_of: Request) -> None:
    part = plan_parts(NAME, 10**15, 10**12)[-1]
    for count in (1, 1000):
        text = texts.caption(request_of, part, count, "f" * 64, END)
        assert len(text) <= texts.LONGEST_CAPTION
        assert request_of.project_id in text
        assert "f" * 64 in text
        assert request_of.job_id in text
        assert "Warnings: 1, " in text
        assert "\nContents: Not tables t, t, t" in text
        assert (RESTORE in text) == (count == 1)
        assert ("part 1000 of 1000" in text) == (count == 1000)


def test_an_encrypted_file_has_its_command_in_a_message(request_of: Request) -> None:
    encrypted = replace(request_of, file_name=ENCRYPTED)
    restore = restore_command(DumpFile(ENCRYPTED, "tar", "zstd", "13.1", "18.1", False, False))
    end = replace(END, restore_command=restore)
    text = texts.caption(encrypted, plan_parts(ENCRYPTED, 10**15, 10**15)[0], 1, "f" * 64, end)
    assert len(text) <= texts.LONGEST_CAPTION
    assert "\nEncrypted with age\n" in text
    assert restore not in text
    message = texts.restore_message(restore)
    assert message == f"Restore: {restore}\n{DECRYPTION}\n{CAUTION}"
    assert len(message) <= texts.LONGEST_MESSAGE
    parts = plan_parts(ENCRYPTED, 10_000, 10)
    *_, last = texts.closing_messages(encrypted, parts, ["e" * 64] * 1000, "f" * 64, restore)
    assert len(last) <= texts.LONGEST_MESSAGE
    assert last.endswith(f"{restore}\n{DECRYPTION}\n{CAUTION}")


@pytest.mark.parametrize("count", [2, 3, 24, 25, 26, 27, 28, 29, 52, 53, 54, 999, 1000])
def test_closing_messages_fit_and_tell_every_part(request_of: Request, count: int) -> None:
    parts = plan_parts(NAME, count * 10, 10)
    digests = [f"{part.number:064x}" for part in parts]
    messages = texts.closing_messages(request_of, parts, digests, "f" * 64, RESTORE)
    assert max(map(len, messages)) <= texts.LONGEST_MESSAGE
    lines = "\n".join(messages).splitlines()
    for part, digest in zip(parts, digests, strict=True):
        assert lines.count(f"{digest}  {part.name}") == 1
    assert f"cat {NAME}.part*of{count:03} > {NAME}" in messages[-1]
    assert f"{'f' * 64}  {NAME}" in messages[-1]
    assert messages[-1].endswith(f"{RESTORE}\n{CAUTION}")


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
    messages = texts.closing_messages(request_of, parts, digests, whole, RESTORE)
    lines = [line for text in messages for line in text.splitlines() if not line.endswith(":")]
    script = "\n".join(["set -e", *lines[:-2]])
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
