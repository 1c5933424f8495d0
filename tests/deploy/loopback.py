"""A whole device on the loopback address: a real sshd, the real `cfvgg-edge bundle`, a real service.

Only systemd is a stand-in. Whoever logs in finds the device's own store, list of signers and sockets by the
environment that sshd sets.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edge_runtime.control import ask
from edge_runtime.deployment.archive import copy
from edge_runtime.deployment.health import Limits
from edge_runtime.deployment.store import Store
from edge_runtime.errors import ServiceError
from edge_runtime.manifest import MANIFEST_FILE, Manifest
from edge_runtime.sources import FakeSource
from export.deploy.connection import Answer, Request, SshConnection
from export.deploy.deployment import deploy
from export.deploy.device import Device
from export.deploy.facts import Facts
from export.deploy.package import read_package
from tests.edge.device import BEHAVIOUR
from tests.edge.service import ROOT, START
from tests.edge.standin_systemctl import StandinSystemd
from tests.preview.helpers import wait_for
from tests.preview.sshd import Sshd, send

BOX = list(FakeSource().box(0))
# Of a machine that may be busy with other tests, nothing is asked but frames.
EASY = Limits(health_s=2, min_rate_hz=0.1, max_p95_ms=60_000)
SETTINGS = f"""
[source]
uri = "fake:live=true&rate_hz=10"
[target]
box = {BOX}
"""


class Loopback:
    """The device, with its service stopped and its store empty.

    Args:
        folder: for everything; its name must be short, as sockets are in it.

    Attributes:
        store: the folder of bundles.
        kept: the same, as the device sees it.
        signers: where the device looks for trusted keys.
        systemd, sshd: its servers.
    """

    def __init__(self, folder: Path, settings: str = SETTINGS) -> None:
        self.store, self.signers = folder / "store", folder / "allowed_signers"
        self.kept = Store(self.store, self.signers)
        self.store.mkdir()
        for part in ("ssh", "state"):
            (folder / part).mkdir()
        (folder / "cfvgg.toml").write_text(settings)
        env = {
            "CFVGG_BUNDLES_DIR": str(self.store),
            "CFVGG_ALLOWED_SIGNERS": str(self.signers),
            "XDG_STATE_HOME": str(folder / "state"),
            "OMP_NUM_THREADS": "1",
        }
        self.systemd = StandinSystemd(folder, folder / "cfvgg.toml", env, BEHAVIOUR + START)
        programs = self.systemd.path
        _program(programs / "cfvgg-edge", f"cd {ROOT} && exec {sys.executable} -c '{START}' \"$@\"")
        _program(programs / "sudo", '[ "$1" = -n ] && shift; exec "$@"')
        path = os.pathsep.join([str(programs), os.environ.get("PATH", os.defpath)])
        there = env | {"PATH": path, "CFVGG_RUNTIME_DIR": str(self.systemd.runtime)}
        self.sshd = Sshd(folder / "ssh", there)

    def begin_with(self, bundle: Path) -> None:
        """Have the service run a bundle, without a deployment."""
        restart = self.restart_if_active
        added = self.kept.add(lambda folder: copy(bundle, folder), restart)
        with self.kept.changing(restart):
            self.kept.selection.switch(added.id)
        code, _, errors = self.systemd.systemctl("start", "cfvgg-edge.service")
        assert code == 0, errors + self.systemd.text()

    def restart_if_active(self) -> None:
        self.systemd.systemctl("try-restart", "cfvgg-edge.service")

    def connection(self) -> SshConnection:
        return SshConnection(self.sshd.host, "cfvgg-edge", self.sshd.options)

    def device(self) -> Device:
        return Device(self.connection())

    def deploy(self, bundle: Path, limits: Limits = EASY, connection: SshConnection | None = None) -> None:
        """As `cfvgg-export deploy` does, in this process, without a look around by `doctor`."""
        deploy(_Unexamined(connection or self.connection()), read_package(bundle), limits)

    def arguments(self, *arguments: str) -> list[str]:
        """Of a whole `cfvgg-export` process that reaches this device."""
        options = [part for option in self.sshd.options for part in ("-o", option)]
        command, *rest = arguments
        return [sys.executable, "-m", "export", command, self.sshd.host, *rest, *options]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`cfvgg-export` in a process of its own, to its end."""
        return subprocess.run(
            self.arguments(*arguments), capture_output=True, text=True, check=False, cwd=ROOT, timeout=300
        )

    def running(self) -> str | None:
        """Name of the network that the service runs; None while it does not answer with a frame."""
        try:
            status = ask(self.systemd.runtime / "control.sock", {"command": "status"})["status"]
        except ServiceError:
            return None
        if not status["loop"]["frames"] or status["pid"] != self.systemd.pid:
            return None
        folder = Path(status["bundle"])
        return Manifest.from_json((folder / MANIFEST_FILE).read_text(), str(folder)).name

    def runs(self, name: str) -> bool:
        """Whether the service runs that network, and goes on to new frames."""
        if self.running() != name:
            return False
        before = self._frames()
        wait_for(lambda: self._frames() != before, "a frame")
        return self.running() == name

    def tree(self) -> dict[str, Any]:
        """Everything in the store: names to contents or targets, and when each was changed."""
        found = {}
        for path in sorted(self.store.rglob("*")):
            state = path.lstat()
            what: Any = path.readlink() if path.is_symlink() else path.is_dir() or path.read_bytes()
            found[str(path.relative_to(self.store))] = (what, state.st_mtime_ns, state.st_ino)
        return found

    def sessions(self) -> list[int]:
        """Processes of every login, those that they have started included."""
        return [pid for session in self.sshd.sessions() for pid in (session, *descendants(session))]

    def close(self) -> None:
        self.sshd.stop()
        self.systemd.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _frames(self) -> int | None:
        with contextlib.suppress(ServiceError):
            status = ask(self.systemd.runtime / "control.sock", {"command": "status"})["status"]
            return int(status["loop"]["frames"])
        return None


class _Unexamined(Device):
    """Facts in less time."""

    def facts(self, *, examine: bool = False) -> Facts:
        return super().facts()


class Watched(SshConnection):
    """A connection of which something is made at a certain point, once.

    Args:
        device: at the other end.
        at: a word that a line of the device starts with; "add" for the middle of the upload, "use" for before
            that command.
        then: what is done.
    """

    def __init__(self, device: Loopback, at: str, then: Callable[[], None]) -> None:
        super().__init__(device.sshd.host, "cfvgg-edge", device.sshd.options)
        self._store, self._at, self._then = device.store, at, then
        self.happened = False

    def run(self, request: Request) -> Answer:
        name, stdin = request.arguments[1], request.stdin
        if self._at == name == "use":
            self._now()
        if self._at == name == "add":
            stdin = self._interrupted(list(stdin))

        def listening(line: str) -> None:
            if line.removeprefix("cfvgg-edge: ").startswith(self._at):
                self._now()
            if request.on_stderr is not None:
                request.on_stderr(line)

        return super().run(dataclasses.replace(request, stdin=stdin, on_stderr=listening))

    def _interrupted(self, chunks: list[bytes]) -> Iterator[bytes]:
        half = len(chunks) // 2
        yield from chunks[:half]
        wait_for(lambda: list(self._store.glob(".incoming-*/*")), "the first file to arrive")
        self._now()
        yield from chunks[half:]

    def _now(self) -> None:
        if not self.happened:
            self.happened = True
            self._then()


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and what those have."""
    listing = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    children = [int(child) for child in listing.stdout.split()]
    return [one for child in children for one in (child, *descendants(child))]


def ssh_clients() -> list[int]:
    """Of this process."""
    return [pid for pid in descendants(os.getpid()) if command_line(pid).split(b"\0")[0].endswith(b"/ssh")]


def kill_at_once(pids: Sequence[int]) -> None:
    """Kill processes so that none of them sees another one's end."""
    send(pids, signal.SIGSTOP)
    send(pids, signal.SIGKILL)


def command_line(pid: int) -> bytes:
    """Arguments of a process, each ended by a zero byte; empty if it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    assert shutil.which(path.name, path=str(path.parent))
