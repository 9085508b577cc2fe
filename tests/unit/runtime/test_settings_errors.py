"""What a program says of its settings before it stops."""

import json
from typing import Any

import pytest
from backupexport_operator.settings import Settings
from backupexport_runtime.settings_errors import SETTINGS_ERRORS, complaints

STORAGES = '{"default": {"volume": {"claim": "c"}}}'
GIVEN = {"NAMESPACE": "n", "RUNNER_IMAGE": "i", "STORAGES": STORAGES}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"DELIVERIES": "{hunter2"}, "BACKUPEXPORT_DELIVERIES: is no JSON"),
        ({"HTTP_PORT": "none"}, "BACKUPEXPORT_HTTP_PORT: Input should be a valid integer"),
        (
            {"DELIVERIES": {"email": {"host": "hunter2"}}},
            "BACKUPEXPORT_DELIVERIES: email: host and from are required",
        ),
        (
            {"DELIVERIES": {"telegram": {"secretRef": {"name": "hunter2-"}}}},
            "BACKUPEXPORT_DELIVERIES: telegram.secretRef.name: String should match",
        ),
    ],
)
def test_a_variable_and_where_in_it(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], said: str
) -> None:
    for name, value in (GIVEN | given).items():
        text = value if isinstance(value, str) else json.dumps(value)
        monkeypatch.setenv(f"BACKUPEXPORT_{name}", text)
    with pytest.raises(SETTINGS_ERRORS) as caught:
        Settings()
    (line,) = complaints(caught.value)
    assert line.startswith(said)
    assert "hunter2" not in line
