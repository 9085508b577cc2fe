"""The keys of a Secret, as the kubelet mounts them."""

from pathlib import Path

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.secret import Secret, read_secret
from secret_files import secret_of


def test_keys_are_read_by_name_and_chosen_ones_by_part(tmp_path: Path) -> None:
    values = {"secret:host": "db\n", "secret:ca.crt": "é", "secret:chosen/password": "$(X)"}
    expected = Secret({"host": "db\n", "ca.crt": "é"}, {"password": "$(X)"})
    assert secret_of(values, tmp_path / "secret") == expected


@pytest.mark.parametrize("values", [{}, {"EXPORT_JOB_ID": "x"}])
def test_no_key_at_all_may_still_come(tmp_path: Path, values: dict[str, str]) -> None:
    with pytest.raises(Failure, match="The target's Secret isn't there") as failure:
        secret_of(values, tmp_path / "secret")
    assert failure.value.exit_code == ExitCode.SECRET_MISSING
    with pytest.raises(Failure):
        read_secret(tmp_path / "not-mounted", "The target's Secret")


@pytest.mark.parametrize("value", ["\udcff\udcfecanary", "canary\0", "canary" * 200_000])
@pytest.mark.parametrize(
    ("name", "words"), [("host", "the key host"), ("chosen/host", "spec.keys.host")]
)
def test_what_is_no_text_is_refused_by_name(
    tmp_path: Path, name: str, words: str, value: str
) -> None:
    with pytest.raises(Failure, match=words) as failure:
        secret_of({f"secret:{name}": value}, tmp_path / "secret")
    assert failure.value.exit_code == ExitCode.SECRET_INVALID
    assert "canary" not in failure.value.message


def test_a_large_value_is_read_whole(tmp_path: Path) -> None:
    bundle = "x" * 1024 * 1024
    values = {"secret:sslrootcert": bundle}
    assert secret_of(values, tmp_path / "secret").well_known["sslrootcert"] == bundle
