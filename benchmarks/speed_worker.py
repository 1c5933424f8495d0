"""One tracker in one process on one core: what `speed.py` starts and talks to.

    python -m benchmarks.speed_worker CORE '{"kind": "opencv", "name": "CSRT"}'

Runs in any environment with NumPy and OpenCV; ours is imported only for our own trackers. Each line of
standard input is a command, each line of standard output its answer, both JSON; see `COMMANDS`.
"""

# ruff: noqa: PLC0415 (libraries load after the process is pinned, and only those of its tracker)

from __future__ import annotations

import array
import importlib
import importlib.metadata
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGES = (
    "numpy", "scipy", "opencv-python-headless", "opencv-contrib-python-headless", "ai-edge-litert",
    "tflite-runtime", "onnxruntime", "torch",
)  # fmt: skip
RSS_SAMPLES = 200  # of one run
NO_BOX = (math.nan,) * 4
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20

Answer = dict[str, Any]


class OpenCvPeer:
    """A tracker of `cv2.legacy`, which takes boxes of floats."""

    def __init__(self, name: str) -> None:
        legacy: Any = importlib.import_module("cv2").legacy  # only in opencv-contrib
        self._tracker = getattr(legacy, f"Tracker{name}_create")()

    def init(self, image: Any, box: list[float]) -> None:
        """Start."""
        self._tracker.init(image, tuple(box))

    def update(self, image: Any) -> tuple[float, ...] | None:
        """x, y, w, h; None when it says that it failed."""
        found, box = self._tracker.update(image)
        return tuple(box) if found else None


class OwnTracker:
    """One of this project's trackers, or anything with its `Tracker` protocol."""

    def __init__(self, tracker: Any) -> None:
        from edge_runtime.types import Box

        self.tracker, self._box = tracker, Box

    def init(self, image: Any, box: list[float]) -> None:
        """Start."""
        self.tracker.init(image, self._box(*box))

    def update(self, image: Any) -> tuple[float, ...] | None:
        """x, y, w, h, also while the target is lost."""
        return tuple(self.tracker.update(image).box)


def make(spec: dict[str, Any]) -> Any:
    """A new tracker of the kind that `spec` names; its other keys depend on that."""
    if spec["kind"] == "opencv":
        return OpenCvPeer(spec["name"])
    if spec["kind"] == "nanotrack":
        from benchmarks.peers_nanotrack import NanoTrack

        return NanoTrack(spec["version"], Path(spec["models"]))
    if spec["kind"] == "factory":
        module, _, name = spec["factory"].partition(":")
        return OwnTracker(getattr(importlib.import_module(module), name)())
    from benchmarks.variants import build_tracker, make_variants, parse_network, parse_settings

    networks = [parse_network(spec["network"])] if spec["network"] else []
    settings = [parse_settings(spec["settings"])] if spec["settings"] else []
    (variant,) = make_variants([spec["preset"]], networks, [spec["dtype"]], [], settings)
    return OwnTracker(build_tracker(variant))


class Worker:
    """A tracker, the frames of one sequence, and what is measured on them."""

    def __init__(self, spec: dict[str, Any]) -> None:
        import cv2

        cv2.setNumThreads(1)
        self._cv2, self._spec = cv2, spec
        self._frames: list[Any] = []
        start_s = time.perf_counter()
        # Kept for the first run, so that memory before and after frames differs by the frames.
        self._next: Any = make(spec)
        self.make_ms = (time.perf_counter() - start_s) * 1e3

    def hello(self) -> Answer:
        """What runs here."""
        versions = {"python": ".".join(map(str, sys.version_info[:3])), "opencv": self._cv2.__version__}
        for package in PACKAGES:
            try:
                versions[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
        return {
            "versions": versions,
            "affinity": sorted(os.sched_getaffinity(0)),
            "make_ms": self.make_ms,
            "rss_before_frames_mb": rss_mb(),
        }

    def load(self, files: list[str]) -> Answer:
        """Decode a sequence's pictures into memory, in place of those before."""
        self._frames.clear()
        for file in files:
            image = self._cv2.imread(file, self._cv2.IMREAD_COLOR)
            if image is None:
                raise ValueError(f"{file} cannot be decoded as a picture")
            self._frames.append(image)
        return {"frames_mb": sum(image.nbytes for image in self._frames) / 2**20}

    def run(self, box: list[float], updates: int) -> Answer:
        """One pass from `box` in the first frame; after the last frame it goes back, and so on.

        Returns:
            init_ms, update_ms (one a frame): wall time inside the tracker, milliseconds.
            cpu_ms (one a frame): CPU time of the same updates, milliseconds; equal on a free core.
            wall_s: of all updates together.
            boxes: x, y, w, h or null after every update.
            rss_mb: [update, MiB] pairs, evenly spread.
            stage_ms: milliseconds by stage, if the tracker keeps count, of all updates.
        """
        tracker, self._next = make(self._spec) if self._next is None else self._next, None
        clock, cpu_clock = time.perf_counter, time.process_time
        start_s = clock()
        tracker.init(self._frames[0], box)
        init_ms = (clock() - start_s) * 1e3
        before = stages(tracker)
        # Plain numbers: over 100,000 updates, objects would be 30 MB that the tracker seems to have taken.
        update_ms, cpu_ms, sides = array.array("d"), array.array("d"), array.array("d")
        memory_mb = []
        every = max(updates // RSS_SAMPLES, 1)
        first_s = clock()
        for number, index in enumerate(bounce(len(self._frames), updates)):
            start_cpu_s, start_s = cpu_clock(), clock()
            found = tracker.update(self._frames[index])
            end_s, end_cpu_s = clock(), cpu_clock()
            update_ms.append((end_s - start_s) * 1e3)
            cpu_ms.append((end_cpu_s - start_cpu_s) * 1e3)
            sides.extend(found or NO_BOX)
            if number % every == 0:
                memory_mb.append((number, rss_mb()))
        wall_s = clock() - first_s
        spent = {name: total - before.get(name, 0.0) for name, total in stages(tracker).items()}
        return {
            "init_ms": init_ms, "update_ms": update_ms.tolist(), "cpu_ms": cpu_ms.tolist(), "wall_s": wall_s,
            "boxes": [None if math.isnan(box[0]) else box for box in zip(*[iter(sides)] * 4, strict=True)],
            "rss_mb": memory_mb, "stage_ms": spent, "peak_rss_mb": peak_rss_mb(),
        }  # fmt: skip


COMMANDS: dict[str, Callable[..., Answer]] = {
    "hello": Worker.hello,
    "load": Worker.load,
    "run": Worker.run,
}


def bounce(frames: int, updates: int) -> list[int]:
    """Indices of `updates` frames after the first one: forward, backward, forward …"""
    period = max(2 * (frames - 1), 1)
    return [min(k % period, period - k % period) if frames > 1 else 0 for k in range(1, updates + 1)]


def stages(tracker: Any) -> dict[str, float]:
    """A copy of the milliseconds by stage that a tracker keeps count of; empty when it does not."""
    return dict(getattr(getattr(tracker, "tracker", tracker), "stage_ms", {}))


def rss_mb() -> float:
    """Memory that this process has resident now, MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_MB


def peak_rss_mb() -> float:
    """The most that it has ever had resident, MiB."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Answer commands until standard input ends; an error is the last answer."""
    os.sched_setaffinity(0, {int(sys.argv[1])})
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not come between answers
    try:
        worker = Worker(json.loads(sys.argv[2]))
        for line in sys.stdin:
            command = json.loads(line)
            answer = COMMANDS[command.pop("do")](worker, **command)
            print(json.dumps(answer), file=answers, flush=True)
    except Exception as error:
        expected = type(error).__module__ == "edge_runtime.errors"
        text = str(error) if expected else f"{type(error).__name__}: {error}"
        print(json.dumps({"error": " ".join(text.split())}), file=answers, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
