"""pg_dump's command line."""

from pathlib import Path

from backupexport_runner.libpq_parameters import TCP_PARAMETERS

# Waiting for a lock also makes everybody behind it wait.
_LOCK_WAIT_MILLISECONDS = 120_000

_FORMAT = {"sql": "plain", "tar": "tar"}


def dump_command(program: Path, dump_format: str) -> list[str]:
    """The arguments, none of which comes from a request or a Secret.

    Everything is kept that a restore of the whole database needs: owners, privileges, large
    objects (which pg_dump takes along as long as no schema or table is chosen), comments,
    publications and security labels
    (https://www.postgresql.org/docs/current/app-pgdump.html).  Text stays in the database's own
    encoding, into which not every SQL_ASCII database could be converted.
    """
    tcp = " ".join(f"{keyword}={value}" for keyword, value in TCP_PARAMETERS.items())
    return [
        str(program),
        f"--format={_FORMAT[dump_format]}",
        "--no-password",
        f"--lock-wait-timeout={_LOCK_WAIT_MILLISECONDS}",
        # The database itself comes from PGDATABASE, where it can't be read as a URI.
        f"--dbname={tcp}",
    ]
