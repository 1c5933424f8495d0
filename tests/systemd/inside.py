"""What the checks inside a system that nothing else is in have in common (.ci/nspawn.bash).

Uses Python's own library only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

UNIT = "cfvgg-edge.service"
CONFIG = Path("/etc/cfvgg/cfvgg.toml")
# Written to all the time by others; the linker's cache and the like are not ours.
NOT_OURS = ("proc", "sys", "dev", "run", "tmp", "var/log", "var/tmp", "var/lib/systemd", "var/cache", "root")
ACCOUNTS = {
    f"etc/{name}{end}"
    for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")
    for end in ("-", ".lock")
}


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def call(*arguments: str, expect: int = 0, user: str | None = None, groups: tuple[int, ...] = ()) -> str:
    """What a program prints, on both ways, if it ends with the expected code."""
    done = subprocess.run(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        user=user,
        extra_groups=None if user is None else groups,
    )
    assert done.returncode == expect, f"{' '.join(arguments)}: {done.returncode}\n{done.stdout}"
    return done.stdout


def unit(name: str) -> str:
    return call("systemctl", "show", UNIT, "-p", name, "--value").strip()


def wait_for(what: str, true: Callable[[], object], limit_s: float = 60.0) -> float:
    """Seconds until it is true."""
    start_s = time.monotonic()
    while not true():
        assert time.monotonic() - start_s < limit_s, f"{what}: not within {limit_s} s\n{journal()}"
        time.sleep(0.05)
    return time.monotonic() - start_s


def journal() -> str:
    return call("journalctl", "-u", UNIT, "--no-pager", "-o", "short-monotonic")


def files(*not_ours: str) -> set[str]:
    """Every file of the system that belongs to somebody, but what is in these folders, or others write to."""
    not_ours = (*NOT_OURS, *not_ours)
    found = set()
    for folder, names, plain in os.walk("/"):
        inside = [str((Path(folder) / name).relative_to("/")) for name in names]
        names[:] = [name for name, path in zip(names, inside, strict=True) if path not in not_ours]
        found |= {str((Path(folder) / name).relative_to("/")) for name in (*names, *plain)}
    return found - ACCOUNTS
