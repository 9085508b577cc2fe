"""What the file will be: its size, what is kept out of it so that it goes back, what reads it.

All of it is pure.
"""

from backupexport_contract.restore_commands import TRANSACTION_TIMEOUT, sets_unknown_timeout
from backupexport_contract.runner_protocol import Remark, Selection

from backupexport_runner.postgres.clients import FIXED_MINORS
from backupexport_runner.postgres.pg_dump import inner_compression
from backupexport_runner.task.request import Request

# The first psql of each major that knows \restrict, with which every dump of ours begins
# (https://www.postgresql.org/support/security/CVE-2025-8714/).
_MINORS = ", ".join(f"{major}.{minor}" for major, minor in FIXED_MINORS.items())
_PSQL_WITH_RESTRICT = f"psql {_MINORS}, or {max(FIXED_MINORS) + 1} and newer"

# How much smaller zstd and gzip make a dump, at the levels used; of the demo's database.
_PACKED = 3.4

_TIMEOUT_LINE = f"{TRANSACTION_TIMEOUT}\n".encode("ascii")


def restore_with(dump_format: str, dump_version: str, server_version: str) -> str:
    """Returns the programs that can read the file.

    pg_restore refuses archives of a newer major; whether that knows all of a newer server's words
    depends on the server alone (https://www.postgresql.org/docs/current/app-pgrestore.html).
    """
    if dump_format == "sql":
        return _PSQL_WITH_RESTRICT
    archive = f"pg_restore {dump_version.partition('.')[0]} or newer"
    if sets_unknown_timeout(dump_version, server_version):
        return f"{archive}, with {_PSQL_WITH_RESTRICT}"
    return archive


def cleaned_head(head: bytes, dump_format: str, dump_version: str, server_version: str) -> bytes:
    r"""Returns the beginning of a dump without the setting that its own server doesn't know.

    It stands among the first settings, before anything of the database's owner.
    """
    if dump_format == "sql" and sets_unknown_timeout(dump_version, server_version):
        return head.replace(b"\n" + _TIMEOUT_LINE, b"\n", 1)
    return head


def compression_warnings(request: Request, client_major: int) -> tuple[Remark, ...]:
    """Returns a warning where the archive is compressed otherwise than it was asked for."""
    inside = inner_compression(request.compression, client_major)
    if request.format != "custom" or inside == request.compression:
        return ()
    return (
        Remark(
            "compression_changed",
            f"The archive is compressed by {inside}: pg_dump {client_major}, which fits the "
            f"server, doesn't know {request.compression}.",
        ),
    )


def estimated_bytes(of_everything: int, request: Request, selection: Selection) -> int:
    """Returns the bytes that pg_dump will probably write, 0 where nobody can tell.

    `of_everything` is the plain dump of the whole database.
    """
    if selection.content == "schema":
        return 0
    is_packed = request.format == "custom" and request.compression != "none"
    return int(of_everything / _PACKED) if is_packed else of_everything
