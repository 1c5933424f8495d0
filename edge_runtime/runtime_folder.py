"""Where a running service keeps its sockets, and where its commands look for them."""

from __future__ import annotations

import os
from pathlib import Path

SYSTEM = Path("/run/cfvgg")


def runtime_folder() -> Path:
    """The folder: `$CFVGG_RUNTIME_DIR`, what systemd made, the system service's, the user's, one in /tmp."""
    for variable in ("CFVGG_RUNTIME_DIR", "RUNTIME_DIRECTORY"):
        if folder := os.environ.get(variable):
            return Path(folder.split(":")[0])
    if SYSTEM.is_dir():
        return SYSTEM
    if folder := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(folder) / "cfvgg"
    return Path(f"/tmp/cfvgg-{os.getuid()}")
