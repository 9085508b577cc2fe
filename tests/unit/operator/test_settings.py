"""The operator's settings, from its environment."""

import pytest
from backupexport_operator.settings import Settings
from pydantic import ValidationError

STORAGES = '{"default": {"volume": {"claim": "c"}}}'
NEEDED = {"NAMESPACE": "n", "RUNNER_IMAGE": "i", "STORAGES": STORAGES}


def settings_of(monkeypatch: pytest.MonkeyPatch, **given: str) -> Settings:
    for name, value in (NEEDED | given).items():
        monkeypatch.setenv(f"BACKUPEXPORT_{name}", value)
    return Settings()


@pytest.mark.parametrize("name", ["RETENTION_SECONDS", "DELIVERIES", "PUBLIC_URL", "HTTP_PORT"])
def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    without = settings_of(monkeypatch)
    assert settings_of(monkeypatch, **{name: ""}) == without


def test_an_empty_namespace_is_no_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="namespace"):
        settings_of(monkeypatch, NAMESPACE="")
