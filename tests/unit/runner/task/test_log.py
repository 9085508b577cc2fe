"""The log without secrets."""

import json

import pytest
from backupexport_runner.task.log import Scrubber


@pytest.mark.parametrize("secret", ["plain", "a@b /'\\\"", "ü\udcff", "p", "[hidden]x"])
def test_secrets_are_hidden_in_every_spelling(secret: str) -> None:
    clean = Scrubber([secret, "", secret + secret]).clean
    for text in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], secret + secret):
        assert clean(f"<{text}>") == "<[hidden]>"
