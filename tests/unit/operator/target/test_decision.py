"""Two targets with one project id: the older one serves."""

import builders
import pytest
from age_keys import AGE, MISTYPED, SSH
from backupexport_contract.export_target import ExportTarget
from backupexport_operator.observed.observation import serving_target
from backupexport_operator.observed.storage_state import StorageState
from backupexport_operator.target.decision import readiness, wanted_status


def target(name: str, created: str, *, suspend: bool = False) -> ExportTarget:
    return builders.target(name=name, created=created, suspend=suspend)


OLD, NEW = target("z", "2026-01-01T00:00:00Z"), target("a", "2026-01-02T00:00:00Z")


def test_the_oldest_serves() -> None:
    assert serving_target([NEW, OLD]) == OLD
    assert serving_target([]) is None


@pytest.mark.parametrize(
    ("of", "ready", "reason"),
    [
        (OLD, True, "Serving"),
        (NEW, False, "DuplicateProject"),
        (target("z", "2025-01-01T00:00:00Z", suspend=True), False, "Suspended"),
    ],
)
def test_readiness(of: ExportTarget, ready: bool, reason: str) -> None:
    assert readiness(of, [OLD, NEW], builders.STORAGES)[:2] == (ready, reason)


def test_a_target_that_names_a_secret_of_the_installations_own_is_not_ready() -> None:
    assert readiness(OLD, [], builders.STORAGES, own_secrets=("s",))[:2] == (False, "SecretInvalid")
    assert readiness(OLD, [], builders.STORAGES, own_secrets=("other",))[0]


def test_a_target_with_a_recipient_that_is_none_is_not_ready() -> None:
    for recipients, expected in [
        ([AGE, SSH], (True, "Serving")),
        ([AGE, MISTYPED], (False, "RecipientInvalid")),
    ]:
        encrypting = builders.target(encryption={"recipients": recipients})
        ready, reason, message = readiness(encrypting, [], builders.STORAGES)
        assert (ready, reason) == expected
        assert ready or "recipient 2 of encryption.recipients" in message


def test_the_newer_is_told_which_one_is_older() -> None:
    assert "ExportTarget z is older" in readiness(NEW, [OLD, NEW], builders.STORAGES)[2]


def test_a_storage_that_the_chart_lacks_keeps_a_target_from_being_ready() -> None:
    named = builders.target("p", "n", storage="bucket")
    ready, reason, message = readiness(named, [], builders.STORAGES)
    assert (ready, reason) == (False, "StorageNotFound")
    assert "no storage bucket" in message
    assert readiness(named, [], {**builders.STORAGES, "bucket": builders.BUCKET})[0]


def test_what_the_check_found_is_a_condition_and_none_without_checks() -> None:
    bad = StorageState("False", "StorageUnwritable", "No such bucket.")
    told = wanted_status(OLD, [], builders.STORAGES, storage=bad)
    found = {it.type: (it.status, it.reason, it.message) for it in told.conditions}
    assert found["StorageReady"] == ("False", "StorageUnwritable", "No such bucket.")
    assert found["Ready"][0] == "True"
    # They are turned off.
    with_it = OLD.model_copy(update={"status": told})
    after = wanted_status(with_it, [], builders.STORAGES)
    assert [it.type for it in after.conditions] == ["Ready"]
