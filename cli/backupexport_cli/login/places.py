"""Where contexts and tokens are kept, for each user apart."""

import os
from pathlib import Path

from platformdirs import user_config_path

_NAME = "backupexport"


def config_directory() -> Path:
    """Return the folder of contexts and tokens; BACKUPEXPORT_CONFIG_DIR names another one."""
    if configured := os.environ.get("BACKUPEXPORT_CONFIG_DIR"):
        return Path(configured)
    return user_config_path(_NAME, appauthor=False, roaming=False)


def shown(path: Path) -> str:
    """Return the path as a person knows it, with ~ for their own folder."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
