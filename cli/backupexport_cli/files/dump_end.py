"""What a file of a dump is, and whether it ends as pg_dump ends one; pure."""

from dataclasses import dataclass
from typing import Literal

from backupexport_contract import names

HEAD_BYTES = 64
TAIL_BYTES = 4096

Kind = Literal["sql", "tar", "dump", "zst", "gz", "age", ""]
"""As the endings of names say it; nothing where that is not known."""

DumpEnd = Literal["whole", "cut", "encrypted", "compressed", "decompressed", "archive", "unknown"]
"""All but the first two, and the fifth, say why it was not looked at."""

EXPLAINED: dict[DumpEnd, str] = {
    "whole": "The dump ends as pg_dump ends one.",
    "cut": "The dump does not end as pg_dump ends one",
    "encrypted": "What is inside was not looked at, because it is encrypted.",
    "compressed": "What is inside was not looked at, because it is compressed.",
    "decompressed": "It can be decompressed to its end; what is inside was not looked at.",
    "archive": "What is inside was not looked at; pg_restore -f /dev/null FILE reads it all.",
    "unknown": "What is inside was not looked at, because the name does not say what it is.",
}

_BEGINNINGS: tuple[tuple[bytes, Kind], ...] = (
    (b"age-encryption.org/v1", "age"),
    (b"-----BEGIN AGE ENCRYPTED FILE-----", "age"),
    (b"\x28\xb5\x2f\xfd", "zst"),
    (b"\x1f\x8b", "gz"),
    (b"PGDMP", "dump"),
)
_FORMATS: tuple[Kind, ...] = ("sql", "tar", "dump")
_COMPRESSIONS: tuple[Kind, ...] = ("zst", "gz")
_SQL_END = b"-- PostgreSQL database dump complete"
# A tar ends with two blocks of zeros.
_TAR_END = bytes(1024)


@dataclass(frozen=True, slots=True)
class Named:
    """What a file's name says of it."""

    format: Kind
    compression: Kind
    is_encrypted: bool


def named(name: str) -> Named:
    """Return what the endings of a name say."""
    readable = name.removesuffix(names.ENCRYPTED)
    *_, before, last = ["", "", *readable.split(".")]
    compression = _one_of(_COMPRESSIONS, last)
    return Named(_one_of(_FORMATS, before if compression else last), compression, readable != name)


def kind_of(head: bytes, own: Named, exported: Named, *, is_exported: bool) -> Kind:
    """Return what a file is, as it begins, else by its own name and that which it was exported by.

    People give it another name, and decompress it: `is_exported` says that it is as it was.
    """
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    said = own if own.format or own.compression else exported
    if is_exported:
        said = exported
        if exported.is_encrypted:
            return "age"
    return said.compression or exported.format or own.format


def dump_end(kind: Kind, tail: bytes) -> DumpEnd:
    """Return what the end of a file of that kind says; `tail` is its last TAIL_BYTES."""
    if kind == "sql":
        return "whole" if _SQL_END in tail else "cut"
    if kind == "tar":
        return "whole" if tail.endswith(_TAR_END) else "cut"
    if kind == "age":
        return "encrypted"
    if kind in _COMPRESSIONS:
        return "compressed"
    return "archive" if kind == "dump" else "unknown"


def _one_of(kinds: tuple[Kind, ...], ending: str) -> Kind:
    return next((kind for kind in kinds if kind == ending), "")
