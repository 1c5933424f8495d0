"""A fleet of containers with an inventory (.ci/fleet-check), seen as its administrator sees it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLAYBOOKS = Path(__file__).parents[2] / "systemd" / "ansible"
RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)
PLAY_S = 7200.0  # on a machine that others use as well; minutes otherwise


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@dataclass(frozen=True)
class Tasks:
    """How many of a host's tasks went how."""

    ok: int
    changed: int
    unreachable: int
    failed: int


@dataclass(frozen=True)
class Play:
    """What came of a playbook."""

    code: int
    said: str
    hosts: dict[str, Tasks]

    def changed(self) -> dict[str, int]:
        return {name: tasks.changed for name, tasks in self.hosts.items()}


class Fleet:
    """The hosts of an inventory in a folder, and the keys to them.

    Args:
        folder: with inventory.ini, key and known_hosts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        lines = (folder / "inventory.ini").read_text().splitlines()
        self.addresses = dict(re.findall(r"(\S+) ansible_host=(\S+)", "\n".join(lines)))
        self.hosts = list(self.addresses)
        # What stands in the inventory of the documentation, and who we are.
        self._ssh = ["-F", "/dev/null", "-o", f"UserKnownHostsFile={folder / 'known_hosts'}"]
        self._ssh += ["-o", "ConnectTimeout=5", "-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=3"]

    def play(self, name: str, *options: str, expect: int = 0) -> Play:
        """Run a playbook; fails unless it ends with the expected code."""
        command = ["ansible-playbook", "-i", "inventory.ini", str(PLAYBOOKS / f"{name}.yml"), *options]
        start_s = time.monotonic()
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=PLAY_S,
        )
        shown = " ".join(["ansible-playbook", "-i", "inventory.ini", f"{name}.yml", *options])
        took = f"{time.monotonic() - start_s:.0f} s, exit code {done.returncode}"
        say(f"\n$ {shown}\n{done.stdout.strip()}\n[{took}]")
        assert done.returncode == expect, f"exit code {done.returncode}, not {expect}"
        hosts = {found[0]: Tasks(*map(int, found[1:])) for found in RECAP.findall(done.stdout)}
        return Play(done.returncode, done.stdout, hosts)

    def call(self, host: str, command: str) -> str:
        """What a command prints on a host, as root."""
        done = subprocess.run(
            [
                "ssh",
                *self._ssh,
                "-i",
                str(self.folder / "key"),
                f"pi@{self.addresses[host]}",
                f"sudo {command}",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{host}: {command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def facts(self, host: str) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.call(host, "cfvgg-edge bundle facts --quick --json"))
        return facts

    def current(self) -> dict[str, str | None]:
        """Which bundle each host uses; its service must run, and no trial be under way."""
        found = {}
        for host in self.hosts:
            facts = self.facts(host)
            assert facts["service"]["active"], f"{host}: {facts}"
            assert facts["service"]["rate_hz"], f"{host}: {facts}"
            assert facts["trial"] is None, f"{host}: {facts}"
            found[host] = facts["current"]
        return found

    def state(self, host: str) -> list[str]:
        """Everything that a play could change on a host: files, the service's process, accounts."""
        places = " ".join(f"/var/lib/{name}" for name in ("cfvgg", "cfvgg-bundles", "dpkg/status"))
        folders = f"/etc /opt /usr/lib/cfvgg /usr/local/bin /var/tmp {places}"
        files = f"find {folders} -path '*/__pycache__' -prune -o -printf '%p %s %l %u %g %m %T@\\n'"
        sums = self.call(
            host, f'sh -c "{files}; systemctl show cfvgg-edge -p MainPID -p NRestarts" 2> /dev/null || true'
        )
        return sorted(sums.splitlines())

    @contextmanager
    def unplugged(self, host: str) -> Iterator[None]:
        """The host's cable is out; what it runs goes on."""
        link = f"cfvgg-fleet-{self.hosts.index(host) + 1}"
        subprocess.run(["ip", "link", "set", link, "down"], check=True)
        try:
            yield
        finally:
            subprocess.run(["ip", "link", "set", link, "up"], check=True)

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        control = "-o ControlMaster=auto -o ControlPersist=60s"
        return kept | {
            "ANSIBLE_SSH_ARGS": f"{' '.join(self._ssh)} {control}",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.folder / "c"),
            "ANSIBLE_PRIVATE_KEY_FILE": str(self.folder / "key"),
            "ANSIBLE_REMOTE_USER": "pi",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
            "ANSIBLE_HOME": str(self.folder / "ansible"),
        }
