"""Shell commands that check a finished file and restore it, as the web page prints them.

A file that was cut restores nothing: it is read to its end first, because psql takes the end of its
input for the end of the dump, and commits, and pg_restore can look for the end of a tar for ever.
"""

import re
import shlex

CAUTION = (
    "A restore runs what the database's authors have written, so use a scratch instance and a role "
    "that is no superuser."
)


def file_name(path: str) -> str:
    """Returns the name at the end of the path."""
    return path.rpartition("/")[2]


def check_command(path: str, sha256: str) -> str:
    """Returns what compares the file in the current directory with its checksum (hex)."""
    return f"echo {shlex.quote(f'{sha256}  {file_name(path)}')} | sha256sum --check"


def restore_command(path: str, dump_format: str, compression: str) -> str:
    """Returns what restores the file in the current directory into DATABASE; bash runs it."""
    file = shlex.quote(file_name(path))
    decompress = "" if compression == "none" else f"{compression} -dc {file}"
    if dump_format == "tar":
        # pg_restore seeks in a tar, so it can't read one from a pipe.
        plain = shlex.quote(re.sub(r"\.\w+$", "", file_name(path))) if decompress else file
        whole = f"{decompress} > {plain}" if decompress else f"tar -tf {file} > /dev/null"
        return f"{whole} && pg_restore --single-transaction -d DATABASE {plain}"
    psql = "psql -X --single-transaction -v ON_ERROR_STOP=1 -d DATABASE"
    if decompress:
        return f"(set -o pipefail; {compression} -tq {file} && {decompress} | {psql})"
    return f"tail -n 9 {file} | grep 'database dump complete' && {psql} -f {file}"
