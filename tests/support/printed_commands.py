"""The commands that check and restore a file, for the two who print them: Python and the page."""

SHA256 = "ff"
_PSQL = "psql -X -v ON_ERROR_STOP=1 -d DATABASE"
_RESTORE = "pg_restore --exit-on-error -d DATABASE"

# Path, format and compression of a file: how it is restored in the directory where it lies.
RESTORED = {
    ("a/b.sql.zst", "sql", "zstd"): f"zstd -dc b.sql.zst | {_PSQL}",
    ("a/c/b.sql.gz", "sql", "gzip"): f"gzip -dc b.sql.gz | {_PSQL}",
    ("b.sql", "sql", "none"): f"{_PSQL} -f b.sql",
    ("a/b.tar.zst", "tar", "zstd"): f"zstd -dc b.tar.zst > b.tar && {_RESTORE} b.tar",
    ("a/b.tar.gz", "tar", "gzip"): f"gzip -dc b.tar.gz > b.tar && {_RESTORE} b.tar",
    ("a/b.tar", "tar", "none"): f"{_RESTORE} b.tar",
    ("a/b c.tar", "tar", "none"): f"{_RESTORE} 'b c.tar'",
    ("a/b'c.sql.zst", "sql", "zstd"): rf"zstd -dc 'b'\''c.sql.zst' | {_PSQL}",
}
