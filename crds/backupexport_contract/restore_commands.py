"""Shell commands that check a finished file and restore it; every place prints these.

A file that was cut restores nothing: it is read to its end first, because psql takes the end of its
input for the end of the dump, and commits, and pg_restore can look for the end of a tar for ever.
"""

import re
import shlex
from dataclasses import dataclass, replace

from backupexport_contract import names

CAUTION = (
    "A restore runs what the database's authors have written, so use a scratch instance and a role "
    "that is no superuser."
)

DECRYPTION = (
    "KEY is the file with your identity of age or your private key of ssh. The decrypted file "
    "stays beside the encrypted one: remove it when you are done."
)

# Since this major, pg_dump and pg_restore set it, and older servers don't know it
# (https://www.postgresql.org/docs/17/release-17.html).
_TRANSACTION_TIMEOUT_SINCE = 17
TRANSACTION_TIMEOUT = "SET transaction_timeout = 0;"

_PSQL = "psql -X --single-transaction -v ON_ERROR_STOP=1 -d DATABASE"
# For what begins and commits its transaction itself.
_PSQL_OF_SCRIPT = "psql -X -v ON_ERROR_STOP=1 -d DATABASE"


@dataclass(frozen=True, slots=True)
class DumpFile:
    """What of a finished file says how it is restored.

    `compression` is none, gzip or zstd.  `owner` and `privileges` say whether a restore gives the
    objects their owners and grants.
    """

    path: str
    format: str
    compression: str
    server_version: str = ""
    dump_version: str = ""
    owner: bool = True
    privileges: bool = True


def file_name(path: str) -> str:
    """Returns the name at the end of the path."""
    return path.rpartition("/")[2]


def is_encrypted(path: str) -> bool:
    """Returns whether the file is encrypted, as its name says."""
    return path.endswith(names.ENCRYPTED)


def check_command(path: str, sha256: str) -> str:
    """Returns what compares the file in the current directory with its checksum (hex)."""
    return f"echo {shlex.quote(f'{sha256}  {file_name(path)}')} | sha256sum --check"


def sets_unknown_timeout(dump_version: str, server_version: str) -> bool:
    """Returns whether programs of the dump's version set what the server doesn't know."""
    return _major(server_version) < _TRANSACTION_TIMEOUT_SINCE <= _major(dump_version)


def restore_command(dump: DumpFile) -> str:
    """Returns what restores the file in the current directory into DATABASE; bash runs it.

    An encrypted one is decrypted with KEY first, as a whole: age fails at what was cut, after it
    has written what was there.
    """
    if is_encrypted(dump.path):
        readable = replace(dump, path=dump.path.removesuffix(names.ENCRYPTED))
        decrypted, encrypted = (shlex.quote(file_name(each.path)) for each in (readable, dump))
        return f"age -d -i KEY -o {decrypted} {encrypted} && {restore_command(readable)}"
    file = shlex.quote(file_name(dump.path))
    compression = names.outer_compression(dump.format, dump.compression)
    decompress = "" if compression == "none" else f"{compression} -dc {file}"
    if dump.format == "sql":
        if decompress:
            return f"(set -o pipefail; {compression} -tq {file} && {decompress} | {_PSQL})"
        # It ends with the key that it begins with, which is made for each dump: nobody who writes
        # into the database can know it.
        end = r"sed -n '1,9s/^\\restrict /\\unrestrict /p'"
        is_whole = f"{end} {file} | grep -qxFf - <(tail -n 3 {file})"
        return f"{is_whole} && {_PSQL} -f {file}"
    whole = ""
    if dump.format == "tar":
        # pg_restore seeks in a tar, so it can't read one from a pipe.
        plain = shlex.quote(re.sub(r"\.\w+$", "", file_name(dump.path))) if decompress else file
        # The last that pg_dump puts into a tar is restore.sql.
        is_whole = f"(set -o pipefail; tar -tf {file} | tail -n 1 | grep -qx restore.sql)"
        whole = f"{decompress} > {plain}" if decompress else is_whole
        whole, file = f"{whole} && ", plain
    return whole + _pg_restore(dump, file)


def _pg_restore(dump: DumpFile, file: str) -> str:
    program = "pg_restore"
    # An archive keeps the owners whatever pg_dump was told.
    program += "" if dump.owner else " --no-owner"
    program += "" if dump.privileges else " --no-privileges"
    if not sets_unknown_timeout(dump.dump_version, dump.server_version):
        return f"{program} --single-transaction -d DATABASE {file}"
    without_timeout = f"sed '1,40{{/^{TRANSACTION_TIMEOUT}$/d}}'"
    # The transaction is pg_restore's: without, its script commits before and after large objects.
    return (
        f"(set -o pipefail; {program} -f /dev/null {file} && "
        f"{program} --single-transaction -f - {file} | {without_timeout} | {_PSQL_OF_SCRIPT})"
    )


def _major(version: str) -> int:
    found = re.match(r"\d+", version)
    return int(found[0]) if found else _TRANSACTION_TIMEOUT_SINCE
