"""What becomes of a task's failure that nothing waited for."""

import asyncio
import gc
import logging
from pathlib import Path
from typing import Any

import kopf
import pytest
from backupexport_operator.kube.kopf_run import report_unseen_failure

KOPF = Path(kopf.__file__).parent


def coroutine_function(file: Path) -> Any:
    """A coroutine function that fails, as if `file` had it."""
    names: dict[str, Any] = {}
    source = "async def fail():\n    raise ConnectionError('Connection closed')\n"
    exec(compile(source, str(file), "exec"), names)
    return names["fail"]


async def leave_behind(file: Path) -> None:
    asyncio.get_running_loop().set_exception_handler(report_unseen_failure)
    task = asyncio.ensure_future(coroutine_function(file)())
    await asyncio.wait([task])
    del task
    gc.collect()


@pytest.mark.parametrize(
    ("file", "logger", "traceback"),
    [
        (KOPF / "_cogs/clients/scanning.py", "backupexport_operator.kube.kopf_run", False),
        (KOPF.parent / "kopf_like/scanning.py", "asyncio", True),
        (Path("reconciler.py"), "asyncio", True),
    ],
)
def test_only_kopfs_own_failures_come_without_a_traceback(
    file: Path, logger: str, traceback: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        asyncio.run(leave_behind(file))
    (record,) = caplog.records
    assert record.name == logger
    assert bool(record.exc_info) is traceback
    assert traceback or "ConnectionError: Connection closed" in record.getMessage()
