"""The SHA-256 of what is written, from memory or from the file."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from backupexport_cli.files import checksum
from backupexport_cli.files.checksum import FollowingChecksum

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    opened = os.open(path, os.O_RDWR)
    yield opened
    os.close(opened)


def test_pieces_in_turn_are_not_read_from_the_file(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    following = FollowingChecksum(descriptor)

    for at in range(0, len(CONTENT), 1000):
        following.wrote(CONTENT[at : at + 1000], at)

    assert following.result() == SHA256


def test_what_an_earlier_run_has_left_is_read_from_the_file(descriptor: int) -> None:
    following = FollowingChecksum(descriptor)

    following.reach(HALF)
    following.wrote(CONTENT[HALF:], HALF)

    assert following.result() == SHA256


def test_what_came_ahead_of_its_turn_is_read_from_the_file(descriptor: int) -> None:
    following = FollowingChecksum(descriptor)

    following.wrote(b"never looked at", HALF)
    following.wrote(CONTENT[:HALF], 0)
    following.reach(len(CONTENT))

    assert following.result() == SHA256


def test_what_waits_for_its_turn_takes_little_memory(
    descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksum, "_MOST_WAITING_BYTES", 100)
    following = FollowingChecksum(descriptor)

    for at in range(0, len(CONTENT), 60):
        following.wrote(CONTENT[at : at + 60], at)
        assert following._waiting_bytes <= 100

    assert following.result() == SHA256


def test_a_file_that_became_shorter_is_an_error(descriptor: int) -> None:
    os.ftruncate(descriptor, HALF)
    following = FollowingChecksum(descriptor)

    following.reach(len(CONTENT))

    with pytest.raises(OSError, match="became shorter"):
        following.result()


def test_it_can_be_given_up(descriptor: int) -> None:
    following = FollowingChecksum(descriptor)

    following.wrote(CONTENT, 0)
    following.stop()

    assert not following._thread.is_alive()
