"""What may go wrong in a deployment, made to happen at its point; and what runs afterwards.

Each fault deploys the bundle "new", or one that is no good, to a device that runs "old".
`benchmarks.deploy_faults` prints the table, the tests hold it against `EXPECTED`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge_runtime.deployment.health import Limits
from tests.deploy.bundles import Bundles
from tests.deploy.loopback import Loopback, command_line, kill_at_once, ssh_clients
from tests.deploy.mishaps import (
    LONG,
    Happened,
    deployed,
    interrupted,
    kill_clients,
    killed,
    power_cut,
    small_disk,
)
from tests.preview.helpers import PATIENCE_S, wait_for
from tests.preview.sshd import send

SHORT = Limits(health_s=3, min_rate_hz=0.1, max_p95_ms=60_000)


Fault = Callable[[Loopback, Bundles], Happened]


def upload_loses_its_connection(device: Loopback, bundles: Bundles) -> Happened:
    """The session is cut in the middle of the upload."""
    return interrupted(device, bundles.new, "add", device.sshd.drop)


def upload_loses_its_client(device: Loopback, bundles: Bundles) -> Happened:
    """Its ssh is killed in the middle of the upload."""
    return interrupted(device, bundles.new, "add", kill_clients)


def disk_fills_during_upload(device: Loopback, bundles: Bundles) -> Happened:
    """Something else takes the last bytes, after the device has looked how many there are."""
    filler = device.store / ".filler"

    def fill() -> None:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 16)):
                pass

    with small_disk(device):
        happened = interrupted(device, bundles.new, "add", fill)
        filler.unlink()
        return happened


def connection_is_refused_before_the_switch(device: Loopback, bundles: Bundles) -> Happened:
    """After the upload, the device cannot be reached for a while."""

    def away() -> None:
        device.sshd.stop()
        threading.Timer(2.0, device.sshd.start).start()

    return interrupted(device, bundles.new, "use", away)


def connection_lost_before_the_switch(device: Loopback, bundles: Bundles) -> Happened:
    """The session is cut while the device tries whether the bundle can be opened."""
    return interrupted(device, bundles.new, "opening", device.sshd.drop)


def connection_lost_in_the_trial(device: Loopback, bundles: Bundles) -> Happened:
    """The session is cut during the health check."""
    return interrupted(device, bundles.new, "health", device.sshd.drop, LONG)


def client_killed_in_the_trial(device: Loopback, bundles: Bundles) -> Happened:
    """The user's ssh is killed during the health check."""
    return interrupted(device, bundles.new, "health", kill_clients, LONG)


def connection_falls_silent_in_the_trial(device: Loopback, bundles: Bundles) -> Happened:
    """The network is gone, and nobody closes the connection."""

    def silence() -> None:
        clients = ssh_clients()
        send(clients, signal.SIGSTOP)
        wait_for(lambda: device.runs("old"), "the device to go back", 2 * PATIENCE_S)
        kill_at_once(clients)

    return interrupted(device, bundles.new, "health", silence, LONG)


def connection_lost_after_the_commit(device: Loopback, bundles: Bundles) -> Happened:
    """The device has kept the bundle, and the answer never comes."""

    def cut() -> None:
        clients = ssh_clients()
        send(clients, signal.SIGSTOP)
        # The health check goes on without a word from here, for less than the device would take for a loss.
        wait_for(lambda: not (device.store / "trial.json").exists(), "the commit", 2 * PATIENCE_S)
        kill_at_once(clients)

    return interrupted(device, bundles.new, "health", cut, SHORT)


def command_killed_in_the_trial(device: Loopback, bundles: Bundles) -> Happened:
    """kill -9 of the user's command and its ssh during the health check; the device is left to itself."""
    return killed(device, bundles.new, "health", kill_at_once)


def user_interrupts_the_trial(device: Loopback, bundles: Bundles) -> Happened:
    """Ctrl-C during the health check."""
    return killed(device, bundles.new, "health", lambda command: os.kill(command[0], signal.SIGINT))


def power_cut_in_the_trial(device: Loopback, bundles: Bundles) -> Happened:
    """kill -9 of everything between switch and commit, the service too; then the service starts."""
    return killed(device, bundles.new, "health", lambda command: power_cut(device, command))


def power_cut_before_the_switch(device: Loopback, bundles: Bundles) -> Happened:
    """kill -9 of everything between upload and switch."""
    return killed(device, bundles.new, "opening", lambda command: power_cut(device, command))


def device_command_killed_in_the_trial(device: Loopback, bundles: Bundles) -> Happened:
    """kill -9 of the device's own command: nobody is left to go back, and the service does so by itself."""

    def kill() -> None:
        kill_at_once([pid for pid in device.sessions() if b"bundle\0use" in command_line(pid)])

    return interrupted(device, bundles.new, "health", kill, LONG)


def model_cannot_be_run(device: Loopback, bundles: Bundles) -> Happened:
    """A bundle with true checksums whose model is no model."""
    return deployed(device, bundles.broken)


def service_dies_with_it(device: Loopback, bundles: Bundles) -> Happened:
    """A bundle that opens well, and ends the service some time after its start."""
    return deployed(device, bundles.crashes, LONG)


def too_slow(device: Loopback, bundles: Bundles) -> Happened:
    """A bundle that takes many times longer than the old one, held against what the old one did."""
    return deployed(device, bundles.slow, Limits(health_s=5))


@dataclass(frozen=True)
class Outcome:
    """What must come of a fault.

    Attributes:
        exit_code: of the command; None where it is killed.
        says: is in what it says last.
        runs: name of the network that the service runs afterwards.
    """

    exit_code: int | None
    says: str
    runs: str = "old"


SENDING = "the connection was lost while sending ("
AGAIN = "the connection was lost during the trial, old "
EXPECTED: dict[Fault, Outcome] = {
    upload_loses_its_connection: Outcome(5, SENDING),
    upload_loses_its_client: Outcome(5, SENDING),
    disk_fills_during_upload: Outcome(4, "cannot be written (No space left on device)"),
    connection_is_refused_before_the_switch: Outcome(7, AGAIN),
    connection_lost_before_the_switch: Outcome(7, AGAIN),
    connection_lost_in_the_trial: Outcome(7, AGAIN),
    client_killed_in_the_trial: Outcome(7, AGAIN),
    connection_falls_silent_in_the_trial: Outcome(7, AGAIN),
    connection_lost_after_the_commit: Outcome(0, "", "new"),
    command_killed_in_the_trial: Outcome(None, ""),
    user_interrupts_the_trial: Outcome(130, "interrupted; a bundle on trial is taken back by the device"),
    power_cut_in_the_trial: Outcome(None, ""),
    power_cut_before_the_switch: Outcome(None, ""),
    device_command_killed_in_the_trial: Outcome(7, AGAIN),
    model_cannot_be_run: Outcome(2, "cannot be used here"),
    service_dies_with_it: Outcome(7, " runs again"),
    too_slow: Outcome(7, "too slow: "),
}


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        fault: what was done, in words.
        exit_code, said: of the command.
        runs: name of the network that the service runs in the end.
        again_s: seconds from the fault, or from when the device noticed that the bundle is no good, until it
            answered with a new frame; 0.0 if it never stopped.
    """

    fault: str
    exit_code: int | None
    said: str
    runs: str
    again_s: float


def tried(fault: Fault, device: Loopback, bundles: Bundles) -> Row:
    """Let a fault happen to a device that runs "old", and wait until its service answers again."""
    starts = device.systemd.starts
    happened = fault(device, bundles)
    name = EXPECTED[fault].runs
    wait_for(lambda: device.runs(name), f"{name} to run", 2 * PATIENCE_S)
    again_s = time.monotonic() - happened.at_s if device.systemd.starts != starts else 0.0
    assert fault.__doc__
    return Row(fault.__doc__.strip(), happened.exit_code, happened.said, name, round(again_s, 1))
