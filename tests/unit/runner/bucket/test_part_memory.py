"""The memory of parts that were sent, which later parts use again."""

import threading
from typing import Any

import pytest
from backupexport_runner.bucket import upload
from backupexport_runner.bucket.s3_client import SentPart
from backupexport_runner.bucket.upload import S3Upload

SIZES = (10, 20, 20, 20, 20)


class Server:
    """Takes parts; the first, which is the smallest, after the second."""

    def __init__(self) -> None:
        self.lengths: dict[int, int] = {}
        self.second = threading.Event()

    def create_upload(self, *_: Any) -> tuple[str, bool]:
        return "id", False

    def send_part(self, _key: str, _id: str, number: int, content: Any, _check: Any) -> SentPart:
        if number == 1:
            assert self.second.wait(60)
        self.lengths[number] = len(content)
        return SentPart(number, "", "")


def test_a_small_part_that_is_sent_late_makes_no_later_one_smaller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upload, "part_bytes", lambda number, _: SIZES[number - 1])
    server: Any = Server()
    uploaded = S3Upload(server, "key", {}, 0, lambda: None, lambda: True)

    def settled(left: int) -> None:
        with uploaded._state:
            assert uploaded._state.wait_for(lambda: uploaded._on_their_way == left, 60)

    uploaded.write(bytes(30))
    settled(1)
    server.second.set()
    settled(0)
    uploaded.write(bytes(60))
    uploaded.finish()
    assert server.lengths == dict(enumerate(SIZES, start=1))
    assert uploaded._memory == 0
