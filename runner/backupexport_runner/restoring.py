"""The command that restores an export's file, for people."""

from backupexport_runner.request import Request

_UNPACK = {"zstd": "zstd -dc", "gzip": "gzip -dc"}
_SUFFIX = {"zstd": ".zst", "gzip": ".gz"}
_PSQL = "psql -X -v ON_ERROR_STOP=1 -d DATABASE"
_PG_RESTORE = "pg_restore --exit-on-error -d DATABASE"


def restore_command(request: Request) -> str:
    """One line of shell; DATABASE stands for an empty database."""
    name, unpack = request.file_name, _UNPACK.get(request.compression)
    if request.format == "sql":
        return f"{unpack} {name} | {_PSQL}" if unpack else f"{_PSQL} -f {name}"
    if unpack is None:
        return f"{_PG_RESTORE} {name}"
    # pg_restore wants to seek in a tar.
    plain = name.removesuffix(_SUFFIX[request.compression])
    return f"{unpack} {name} > {plain} && {_PG_RESTORE} {plain}"
