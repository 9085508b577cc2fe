"""A forward of a port is there again when it has ended, and no more after its context."""

import os
from pathlib import Path

import kept_forward
import pytest
from playground.tools import wait_for


def test_it_is_started_again_when_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, started = tmp_path / "bin" / "kubectl", tmp_path / "started"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\nprintf '%s\\n' \"$*\" >> {started}\n"
        f"[ $(wc -l < {started}) -gt 1 ] || exit 1\necho $$ > {tmp_path}/id\nexec sleep 600\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(kept_forward, "STATE", tmp_path)
    monkeypatch.setattr(kept_forward, "environment", lambda: dict(os.environ))
    with kept_forward.kept_forward("shop", "pod/api-0", 8080) as port:
        wait_for((tmp_path / "id").exists, "the second one", 60)
    words = f"-n shop port-forward --address=127.0.0.1 pod/api-0 {port}:8080"
    assert started.read_text().splitlines() == [words] * 2
    assert not Path("/proc", (tmp_path / "id").read_text().strip()).exists()
