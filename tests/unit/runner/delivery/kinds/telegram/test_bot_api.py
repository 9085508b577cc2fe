"""What a request to the Bot API comes to."""

import os
import ssl
from pathlib import Path
from typing import Any

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_runner.delivery.kinds.telegram.answers import Unclear
from backupexport_runner.delivery.kinds.telegram.bot_api import BotApi
from backupexport_runner.delivery.kinds.telegram.parts import Part, PartView
from backupexport_runner.volume.storage import DescriptorReader


@pytest.mark.parametrize(("read", "is_lost"), [(9, False), (10, True)])
def test_only_a_document_sent_as_a_whole_can_have_a_lost_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: int, is_lost: bool
) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    file = os.open(tmp_path / "file", os.O_RDONLY)
    view = PartView(DescriptorReader(file), Part(1, "file", 0, 10), lambda: None)

    def cut(*_: Any) -> Unclear:
        view.read(read)
        return Unclear(ExitCode.CONNECTION_FAILED, "cut")

    monkeypatch.setattr(BotApi, "_post", cut)
    try:
        with BotApi("http://127.0.0.1:9", "1:token", ssl.create_default_context()) as api:
            answer = api.send_document("-100", "file", view, 10, "")
    finally:
        os.close(file)
    assert isinstance(answer, Unclear)
    assert answer.is_lost is is_lost
