"""Where the runner finds its directories and files: fixed in the image, different in tests."""

from dataclasses import dataclass
from pathlib import Path

from backupexport_contract import runner_protocol


@dataclass(frozen=True, slots=True)
class Configuration:
    """Paths; none is taken from the environment."""

    exports: Path = Path(runner_protocol.EXPORTS_MOUNT)
    scratch: Path = Path(runner_protocol.SCRATCH_MOUNT)
    termination_message: Path = Path(runner_protocol.TERMINATION_MESSAGE_PATH)
    # Debian and PGDG: <root>/<major>/bin/pg_dump.
    clients: Path = Path("/usr/lib/postgresql")
    cgroup: Path = Path("/sys/fs/cgroup")
    secret: Path = Path(runner_protocol.SECRET_MOUNT)
    # The files of the Secret of a bucket.
    storage: Path = Path(runner_protocol.STORAGE_MOUNT)
