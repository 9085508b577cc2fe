"""The commands that check and restore a file, for the two who print them: Python and the page."""

SHA256 = "ff"
CAUTION = (
    "A restore runs what the database's authors have written, so use a scratch instance and a role "
    "that is no superuser."
)
_PSQL = "psql -X --single-transaction -v ON_ERROR_STOP=1 -d DATABASE"
_RESTORE = "pg_restore --single-transaction -d DATABASE"


def _piped(program: str, file: str) -> str:
    return f"(set -o pipefail; {program} -tq {file} && {program} -dc {file} | {_PSQL})"


# Path, format and compression of a file: how it is restored in the directory where it lies.
RESTORED = {
    ("a/b.sql.zst", "sql", "zstd"): _piped("zstd", "b.sql.zst"),
    ("a/c/b.sql.gz", "sql", "gzip"): _piped("gzip", "b.sql.gz"),
    ("b.sql", "sql", "none"): (
        f"tail -n 9 b.sql | grep 'database dump complete' && {_PSQL} -f b.sql"
    ),
    ("a/b.tar.zst", "tar", "zstd"): f"zstd -dc b.tar.zst > b.tar && {_RESTORE} b.tar",
    ("a/b.tar.gz", "tar", "gzip"): f"gzip -dc b.tar.gz > b.tar && {_RESTORE} b.tar",
    ("a/b.tar", "tar", "none"): f"tar -tf b.tar > /dev/null && {_RESTORE} b.tar",
    ("a/b c.tar", "tar", "none"): (f"tar -tf 'b c.tar' > /dev/null && {_RESTORE} 'b c.tar'"),
    ("a/b'c.sql.zst", "sql", "zstd"): _piped("zstd", r"'b'\''c.sql.zst'"),
}
