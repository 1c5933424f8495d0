"""The service as its user starts it: a process, a virtual camera, sockets, signals."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge_runtime.sources.fake import TURN_FRAMES, FakeScript, FakeSource
from edge_runtime.targets.motion import iou
from edge_runtime.types import Box
from tests.edge.service import LIVE, PATIENCE_S, ROOT, START, Running, start, until

__all__ = ["start"]  # a fixture


def test_it_waits_for_a_selection_tracks_it_and_ends_when_it_is_told_to(
    start: Callable[..., Running],
) -> None:
    service = start().started()
    assert service.status()["targets"] == []
    service.ask(command="select", box=[60, 60, 40, 40])
    until(lambda: service.status()["targets"], "the target")
    service.ask(command="pause")
    assert service.status()["paused"]
    paused_at = until(service.frames, "frames")
    until(lambda: service.frames() > paused_at + 10, "frames while paused")
    service.ask(command="resume")
    service.ask(command="clear")
    until(lambda: not service.status()["targets"], "the end of the target")
    sockets = {path.name for path in service.runtime.iterdir()}
    assert sockets == {"control.sock", "tracks.sock", "preview.sock", "metrics.sock"}
    assert service.end() == 0
    assert list(service.runtime.iterdir()) == []
    records = service.records()
    states = [record["state"] for record in records]
    assert {"searching", "tracking"} <= set(states)
    assert states[-1] == "searching"
    assert len(records) < records[-1]["frame"]  # none while it was paused
    assert "target 1: starts at 60,60,40,40" in service.text()
    assert "target 1: cleared" in service.text()
    assert "leaked" not in service.text()
    assert "Traceback" not in service.text()


def test_the_target_is_followed_in_the_frames_that_it_sees(start: Callable[..., Running]) -> None:
    service = start("--set", 'target.start="motion"').started()
    target = until(lambda: service.status()["targets"], "something that moves")
    until(lambda: service.frames() > 90, "frames")
    assert service.status()["targets"][0]["track_id"] == target[0]["track_id"] == 1
    service.end()
    tracked = [record for record in service.records() if record["box"]][10:]
    assert len(tracked) > 30
    # Which frame of the scene it saw first is the camera's secret: the machine may have been busy.
    scene = FakeSource(FakeScript(frames=100_000))
    indices = [round((r["t_monotonic_ns"] - tracked[0]["t_monotonic_ns"]) * 30e-9) for r in tracked]
    overlaps = [
        np.median([iou(Box(*r["box"]), scene.box(k + first)) for r, k in zip(tracked, indices, strict=True)])
        for first in range(TURN_FRAMES)
    ]
    assert max(overlaps) > 0.4
    assert np.median(overlaps) < 0.1


def test_a_second_service_is_told_that_there_is_one(start: Callable[..., Running]) -> None:
    service = start().started()
    other = start("--tracks", str(service.folder / "other.jsonl"))
    assert other.process.wait(PATIENCE_S) == 4
    assert "control.sock: another cfvgg-edge listens here; stop it" in service.text()
    assert service.frames() > 0
    assert service.end() == 0


def test_after_kill_9_the_next_one_takes_over_and_no_record_is_torn(start: Callable[..., Running]) -> None:
    service = start("--set", 'target.start="motion"').started()
    until(lambda: service.tracks.exists() and service.tracks.stat().st_size > 4000, "records")
    service.end(signal.SIGKILL)
    assert (service.runtime / "control.sock").exists()
    before = len(service.tracks.read_text().splitlines())
    again = start().started()
    assert again.end() == 0
    records = again.records()
    assert len(records) > before - 1
    assert [record["frame"] for record in records].count(0) <= 2


def test_it_ends_in_the_middle_of_a_stall(start: Callable[..., Running]) -> None:
    service = start(uri=f"{LIVE}&faults=stall@10:1000").started()
    until(lambda: service.status()["source"]["condition"] != "running", "the stall")
    start_s = time.monotonic()
    assert service.end() == 0
    assert time.monotonic() - start_s < 20  # 0.3 s and what a busy machine adds


def test_a_stall_is_survived_and_shows(start: Callable[..., Running]) -> None:
    options = ("--set", "source.capture_timeout_s=0.5", "--set", "source.reopen_wait_s=0.1")
    service = start(*options, uri=f"{LIVE}&faults=stall@20:1000,disconnect@60:1").started()
    until(lambda: service.status()["source"]["restarts"] >= 2, "two restarts")
    frames = service.frames()
    until(lambda: service.frames() > frames + 30, "frames after it")
    status = service.status()
    assert status["source"]["condition"] == "running"
    assert service.end() == 0
    times = [record["t_monotonic_ns"] for record in service.records()]
    assert times == sorted(set(times))


def test_a_camera_that_stays_away_ends_it_with_one_line(start: Callable[..., Running]) -> None:
    options = ("--set", "source.reopen_wait_s=0.05", "--set", "source.give_up_after=2")
    service = start(*options, uri=f"{LIVE}&faults=disconnect@10:1000")
    assert service.process.wait(PATIENCE_S) == 6  # which systemd takes as a reason to start it again
    last = service.text().splitlines()[-1]
    assert last.startswith("cfvgg-edge: fake:live=true")
    assert "given up after 2 attempts to open it again" in last
    assert list(service.runtime.iterdir()) == []
    assert service.records()


def test_systemd_hears_of_frames_and_of_nothing_else(start: Callable[..., Running], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(PATIENCE_S)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        # The camera stalls after a second, for longer than is waited here.
        service = start("--set", "source.capture_timeout_s=300", uri=f"{LIVE}&faults=stall@30:300", env=env)
        assert b"READY=1" in systemd.recv(4096)
        until(lambda: service.status()["source"]["condition"], "an answer")
        systemd.settimeout(1.5)  # several times the watchdog's time
        heard = []
        with contextlib.suppress(TimeoutError):
            while True:
                heard.append(systemd.recv(4096))
        assert any(message == b"WATCHDOG=1" for message in heard)
        assert service.status()["loop"]["last_frame_s"] > 1.0
        assert service.process.poll() is None
        service.process.send_signal(signal.SIGTERM)
        systemd.settimeout(PATIENCE_S)
        assert b"STOPPING=1" in systemd.recv(4096)
        assert service.process.wait(PATIENCE_S) == 0


def test_commands_say_when_there_is_no_service(tmp_path: Path) -> None:
    env = os.environ | {"CFVGG_RUNTIME_DIR": str(tmp_path)}
    command = [sys.executable, "-c", START, "status"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert done.stderr.startswith(f"cfvgg-edge: {tmp_path}/control.sock: the service does not run")
    assert len(done.stderr.splitlines()) == 1


def test_status_and_selection_on_the_command_line(start: Callable[..., Running]) -> None:
    service = start().started()
    env = os.environ | {"CFVGG_RUNTIME_DIR": str(service.runtime)}

    def edge(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", START, *arguments]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    assert edge("select", "60", "60", "40", "40").returncode == 0
    refused = edge("select", "900", "60", "40", "40")
    assert (refused.returncode, refused.stderr.count("\n")) == (5, 1)
    assert "lies outside the 320x240 frame" in refused.stderr
    screen = edge("status").stdout
    assert len(screen.splitlines()) <= 24
    assert "target 1    tracking" in screen
    assert json.loads(edge("status", "--json").stdout)["targets"][0]["track_id"] == 1
    assert edge("clear", "1").returncode == 0
    assert service.end() == 0
