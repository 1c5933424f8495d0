"""What the checks ask of the device all the time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from tests.systemd.emulated.machine import Machine

UNIT = "cfvgg-edge.service"
LIMIT_S = 400.0  # for what takes seconds on a Pi, a minute here, and more on a busy machine
# Written to all the time by others.
NOT_OURS = (
    *("/proc", "/sys", "/dev", "/run", "/tmp", "/var/log", "/var/tmp", "/var/cache", "/var/lib/systemd"),
    *("/var/lib/apt", "/var/lib/dpkg", "/var/lib/sudo", "/root", "/home/pi"),
)
ACCOUNTS = ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")

Status = dict[str, Any]


@dataclass
class Device:
    """The product on a machine.

    Attributes:
        machine: runs.
    """

    machine: Machine

    def unit(self, name: str) -> str:
        """A property of the service's unit."""
        return self.machine.run(f"systemctl show {UNIT} -p {name} --value").strip()

    def status(self) -> Status | None:
        """What the service says of itself; None while it does not run."""
        said = self.machine.run("sudo cfvgg-edge status --json", expect=None)
        return cast(Status, json.loads(said)) if said.startswith("{") else None

    def bundles(self) -> Status:
        """What is in the store of bundles."""
        said = self.machine.run("sudo cfvgg-edge bundle list --json")
        return cast(Status, json.loads(said[said.index("{") :]))

    def until(self, what: str, true: Callable[[Status], object]) -> Status:
        """The service's status, once that is true of it."""
        start_s = time.monotonic()
        while True:
            status = self.status()
            if status is not None and true(status):
                return status
            assert time.monotonic() - start_s < LIMIT_S, f"{what}: not in {LIMIT_S} s\n{self.journal()}"

    def tracks(self, pid: int = 0) -> Status:
        """Wait for a service that has gone through some frames, in another process than `pid`."""
        return self.until("tracking", lambda status: status["pid"] != pid and status["loop"]["frames"] >= 5)

    def runs(self, bundle_id: str, pid: int = 0) -> Status:
        """Wait for a service that tracks with a bundle."""
        status = self.tracks(pid)
        assert status["bundle"] is not None, status
        assert status["bundle"].endswith(bundle_id), status
        return status

    def journal(self, lines: int = 60) -> str:
        """The end of what the service said."""
        return self.machine.run(f"sudo journalctl -u {UNIT} --no-pager -o short-monotonic -n {lines}")

    def files(self) -> set[str]:
        """Every file of the system that belongs to somebody, and every account."""
        pruned = " -o ".join(f"-path {path}" for path in NOT_OURS)
        found = set(self.machine.run(f"sudo find / -xdev \\( {pruned} \\) -prune -o -print").splitlines())
        backups = {f"/etc/{name}{end}" for name in ACCOUNTS for end in ("-", ".lock")}
        accounts = self.machine.run("getent passwd && getent group").splitlines()
        return (found - backups) | {line.split(":")[0] for line in accounts}
