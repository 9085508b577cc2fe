"""Whether a dump ends as pg_dump ends one, where that can be seen cheaply; pure."""

from typing import Literal

from backupexport_contract import names

TAIL_BYTES = 4096

DumpEnd = Literal["whole", "cut", "encrypted", "compressed", "archive", "unknown"]
"""The middle three, and the last, say why it was not looked at."""

EXPLAINED: dict[DumpEnd, str] = {
    "whole": "The dump ends as pg_dump ends one.",
    "cut": "The dump does not end as pg_dump ends one",
    "encrypted": "What is inside was not looked at, because it is encrypted.",
    "compressed": "What is inside was not looked at, because it is compressed.",
    "archive": "What is inside was not looked at; pg_restore -f /dev/null FILE reads it all.",
    "unknown": "What is inside was not looked at, because the name does not say what it is.",
}

_SQL_END = b"-- PostgreSQL database dump complete"
# A tar ends with two blocks of zeros.
_TAR_END = bytes(1024)


def dump_end(name: str, tail: bytes) -> DumpEnd:
    """Return what the end of a file of that name says; `tail` is its last TAIL_BYTES."""
    if name.endswith(names.ENCRYPTED):
        return "encrypted"
    ending = name.rpartition(".")[2]
    if ending in ("zst", "gz"):
        return "compressed"
    if ending == "sql":
        return "whole" if _SQL_END in tail else "cut"
    if ending == "tar":
        return "whole" if tail.endswith(_TAR_END) else "cut"
    return "archive" if ending == "dump" else "unknown"
