"""Deployments to which something happens at a certain point."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge_runtime.deployment.health import Limits
from edge_runtime.errors import CfvggError
from export.deploy.device import trial_options
from tests.deploy.loopback import EASY, Loopback, Watched, descendants, kill_at_once, ssh_clients
from tests.edge.service import ROOT
from tests.preview.helpers import wait_for
from tests.preview.sshd import send

LONG = Limits(health_s=600, min_rate_hz=0.1, max_p95_ms=60_000)  # nobody waits for its end


@dataclass
class Happened:
    """What a fault led to.

    Attributes:
        said: what the command said last; "" if it was killed.
        exit_code: of the command; None if it was killed.
        at_s: when the fault happened, `time.monotonic`.
    """

    said: str = ""
    exit_code: int | None = None
    at_s: float = field(default_factory=time.monotonic)


def deployed(device: Loopback, bundle: Path, limits: Limits = EASY) -> Happened:
    """A deployment without a fault but the bundle's; that happens when the device notices."""
    happened = Happened()

    def noticed() -> None:
        happened.at_s = time.monotonic()

    connection = Watched(device, "going back", noticed)
    return _result(lambda: device.deploy(bundle, limits, connection), happened)


def interrupted(
    device: Loopback, bundle: Path, at: str, then: Callable[[], None], limits: Limits = EASY
) -> Happened:
    """A deployment in which something is done at a certain point."""
    happened = Happened()

    def now() -> None:
        happened.at_s = time.monotonic()
        then()

    connection = Watched(device, at, now)
    _result(lambda: device.deploy(bundle, limits, connection), happened)
    assert connection.happened, f"the deployment never came to {at!r}: {happened.said}"
    return happened


def _result(attempt: Callable[[], None], happened: Happened) -> Happened:
    try:
        attempt()
    except CfvggError as error:
        happened.said, happened.exit_code = str(error), error.exit_code
    else:
        happened.exit_code = 0
    return happened


def killed(device: Loopback, bundle: Path, at: str, kill: Callable[[list[int]], None]) -> Happened:
    """`cfvgg-export deploy` in a process of its own, ended when the device says a certain word."""
    arguments = device.arguments("deploy", str(bundle), *trial_options(LONG))
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as command:
        assert command.stdout is not None
        assert any(line.strip().startswith(at) for line in command.stdout), (
            f"the deployment never came to {at!r}"
        )
        happened = Happened()
        kill([command.pid, *descendants(command.pid)])
        _, errors = command.communicate()
        happened.said = errors.strip().rpartition("\n")[2]
        happened.exit_code = command.returncode if command.returncode >= 0 else None
    return happened


def power_cut(device: Loopback, command: list[int]) -> None:
    """Kill everything at once, and have the service started as a system that boots does."""
    others = [*command, *device.sessions()]
    send([*others, device.systemd.pid], signal.SIGSTOP)
    device.systemd.power_cut()
    send(others, signal.SIGKILL)
    wait_for(lambda: not device.sshd.sessions(), "the sessions to end")
    device.systemd.systemctl("start", "cfvgg-edge.service")


def kill_clients() -> None:
    kill_at_once(ssh_clients())


@contextlib.contextmanager
def small_disk(device: Loopback) -> Iterator[None]:
    """The store on a disk of its own, with room for the bundle and what the device keeps free."""
    size_mb = 40
    aside = device.store.with_name("aside")
    device.store.rename(aside)
    device.store.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=755", "tmpfs", str(device.store)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    try:
        if done.returncode:
            raise PermissionError(f"no disk can be mounted: {done.stderr.strip()}")
        subprocess.run(["cp", "-a", f"{aside}/.", str(device.store)], check=True)
        yield
        subprocess.run(["cp", "-a", f"{device.store}/.", str(aside)], check=True)
    finally:
        subprocess.run(["umount", "-l", str(device.store)], capture_output=True, check=False)
        device.store.rmdir()
        aside.rename(device.store)
