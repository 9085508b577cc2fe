"""The chart refuses what the operator would refuse of deliveries, and nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backupexport_contract.crd_manifests import manifests
from backupexport_contract.deliveries import Deliveries
from pydantic import ValidationError
from rendered_chart import CHART, Manifest, rendered_notes, template

MAIL: Manifest = {"host": "mail", "from": "exports@example.com"}
BOT: Manifest = {"secretRef": {"name": "bot"}}
REFUSED: dict[str, tuple[Manifest, str]] = {
    "no sender": ({"email": {"host": "mail"}}, "email: host and from are required"),
    "no server": ({"email": {"from": "a@b.example"}}, "email: host and from are required"),
    "nothing of a mail": ({"email": {}}, "email: host and from are required"),
    "a login in the clear": (
        {"email": {**MAIL, "tls": "none", "secretRef": {"name": "x"}}},
        "email: a login needs tls",
    ),
    "no bot": ({"telegram": {}}, "telegram: secretRef is required"),
    "no bot, though on": ({"telegram": {"enabled": True}}, "telegram: secretRef is required"),
    "a sender with a name": ({"email": {**MAIL, "from": "Exports <a@b.example>"}}, "/email/from"),
    "no address": ({"email": {**MAIL, "from": ""}}, "/email/from"),
    "a long local part": ({"email": {**MAIL, "from": "a" * 65 + "@b.example"}}, "/email/from"),
    "a port too high": ({"email": {**MAIL, "port": 99999}}, "/email/port"),
    "a host with a path": ({"email": {**MAIL, "host": "mail/x"}}, "/email/host"),
    "another TLS": ({"email": {**MAIL, "tls": "ssl"}}, "/email/tls"),
    "no time": ({"email": {**MAIL, "giveUpSeconds": 0}}, "/email/giveUpSeconds"),
    "a word for yes": ({"email": {**MAIL, "enabled": "x"}}, "/email/enabled"),
    "a Secret without a name": ({"telegram": {"secretRef": {}}}, "/telegram/secretRef"),
    "bytes with a unit": ({"telegram": {**BOT, "partBytes": "50MB"}}, "/telegram/partBytes"),
    "tiny parts": ({"telegram": {**BOT, "partBytes": 100}}, "/telegram/partBytes"),
    "another protocol": ({"telegram": {**BOT, "apiUrl": "ftp://x"}}, "/telegram/apiUrl"),
}
ACCEPTED: dict[str, Manifest] = {
    "both": {"email": MAIL, "telegram": BOT},
    "all of it": {
        "email": {
            **MAIL, "enabled": True, "port": 2525, "tls": "tls", "secretRef": {"name": "x"},
            "caCertificates": "PEM", "giveUpSeconds": 604800,
        },
        "telegram": {**BOT, "apiUrl": "http://bot:8081", "partBytes": 4_000_000_000},
    },
    "off": {"email": {"enabled": False}, "telegram": {"enabled": False}},
    "no login in the clear": {"email": {**MAIL, "tls": "none"}},
}  # fmt: skip


def of_a_target(deliveries: Manifest) -> Manifest:
    target = {"projectId": "p", "secretRef": {"name": "s"}, "deliveries": deliveries}
    return {"exportTargets": [target]}


@pytest.mark.parametrize(("deliveries", "why"), REFUSED.values(), ids=REFUSED)
def test_refused(deliveries: Manifest, why: str) -> None:
    with pytest.raises(ValidationError):
        Deliveries.model_validate(deliveries)
    for values in ({"deliveries": deliveries}, of_a_target(deliveries)):
        done = template(values)
        assert done.returncode != 0
        assert why in done.stderr


@pytest.mark.parametrize("deliveries", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(deliveries: Manifest) -> None:
    Deliveries.model_validate(deliveries)
    for values in ({"deliveries": deliveries}, of_a_target(deliveries)):
        done = template(values)
        assert done.returncode == 0, done.stderr


def rules_of_several_fields(schema: dict[str, Any]) -> Iterator[str]:
    if "properties" in schema:
        yield from (rule["message"] for rule in schema.get("x-kubernetes-validations", ()))
        for child in schema["properties"].values():
            yield from rules_of_several_fields(child)


def test_the_chart_has_each_rule_of_several_fields() -> None:
    crd = manifests()["exporttargets.yaml"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    deliveries = crd["properties"]["spec"]["properties"]["deliveries"]
    rules = list(rules_of_several_fields(deliveries))
    assert len(rules) >= 3
    said = (CHART / "templates" / "_validate.tpl").read_text(encoding="utf-8")
    assert [rule for rule in rules if rule not in said] == []


@pytest.mark.parametrize(
    ("values", "said", "not_said"),
    [
        ({}, [], ["Deliveries are on", "publicUrl"]),
        ({"deliveries": {"email": {"enabled": False}}}, [], ["Deliveries are on", "publicUrl"]),
        ({"deliveries": {"telegram": BOT}}, ["say otherwise: telegram."], ["publicUrl"]),
        ({"deliveries": {"email": MAIL}}, ["say otherwise: email.", "name it in publicUrl"], []),
        (
            {"deliveries": {"email": MAIL}, "publicUrl": "https://x"},
            ["say otherwise: email."],
            ["publicUrl"],
        ),
    ],
    ids=str,
)
def test_the_notes_say_what_is_on(
    values: Manifest, said: list[str], not_said: list[str], tmp_path: Path
) -> None:
    notes = rendered_notes(values, tmp_path)
    assert [text for text in said if text not in notes] == []
    assert [text for text in not_said if text in notes] == []
