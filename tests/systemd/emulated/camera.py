"""A camera with a real driver: the kernel's `vivid`, which has one without a camera (V4L2)."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

from tests.systemd.emulated.machine import Machine
from tests.systemd.emulated.report import Report, excerpt

DEVICE = "/dev/video0"
DRIVER = "/sys/bus/platform/drivers/vivid"
FRAMES = 200
LIMIT_S = 200.0
TRACKS = "/tmp/camera.jsonl"
LOG = "/tmp/camera.log"
RUN = f"run --source {DEVICE} --preset kcf --box 200,150,120,120 --tracks {TRACKS}"


class CameraChecks:
    """`cfvgg-edge run` on a V4L2 device, as whoever is logged in.

    Args:
        program: of the product, as one calls it there.
    """

    def __init__(self, machine: Machine, report: Report, program: str = "cfvgg-edge") -> None:
        self._machine, self._report, self._program = machine, report, program

    def all(self) -> None:
        """One after another."""
        self._machine.run("sudo usermod -aG video pi && sudo modprobe vivid n_devs=1 node_types=1")
        self._machine.log_in_again()  # who is logged in already is not in the group
        self.frames()
        self.busy()
        self.other_formats()
        self.pulled_out()
        self.fails()
        self._machine.run("sudo modprobe -r vivid")

    def frames(self) -> None:
        """They come, with the driver's time stamps."""
        with self._report.step("V4L2: frames of a real driver") as facts:
            said = self._edge(f"{RUN} --max-frames {FRAMES}")
            records = self._records()
            assert len(records) == FRAMES, said
            stamps_ns = [record["t_monotonic_ns"] for record in records]
            indices = [record["frame"] for record in records]
            assert all(a < b for a, b in itertools.pairwise(stamps_ns))
            assert all(a < b for a, b in itertools.pairwise(indices))
            facts["frames"], facts["missed"] = FRAMES, indices[-1] + 1 - FRAMES
            # The driver's clock ticks evenly, whatever the time it took us to come for the frame.
            rate_hz = 1e9 * (indices[-1] - indices[0]) / (stamps_ns[-1] - stamps_ns[0])
            facts["Hz by the time stamps"] = round(rate_hz, 2)
            excerpt("run --source /dev/video0", said)

    def busy(self) -> None:
        """Somebody else has it."""
        with self._report.step("V4L2: busy"), self._started():
            said = self._edge(f"run --source {DEVICE} --preset kcf --max-frames 5", expect=6)
            assert f"{DEVICE}: " in said, said
            assert "another program may have it" in said, said
            excerpt("a second program", said)

    def other_formats(self) -> None:
        """What is asked for and not to be had is in the log, and frames come."""
        with self._report.step("V4L2: sizes and formats that it has not"):
            for setting in ("source.width=1280", 'source.pixel_format="MJPG"'):
                said = self._edge(f"{RUN} --max-frames 5 --set '{setting}'")
                assert ", asked for " in said, said
                excerpt(setting, said)

    def pulled_out(self) -> None:
        """The driver loses its device while it streams, and finds it again."""
        # Its other stamps, of the end that is planned for a frame, lie in the future.
        self._machine.run(f"v4l2-ctl -d {DEVICE} --set-ctrl=timestamp_source=1")
        with self._report.step("V4L2: pulled out and put back") as facts, self._started():
            self._machine.run(f"echo vivid.0 | sudo tee {DRIVER}/unbind > /dev/null")
            start_s = time.monotonic()
            status = self._wait("reopening", lambda status: status["source"]["condition"] == "reopening")
            frames = status["loop"]["frames"]
            assert status["source"]["clock_jumps"] == 0, status
            facts["seen after s"] = round(time.monotonic() - start_s, 1)
            assert self._machine.run(f"test -e {DEVICE}", expect=1) == ""
            self._machine.run(f"echo vivid.0 | sudo tee {DRIVER}/bind > /dev/null")
            start_s = time.monotonic()
            status = self._wait("frames", lambda status: status["loop"]["frames"] > frames + 20)
            facts["back after s"] = round(time.monotonic() - start_s, 1)
            assert status["source"]["restarts"] == 1, status
            excerpt("log", self._machine.run(f"cat {LOG}"))

    def fails(self) -> None:
        """The driver says that streaming has failed for good."""
        with self._report.step("V4L2: a fatal error of the driver"), self._started():
            self._machine.run(f"v4l2-ctl -d {DEVICE} --set-ctrl=inject_fatal_streaming_error=1")
            self._wait("opened again", lambda status: status["source"]["restarts"] >= 1)
            excerpt("log", self._machine.run(f"cat {LOG}"))

    @contextlib.contextmanager
    def _started(self) -> Iterator[None]:
        """A run that goes on, from its first frames; ended like by Ctrl-C."""
        command = f"{self._program} {RUN} > {LOG} 2>&1 < /dev/null & echo $!"
        pid = int(self._machine.run(command))
        try:
            self._wait("frames", lambda status: status["loop"]["frames"] > 10)
            yield
        finally:
            self._machine.run(f"kill -INT {pid}; tail --pid={pid} -f /dev/null", expect=None)

    def _wait(self, what: str, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """What the run says of itself, once that is true."""
        start_s = time.monotonic()
        while True:
            said = self._machine.run(f"{self._program} status --json", expect=None)
            if said.startswith("{") and true(status := json.loads(said)):
                return cast(dict[str, Any], status)
            if time.monotonic() - start_s > LIMIT_S:
                raise AssertionError(
                    f"{what}: not within {LIMIT_S} s\n{said}\n{self._machine.run(f'cat {LOG}')}"
                )

    def _edge(self, arguments: str, expect: int = 0) -> str:
        return self._machine.run(f"timeout 250 {self._program} {arguments}", expect=expect)

    def _records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._machine.run(f"cat {TRACKS}").splitlines()]
