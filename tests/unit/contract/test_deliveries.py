"""The kinds of delivery, as everything else reads them."""

import re
from pathlib import Path
from typing import Any

import pytest
from backupexport_contract.backup_export import BackupExportSpec
from backupexport_contract.deliveries import (
    Deliveries,
    Delivery,
    EmailDelivery,
    SettingsRule,
    TelegramDelivery,
)
from pydantic import ValidationError

ROOT = Path(__file__).parents[3]
NEEDS = SettingsRule("enabled", value=True, needs=("a", "b"), message="a and b")
NEEDS_ONE = SettingsRule("enabled", value=True, needs=("a",), message="a")
EXCLUDES = SettingsRule("tls", value="none", excludes=("secretRef",), message="no secret")
BOTH = SettingsRule("tls", value="tls", needs=("a",), excludes=("b",), message="a, not b")


class _Nameless(Delivery):
    pass


class _Copy(Delivery):
    condition_type = EmailDelivery.condition_type


def test_every_kind_has_a_condition_of_its_own() -> None:
    assert Deliveries.kinds() == {"email": EmailDelivery, "telegram": TelegramDelivery}


def test_a_kind_without_a_condition_is_refused() -> None:
    class Wrong(Deliveries):
        pigeon: _Nameless | None = None

    with pytest.raises(TypeError, match="_Nameless has no condition_type"):
        Wrong.kinds()


def test_two_kinds_with_one_condition_are_refused() -> None:
    class Wrong(Deliveries):
        pigeon: _Copy | None = None

    with pytest.raises(TypeError, match="email and pigeon have one condition_type, Notified"):
        Wrong.kinds()


@pytest.mark.parametrize(
    ("rule", "cel"),
    [
        (NEEDS, "!self.enabled || (has(self.a) && has(self.b))"),
        (NEEDS_ONE, "!self.enabled || has(self.a)"),
        (EXCLUDES, "self.tls != 'none' || !has(self.secretRef)"),
        (BOTH, "self.tls != 'tls' || (has(self.a) && !has(self.b))"),
    ],
)
def test_a_rule_for_the_api_server(rule: SettingsRule, cel: str) -> None:
    assert rule.cel == cel


@pytest.mark.parametrize(
    ("rule", "settings", "is_broken"),
    [
        (NEEDS, {"enabled": True, "a": "x", "b": "x"}, False),
        (NEEDS, {"enabled": True, "a": "x"}, True),
        (NEEDS, {"enabled": True}, True),
        (NEEDS, {"enabled": False}, False),
        (EXCLUDES, {"tls": "none", "secretRef": {}}, True),
        (EXCLUDES, {"tls": "none"}, False),
        (EXCLUDES, {"tls": "tls", "secretRef": {}}, False),
        (EXCLUDES, {"secretRef": {}}, False),
        (BOTH, {"tls": "tls", "a": "x", "b": "x"}, True),
        (BOTH, {"tls": "tls", "a": "x"}, False),
    ],
)
def test_a_rule_that_is_broken(
    rule: SettingsRule, settings: dict[str, Any], is_broken: bool
) -> None:
    assert rule.is_broken(settings) is is_broken


def test_a_new_kind_has_its_rules_everywhere() -> None:
    class Pigeon(Delivery):
        condition_type = "Flown"
        rules = (SettingsRule("enabled", value=True, needs=("secretRef",), message="feed it"),)

    schema = Pigeon.model_json_schema()
    assert schema["x-kubernetes-validations"] == [
        {"rule": "!self.enabled || has(self.secretRef)", "message": "feed it"}
    ]
    with pytest.raises(ValidationError, match="feed it"):
        Pigeon()
    assert Pigeon.model_validate({"secretRef": {"name": "corn"}}).enabled


def test_nothing_else_names_a_kind() -> None:
    quoted = re.compile(rf"""["'`]({"|".join(Deliveries.kinds())})["'`]""")
    sources = [
        path
        for folder in ("api", "crds", "operator", "runner", "charts/backupexport/templates")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".js", ".tpl", ".yaml", ".txt"}
    ]
    assert len(sources) > 100
    own = ("runner/backupexport_runner/delivery/kinds/", "crds/backupexport_contract/deliveries.py")
    named = [
        f"{place}: {found[0]}"
        for path in sources
        for place in (path.relative_to(ROOT).as_posix(),)
        for found in (quoted.search(path.read_text(encoding="utf-8")),)
        if found and not place.startswith(own)
    ]
    assert named == []


@pytest.mark.parametrize(
    ("address", "other", "is_one"),
    [
        ("a+1@example.org", "a+2@example.org", True),
        ("a+1@example.org", "a@example.org", True),
        ("A+x+y@Example.org", "a@example.org", True),
        ("a.b@example.org", "ab@example.org", False),
        ("a@example.org", "b@example.org", False),
        ("a@example.org", "a@example.com", False),
    ],
)
def test_plus_addresses_are_one_receiver(address: str, other: str, is_one: bool) -> None:
    def receiver(of: str) -> str:
        settings = EmailDelivery(host="mail", sender="exports@example.com", max_per_hour=3)
        quota = settings.quota(BackupExportSpec(project_id="p", notify_email=of))
        assert quota is not None
        assert quota[1] == 3
        return quota[0]

    assert (receiver(address) == receiver(other)) is is_one
