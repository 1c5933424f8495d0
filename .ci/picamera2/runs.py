"""Runs of `cfvgg-edge` on the virtual camera, inside a root that .ci/picamera2-check has made."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, cast

import cv2
from clip import ORDER, picture_number, read_truth

from edge_runtime.types import Frame

FRAMES_PER_PICTURE = 4  # a constant of the virtual camera
LAP_FRAMES = FRAMES_PER_PICTURE * len(ORDER)
CAPTURE_TIMEOUT_S = 2.0
SETTINGS = """\
[source]
uri = "picamera2:"
capture_timeout_s = {capture_timeout_s}
open_timeout_s = {open_timeout_s}
[tracker]
preset = "kcf"
"""


@dataclass(frozen=True)
class Place:
    """Where and how programs run.

    Attributes:
        root: of Debian; its /opt holds the environment, the bundle and the clip.
        rate_hz: of the camera.
        patience: so many times as long may things take.
    """

    root: Path
    rate_hz: float
    patience: float

    @property
    def capture_timeout_s(self) -> float:
        """The setting."""
        return CAPTURE_TIMEOUT_S * self.patience

    def write_settings(self) -> None:
        """For `--config /opt/settings.toml`."""
        text = SETTINGS.format(capture_timeout_s=self.capture_timeout_s, open_timeout_s=10 * self.patience)
        (self.root / "opt/settings.toml").write_text(text, encoding="utf-8")

    def start(self, *arguments: str, hangs_after: int = 0, **pipes: Any) -> subprocess.Popen[str]:
        """`cfvgg-edge` in the root."""
        variables = {
            "PATH": "/opt/cfvgg/bin:/usr/bin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PYTHONPATH": "/opt/virtual",
            "LD_PRELOAD": "/opt/virtual/devices.so",
            "QEMU_CPU": os.environ.get("QEMU_CPU", ""),
            "CFVGG_RUNTIME_DIR": "/run/cfvgg",
            "CFVGG_CAMERA_RATE_HZ": str(self.rate_hz),
            "CFVGG_CAMERA_HANGS_AFTER": str(hangs_after),
            # Picamera2 brings NumPy before `cfvgg-edge` can say that one core is enough.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "OPENCV_FOR_THREADS_NUM": "1",
        }
        return subprocess.Popen(
            ["/opt/cfvgg/bin/cfvgg-edge", *arguments],
            env=variables,
            text=True,
            preexec_fn=self._enter,  # noqa: PLW1509 (this process has no other threads)
            **pipes,
        )

    def ask(self, *arguments: str, expect: Sequence[int] = (0,)) -> str:
        """What `cfvgg-edge` prints."""
        process = self.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, complaint = process.communicate(timeout=120 * self.patience)
        finally:
            process.kill()
        assert process.returncode in expect, f"{arguments}: {process.returncode}\n{out}{complaint}"
        return out

    def _enter(self) -> None:
        os.chroot(self.root)
        os.chdir("/")


@dataclass
class Outcome:
    """What a run left.

    Attributes:
        records: of the file of tracks.
        ages_s: time from a frame's time stamp to its record at a reader of the socket.
        unix_off_s: what the records' wall clock was off.
        pictures: number of the picture in each record's frame, read from the annotated video.
        memory_mb: resident, at a third of the run and at its end.
        log: what the program said.
        status: the screen of `cfvgg-edge status`, shortly before the end.
    """

    records: list[dict[str, Any]] = field(default_factory=list)
    ages_s: list[float] = field(default_factory=list)
    unix_off_s: list[float] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)
    log: str = ""
    status: str = ""


def run(place: Place, options: Sequence[str], *, start: int, last: int, hangs_after: int = 0) -> Outcome:
    """Track from frame `start` on, SIGTERM after frame `last`; fails unless it ends as it should."""
    box = read_truth(place.root / "opt/truth.txt")[0]
    folder = place.root / "opt/out" / str(time.monotonic_ns())
    folder.mkdir(parents=True)
    inside = f"/{folder.relative_to(place.root)}"
    log, outcome = folder / "log.txt", Outcome()
    with log.open("w") as sink:
        process = place.start(
            *("run", "--config", "/opt/settings.toml", "--source", "picamera2:", "--device-name", "virtual"),
            *("--box", ",".join(f"{value:.2f}" for value in box), "--box-frame", str(start), *options),
            *("--tracks", f"{inside}/tracks.jsonl", "--video", f"{inside}/video.mp4"),
            hangs_after=hangs_after,
            stdout=sink,
            stderr=sink,
        )
    try:
        _follow(place, process, outcome, last, log)
        outcome.status = place.ask("status")
        process.send_signal(signal.SIGTERM)
        code = process.wait(60 * place.patience)
    finally:
        process.kill()
        process.wait()
    outcome.log = log.read_text()
    assert code == 0, f"exit code {code}\n{outcome.log}"
    outcome.records = [json.loads(line) for line in (folder / "tracks.jsonl").read_text().splitlines()]
    outcome.pictures = list(_pictures(folder / "video.mp4"))
    return outcome


def _follow(place: Place, process: subprocess.Popen[str], outcome: Outcome, last: int, log: Path) -> None:
    """Read along on the socket until the record of frame `last`."""
    third = last // 3
    with _connected(place, process, log) as reader:
        for line in reader:
            now_ns, now_s = time.monotonic_ns(), time.time()
            record = json.loads(line)
            age_s = (now_ns - record["t_monotonic_ns"]) / 1e9
            outcome.ages_s.append(age_s)
            outcome.unix_off_s.append(now_s - age_s - record["t_unix"])
            if record["frame"] >= third and not outcome.memory_mb:
                outcome.memory_mb.append(_resident_mb(process.pid))
            if record["frame"] >= last:
                outcome.memory_mb.append(_resident_mb(process.pid))
                return
    raise AssertionError(f"the records end before frame {last}\n{log.read_text()}")


def _connected(place: Place, process: subprocess.Popen[str], log: Path) -> TextIO:
    """The socket of tracks, as lines."""
    folder = place.root / "run/cfvgg"
    deadline_s = time.monotonic() + 60 * place.patience
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline_s, f"no socket\n{log.read_text()}"
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30 * place.patience)
        try:
            # By a short name: the kernel takes at most 107 characters.
            handle = os.open(folder, os.O_PATH)
            try:
                connection.connect(f"/proc/self/fd/{handle}/tracks.sock")
            finally:
                os.close(handle)
            return connection.makefile()
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(0.05)
        finally:
            connection.close()  # the file holds it on


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1e3


def _pictures(path: Path) -> Iterator[int]:
    video = cv2.VideoCapture(str(path))
    while True:
        good, image = video.read()
        if not good:
            return
        yield picture_number(cast(Frame, image))
