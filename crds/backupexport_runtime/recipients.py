"""Recipients of age: which can be encrypted to, and how people tell them apart.

`rules.RECIPIENT` says what they look like; the key itself is age's own matter (pyrage), but for
those that pyrage panics at, or takes though nobody could decrypt the file, or everybody could.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from typing import Any

import pyrage

# https://datatracker.ietf.org/doc/html/rfc8709#section-4 and rfc4253#section-6.6: how many fields
# a public key of ssh has, each with its length in front.
_FIELDS = {"ssh-ed25519": 2, "ssh-rsa": 3}
_LENGTH_BYTES = 4

# https://cr.yp.to/ecdh.html#validate: what everybody shares with these is zero. pyrage panics at it
# when it encrypts to an age1 recipient; with a key of ssh everybody could decrypt the file.
_FIELD_PRIME = 2**255 - 19
_OF_LOW_ORDER = {
    0,
    1,
    _FIELD_PRIME - 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
}
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_CHECKSUM_CHARACTERS = 6


class RecipientError(ValueError):
    """A recipient that nothing can be encrypted to."""


def key_of(recipient: str) -> Any:
    """Returns what pyrage encrypts to.  Raises RecipientError."""
    is_ssh = recipient.startswith("ssh-")
    if is_ssh and not _is_whole(recipient):
        raise RecipientError("it is no whole key")
    kind = pyrage.ssh if is_ssh else pyrage.x25519
    try:
        key = kind.Recipient.from_str(recipient)
    except pyrage.RecipientError as error:
        raise RecipientError(str(error)) from error
    except BaseException as error:
        # Rust's panics are no Exceptions, and their type can't be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise RecipientError("age can't read it") from None
    if _is_of_low_order(recipient):
        raise RecipientError("it keeps nothing secret")
    return key


def is_usable(recipient: str) -> bool:
    """Returns whether a file can be encrypted to it."""
    try:
        key_of(recipient)
    except RecipientError:
        return False
    return True


def fingerprint(recipient: str) -> str:
    """Returns `SHA256:…` of a usable recipient.

    Of a key of ssh it is what `ssh-keygen -l` prints, of any other the text's.
    """
    hashed = _blob(recipient) if recipient.startswith("ssh-") else recipient.encode()
    return "SHA256:" + base64.b64encode(hashlib.sha256(hashed).digest()).decode().rstrip("=")


def fingerprints(recipients: Iterable[str]) -> tuple[str, ...]:
    """Returns those of usable recipients, each once."""
    return tuple(dict.fromkeys(map(fingerprint, recipients)))


def _blob(recipient: str) -> bytes:
    return base64.b64decode(recipient.split(" ")[1], validate=True)


def _fields(recipient: str) -> list[bytes]:
    """Returns those of a key of ssh.  Raises binascii.Error."""
    blob, fields = _blob(recipient), []
    while blob:
        end = _LENGTH_BYTES + int.from_bytes(blob[:_LENGTH_BYTES])
        fields.append(blob[_LENGTH_BYTES:end])
        blob = blob[end:]
    return fields


def _is_whole(recipient: str) -> bool:
    """Returns whether a key of ssh has its fields, and none of zeros, at which pyrage panics.

    Nothing may follow them: age finds an identity's part by the hash of all.
    """
    try:
        fields = _fields(recipient)
    except binascii.Error:
        return False
    return len(fields) == _FIELDS[recipient.split(" ", maxsplit=1)[0]] and all(map(any, fields))


def _is_of_low_order(recipient: str) -> bool:
    if recipient.startswith("ssh-rsa "):
        return False
    if recipient.startswith("ssh-"):
        # https://datatracker.ietf.org/doc/html/rfc7748#section-4.1: (1 + y) / (1 - y)
        y = _coordinate(_fields(recipient)[1])
        point = (1 + y) * pow(1 - y, _FIELD_PRIME - 2, _FIELD_PRIME)
    else:
        number = 0
        for digit in recipient[len("age1") : -_CHECKSUM_CHARACTERS]:
            number = number << 5 | _BECH32.index(digit)
        # 52 digits of five bits are four more than 32 bytes have.
        point = _coordinate((number >> 4).to_bytes(32))
    return point % _FIELD_PRIME in _OF_LOW_ORDER


def _coordinate(key: bytes) -> int:
    """Returns the number, without its highest bit, which is none of it."""
    return int.from_bytes(key, "little") % 2**255
