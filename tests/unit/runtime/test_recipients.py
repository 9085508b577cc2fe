import subprocess
from base64 import b64encode
from pathlib import Path

import pyrage
import pytest
from age_keys import AGE, MISTYPED, OF_LOW_ORDER, OF_LOW_ORDER_SSH, ZERO_RSA, ssh_key
from backupexport_contract import rules
from backupexport_runtime import recipients as recipients_module
from backupexport_runtime.recipients import (
    RecipientError,
    fingerprint,
    fingerprints,
    is_usable,
    key_of,
)


def test_a_recipient_of_age() -> None:
    assert is_usable(AGE)
    # printf age1… | openssl dgst -sha256 -binary | base64
    assert fingerprint(AGE) == "SHA256:eptBJGtgbJYGKAXitW3iJVfPlLaAG78PoA612hLAbQM"


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_the_fingerprint_of_a_key_of_ssh_is_that_of_ssh_keygen(tmp_path: Path, kind: str) -> None:
    identity, recipient = ssh_key(tmp_path, kind)
    listed = subprocess.check_output(["ssh-keygen", "-lf", f"{identity}.pub"], text=True)
    assert listed.split()[1] == fingerprint(recipient)
    assert is_usable(recipient)
    # The comment is no part of the key.
    bare = " ".join(recipient.split(" ")[:2])
    assert fingerprints([recipient, AGE, bare]) == (fingerprint(recipient), fingerprint(AGE))


def test_recipients_that_nobody_could_read(tmp_path: Path) -> None:
    name, blob, *_ = ssh_key(tmp_path, "ed25519")[1].split(" ")
    assert is_usable(f"{name} {blob}")
    unusable = [
        MISTYPED,
        "age1" + "q" * 58,
        *OF_LOW_ORDER,
        f"{name} {blob[:-4]}",
        # pyrage takes these: stock age then finds no part for its identity.
        f"{name} {blob}AAAA",
        f"ssh-rsa {blob}",
        f"{name} AAAAA",
        *OF_LOW_ORDER_SSH,
        *ZERO_RSA,
    ]
    for recipient in unusable:
        assert rules.first_broken(rules.RECIPIENT, recipient) is None, recipient
        assert not is_usable(recipient), recipient
        with pytest.raises(RecipientError):
            key_of(recipient)


@pytest.mark.parametrize("bits", [1024, 8192])
def test_keys_of_rsa_that_age_refuses(bits: int) -> None:
    modulus = b"\0" + (2 ** (bits - 1) + 1).to_bytes(bits // 8)
    blob = b"".join(len(it).to_bytes(4) + it for it in (b"ssh-rsa", b"\1\0\1", modulus))
    recipient = f"ssh-rsa {b64encode(blob).decode()}"
    assert rules.first_broken(rules.RECIPIENT, recipient) is None
    assert not is_usable(recipient)


@pytest.mark.parametrize("recipient", ZERO_RSA)
def test_a_panic_of_pyrage_is_an_error(monkeypatch: pytest.MonkeyPatch, recipient: str) -> None:
    """Also one that nobody has foreseen."""
    monkeypatch.setattr(recipients_module, "_is_whole", lambda _: True)
    with pytest.raises(RecipientError, match="can't read it"):
        key_of(recipient)


def test_what_is_usable_can_be_encrypted_to(tmp_path: Path) -> None:
    recipients = [AGE, ssh_key(tmp_path, "ed25519")[1], ssh_key(tmp_path, "rsa")[1]]
    assert pyrage.encrypt(b"content", [key_of(each) for each in recipients])
