"""Recipients of age: which can be encrypted to, and how people tell them apart.

`rules.RECIPIENT` says what they look like; the key itself is age's own matter (pyrage), but for
two kinds that pyrage takes and that nothing can be read with, or written to.
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

# https://cr.yp.to/ecdh.html#validate: what everybody shares with these is zero, at which pyrage
# panics when it encrypts.
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
    is_sound = _is_whole if recipient.startswith("ssh-") else _is_of_high_order
    kind = pyrage.ssh if recipient.startswith("ssh-") else pyrage.x25519
    try:
        key = kind.Recipient.from_str(recipient)
    except pyrage.RecipientError as error:
        raise RecipientError(str(error)) from error
    if not is_sound(recipient):
        raise RecipientError("nobody could decrypt it")
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


def _is_whole(recipient: str) -> bool:
    """Returns whether nothing follows the key: age finds an identity's part by the hash of all."""
    try:
        blob, fields = _blob(recipient), 0
    except binascii.Error:
        return False
    while len(blob) >= _LENGTH_BYTES:
        blob = blob[_LENGTH_BYTES + int.from_bytes(blob[:_LENGTH_BYTES]) :]
        fields += 1
    return not blob and fields == _FIELDS[recipient.split(" ", maxsplit=1)[0]]


def _is_of_high_order(recipient: str) -> bool:
    digits = recipient[len("age1") : -_CHECKSUM_CHARACTERS]
    number = 0
    for digit in digits:
        number = number << 5 | _BECH32.index(digit)
    # 52 digits of five bits are four more than 32 bytes have; RFC 7748 drops the highest.
    point = int.from_bytes((number >> 4).to_bytes(32), "little") % 2**255
    return point % _FIELD_PRIME not in _OF_LOW_ORDER
