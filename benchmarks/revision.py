"""Which code made a measurement."""

from __future__ import annotations

import hashlib
import subprocess
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE = ("edge_runtime", "calibration", "export")  # what a track depends on


@lru_cache
def git_revision(root: Path = ROOT) -> str:
    """The commit; with "-dirty." and a digest of what differs if the packages are not as committed.

    "unknown" outside of a git checkout.
    """
    try:
        commit = _git(root, "rev-parse", "HEAD").decode().strip()
        changes = _git(root, "diff", "HEAD", "--", *CODE)
        new = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *CODE)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    for name in sorted(filter(None, new.decode().split("\0"))):
        changes += name.encode() + (root / name).read_bytes()
    return f"{commit}-dirty.{hashlib.sha256(changes).hexdigest()[:8]}" if changes else commit


def _git(root: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True).stdout
