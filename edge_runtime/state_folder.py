"""Where the device remembers things, such as which model is the faster one."""

from __future__ import annotations

import os
from pathlib import Path

SYSTEM = Path("/var/lib/cfvgg")


def state_folder() -> Path:
    """The folder: `$CFVGG_STATE_DIR`, what systemd made, the system service's, the user's."""
    for variable in ("CFVGG_STATE_DIR", "STATE_DIRECTORY"):
        if folder := os.environ.get(variable):
            return Path(folder.split(":")[0])
    if SYSTEM.is_dir():
        return SYSTEM
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "cfvgg"
