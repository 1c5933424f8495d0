"""Trials whose command goes away: connections that are lost, signals, kills, a power cut."""

from __future__ import annotations

import os
import signal

import pytest

from edge_runtime.deployment.place import deployed
from tests.edge.device import LENIENT, LONG, Device, device, in_use
from tests.edge.service import PATIENCE_S

__all__ = ["device", "in_use"]


@pytest.mark.parametrize("cause", ["lifeline", signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_whoever_deploys_goes_away(in_use: Device, cause: signal.Signals | str) -> None:
    with in_use.using(in_use.second, *LONG, "--lifeline") as process:
        assert in_use.running() == in_use.second
        facts = in_use.facts()
        assert (facts["current"], facts["trial"]) == (in_use.second, in_use.second)
        if isinstance(cause, signal.Signals):
            process.send_signal(cause)
        else:
            assert process.stdin is not None
            process.stdin.write("what is written there says nothing\n")
            process.stdin.close()
        assert process.wait(PATIENCE_S) == 7
    why = "the connection was lost" if cause == "lifeline" else f"stopped by {cause.name}"
    assert in_use.said().splitlines()[-1] == (
        f"cfvgg-edge: bundle {in_use.second[:12]} failed: {why}; bundle {in_use.first[:12]} runs again"
    )
    in_use.stays_as_it_was()


def test_the_command_is_killed_and_the_service_goes_back_by_itself(in_use: Device) -> None:
    with in_use.using(in_use.second, *LONG) as process:
        assert in_use.running() == in_use.second
        process.kill()
        process.wait()
    in_use.runs(in_use.first)
    assert in_use.systemd.status == 6
    assert f"the trial of bundle {in_use.second[:12]} was cut off" in in_use.systemd.text()
    facts = in_use.facts()
    assert (facts["current"], facts["trial"]) == (in_use.first, None)
    starts = in_use.systemd.starts
    # The next command clears away what the killed one left, and everything works as before.
    assert in_use.bundle("use", in_use.second, *LENIENT).returncode == 0
    assert in_use.systemd.starts == starts + 2
    in_use.runs(in_use.second)


def test_the_power_is_cut(in_use: Device) -> None:
    """Command and service end at once; the next start is one on the old bundle."""
    with in_use.using(in_use.second, *LONG) as process:
        assert in_use.running() == in_use.second
        in_use.systemd.power_cut()
        process.kill()
        process.wait()
    assert deployed(in_use.store.folder) == in_use.store.folder / in_use.first
    assert in_use.systemd.systemctl("start")[0] == 0
    in_use.runs(in_use.first)
    assert in_use.bundle("prune").returncode == 0
    in_use.stays_as_it_was()


@pytest.mark.parametrize(
    "step", ["show", "reset-failed", "restart", "restart:and-do", "restart:after"], ids=str
)
def test_the_command_is_killed_at_a_step(in_use: Device, step: str) -> None:
    done = in_use.bundle("use", in_use.second, *LONG, env={"STANDIN_KILL": step})
    assert done.returncode == -signal.SIGKILL
    in_use.runs(in_use.first)
    assert deployed(in_use.store.folder) == in_use.store.folder / in_use.first
    assert in_use.bundle("prune").returncode == 0
    in_use.stays_as_it_was()


def test_a_trial_that_was_cut_off_is_ended_by_the_next_command(in_use: Device) -> None:
    """Before the service has seen it: the command starts it again."""
    with in_use.using(in_use.second, *LONG) as process:
        pid = in_use.systemd.pid
        os.kill(pid, signal.SIGSTOP)
        process.kill()
        process.wait()
        settled = in_use.bundle("prune")
    assert settled.returncode == 0
    in_use.stays_as_it_was()


def test_one_deployment_at_a_time(in_use: Device) -> None:
    third = in_use.add("third")
    with in_use.using(in_use.second, *LONG) as process:
        for command in (
            ("use", third),
            ("rollback",),
            ("prune",),
            ("add", str(in_use.folder / "bundle third")),
        ):
            done = in_use.bundle(*command)
            assert done.returncode == 2
            assert "another command is changing bundles; wait for it" in done.stderr
        assert in_use.running() == in_use.second
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 7
    in_use.stays_as_it_was()
