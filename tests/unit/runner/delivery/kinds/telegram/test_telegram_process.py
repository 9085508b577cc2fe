"""The real process of a delivery to Telegram: killed at every step, stopped, watched."""

import json
import os
import signal
from pathlib import Path
from typing import Any

from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import read_outcome
from bot_api_server import BotApiServer
from runner_process import wait_for
from telegram_bench import CHAT, TOKEN, TelegramBench, joined
from telegram_process import Attempts

MIB = 1 << 20


def _noted(bench: TelegramBench) -> set[str]:
    """The names of the parts that the journal has an answer for."""
    if not bench.journal.exists():
        return set()
    parts = json.loads(bench.journal.read_text())["parts"]
    return {part["name"] for part in parts if part["message_id"] > 0}


def _times(documents: list[dict[str, Any]], name: str) -> int:
    return sum(document["name"] == name for document in documents)


def test_parts_join_wherever_the_process_was_killed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    twice = 0
    with (
        BotApiServer(TOKEN, (CHAT,), keep=kept) as bot,
        Attempts(tmp_path / "bench") as attempts,
    ):
        bench = TelegramBench(tmp_path / "bench", bot.url)
        step = 0
        while True:
            step += 1
            exit_code = attempts.run(bench.environment(), kill_at=step)
            if exit_code == 0:
                break
            assert exit_code == -signal.SIGKILL, step
            noted = _noted(bench)
            assert attempts.run(bench.environment()) == 0, step
            unique = {document["name"]: document for document in bot.documents}
            assert len(unique) == 3, step
            assert joined(list(unique.values()), kept) == bench.sha256, step
            assert all(_times(bot.documents, name) == 1 for name in noted), step
            # Not noted: at most the one that was under way.
            assert len(bot.documents) + len(bot.texts) <= 5, step
            twice += len(bot.documents) - len(unique)
            bot.received.clear()
            bench.journal.unlink()
    # Every call on the volume and on the network of four requests and five notes.
    assert step > 60
    # The window there is: Telegram has the part, and nothing is on the disk yet.
    assert twice > 0
    assert TOKEN not in attempts.output.read_text()


def test_a_delivery_that_dies_again_and_again_gets_there(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    with (
        BotApiServer(TOKEN, (CHAT,), keep=kept) as bot,
        Attempts(tmp_path / "bench") as attempts,
    ):
        bench = TelegramBench(tmp_path / "bench", bot.url)
        # Enough for a beginning and one part, not for two.
        deaths = 0
        while attempts.run(bench.environment(), kill_at=44):
            deaths += 1
            assert deaths < 20
        assert deaths > 0
        unique = {document["name"]: document for document in bot.documents}
        assert joined(list(unique.values()), kept) == bench.sha256


def test_sigterm_ends_a_wait_for_an_answer_within_the_grace(tmp_path: Path) -> None:
    with BotApiServer(TOKEN, (CHAT,)) as bot, Attempts(tmp_path / "bench") as attempts:
        bench = TelegramBench(tmp_path / "bench", bot.url)
        bot.script = [{}, {"fail": "slow", "seconds": 20}]
        attempts.begin(bench.environment())
        wait_for(lambda: bot.requests == 2)
        assert TOKEN.encode() not in Path(f"/proc/{attempts.pid}/cmdline").read_bytes()
        os.kill(attempts.pid, signal.SIGTERM)
        assert attempts.end() == ExitCode.INTERRUPTED
        message = read_outcome((bench.root / "termination").read_text()).message
        assert message is not None
        assert "tried again" in message
        bot.script.clear()
        bot.received.clear()
        assert attempts.run(bench.environment()) == 0
        names = [document["name"].rpartition(".")[2] for document in bot.documents]
        # The stand-in still answers, and has, the document that nobody waits for any more.
        assert sorted(set(names)) == ["part002of003", "part003of003"]
        assert TOKEN not in attempts.output.read_text()


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    with BotApiServer(TOKEN, (CHAT,)) as bot, Attempts(tmp_path / "bench") as attempts:
        bench = TelegramBench(tmp_path / "bench", bot.url, size=MIB, part_bytes=MIB // 2)
        assert attempts.run(bench.environment()) == 0
        small = attempts.peak_kilobytes
        large = TelegramBench(tmp_path / "large", bot.url, size=300 * MIB, part_bytes=50 * 10**6)
        attempts.root = large.root
        assert attempts.run(large.environment()) == 0
        assert len(bot.documents) == 2 + 7
        assert attempts.peak_kilobytes - small < 4 * 1024
