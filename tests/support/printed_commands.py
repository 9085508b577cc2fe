"""The commands that check and restore a file, as they must be printed."""

from backupexport_contract.restore_commands import DumpFile

SHA256 = "ff"
CAUTION = (
    "A restore runs what the database's authors have written, so use a scratch instance and a role "
    "that is no superuser."
)
_PSQL = "psql -X --single-transaction -v ON_ERROR_STOP=1 -d DATABASE"
_RESTORE = "pg_restore --single-transaction -d DATABASE"


def _piped(program: str, file: str) -> str:
    return f"(set -o pipefail; {program} -tq {file} && {program} -dc {file} | {_PSQL})"


_ENDS_AS_IT_BEGAN = (
    r"sed -n '1,9s/^\\restrict /\\unrestrict /p' b.sql | grep -qxFf - <(tail -n 3 b.sql)"
)
_WHOLE_TAR = "(set -o pipefail; tar -tf {} | tail -n 1 | grep -qx restore.sql)"


def _filtered(program: str, file: str) -> str:
    without = "sed '1,40{/^SET transaction_timeout = 0;$/d}'"
    return (
        f"(set -o pipefail; {program} -f /dev/null {file} && "
        f"{program} --single-transaction -f - {file} | {without} | "
        "psql -X -v ON_ERROR_STOP=1 -d DATABASE)"
    )


# How a file is restored in the directory where it lies.
RESTORED = {
    DumpFile("a/b.sql.zst", "sql", "zstd"): _piped("zstd", "b.sql.zst"),
    DumpFile("a/c/b.sql.gz", "sql", "gzip"): _piped("gzip", "b.sql.gz"),
    DumpFile("b.sql", "sql", "none"): (f"{_ENDS_AS_IT_BEGAN} && {_PSQL} -f b.sql"),
    DumpFile("a/b.tar.zst", "tar", "zstd"): f"zstd -dc b.tar.zst > b.tar && {_RESTORE} b.tar",
    DumpFile("a/b.tar.gz", "tar", "gzip"): f"gzip -dc b.tar.gz > b.tar && {_RESTORE} b.tar",
    DumpFile("a/b.tar", "tar", "none"): _WHOLE_TAR.format("b.tar") + f" && {_RESTORE} b.tar",
    DumpFile("a/b c.tar", "tar", "none"): (
        _WHOLE_TAR.format("'b c.tar'") + f" && {_RESTORE} 'b c.tar'"
    ),
    DumpFile("a/b'c.sql.zst", "sql", "zstd"): _piped("zstd", r"'b'\''c.sql.zst'"),
    DumpFile("a/b.dump", "custom", "zstd"): f"{_RESTORE} b.dump",
    DumpFile("b.dump", "custom", "none", owner=False, privileges=False): (
        "pg_restore --no-owner --no-privileges --single-transaction -d DATABASE b.dump"
    ),
    DumpFile("b.sql", "sql", "none", "16.4", "17.6", owner=False): (
        f"{_ENDS_AS_IT_BEGAN} && {_PSQL} -f b.sql"
    ),
    # pg_restore of 17 and newer sets what older servers don't know.
    DumpFile("b.dump", "custom", "zstd", "16.4", "17.6", owner=False): _filtered(
        "pg_restore --no-owner", "b.dump"
    ),
    DumpFile("b.tar", "tar", "none", "13.23", "18.1"): (
        _WHOLE_TAR.format("b.tar") + f" && {_filtered('pg_restore', 'b.tar')}"
    ),
    DumpFile("b.dump", "custom", "zstd", "16.4", "16.9"): f"{_RESTORE} b.dump",
    DumpFile("b.dump", "custom", "zstd", "17.4", "18.1"): f"{_RESTORE} b.dump",
    DumpFile("a/b.sql.zst.age", "sql", "zstd"): (
        "age -d -i KEY -o b.sql.zst b.sql.zst.age && " + _piped("zstd", "b.sql.zst")
    ),
    DumpFile("a/b.tar.age", "tar", "none"): (
        f"age -d -i KEY -o b.tar b.tar.age && {_WHOLE_TAR.format('b.tar')} && {_RESTORE} b.tar"
    ),
    DumpFile("b c.dump.age", "custom", "zstd"): (
        f"age -d -i KEY -o 'b c.dump' 'b c.dump.age' && {_RESTORE} 'b c.dump'"
    ),
}
