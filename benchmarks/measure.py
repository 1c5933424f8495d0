"""Tracking one sequence from its first box, without resets, and what is measured while it runs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.datasets.base import Sequence
from benchmarks.variants import Variant, build_tracker
from edge_runtime.adaptation.tracker import AdaptiveTracker
from edge_runtime.evaluation import FloatRows
from edge_runtime.interpreter import find_runtime
from edge_runtime.sources.folder import read_picture
from edge_runtime.types import Tracker

# Read before the first of these libraries loads: workers inherit them from who starts them.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
FIRST = " first{}"  # ends the label of a variant that saw only so many frames


@dataclass(frozen=True, eq=False)
class Task:
    """One sequence with one variant, and the revision of the code that runs.

    Attributes:
        frames_limit: only so many frames; 0: all.
        pace_hz: rate at which frames come, as from a camera; 0: as fast as they are tracked.
    """

    variant: Variant
    sequence: Sequence
    revision: str
    frames_limit: int = 0
    pace_hz: float = 0.0

    @property
    def label(self) -> str:
        """What tables and files call the variant; parts of sequences are kept apart, and paces."""
        pace = f" {self.pace_hz:g}Hz" if self.pace_hz else ""
        return self.variant.label + pace + (FIRST.format(self.frames_limit) if self.frames_limit else "")

    def key(self) -> dict[str, Any]:
        """What makes two results the same measurement."""
        return self.variant.identity() | {
            "variant": self.label,
            "revision": self.revision,
            "split": self.sequence.split,
            "sequence": self.sequence.name,
            "frames_limit": self.frames_limit,
        }


@dataclass(frozen=True, eq=False)
class Track:
    """What a tracker did on n frames.

    Attributes:
        boxes: float64 (n, 4): x, y, w, h in pixels, 0-based; the first is the one it started on.
        times_ms: float64 (n,): wall time in the tracker, milliseconds; the first is `init`'s.
        states: how often each state was reported.
        frame_size: width, height in pixels of the first frame.
    """

    boxes: FloatRows
    times_ms: FloatRows
    states: Counter[str]
    frame_size: tuple[int, int]


def measure(task: Task, build: Callable[[Variant], Tracker] = build_tracker) -> tuple[Track, dict[str, Any]]:
    """Track, and describe the machine that did.

    Raises:
        CfvggError: the network, the settings, a picture or the first box is not good.
    """
    cv2.setNumThreads(1)
    tracker = build(task.variant)
    track = run_tracker(tracker, task.sequence, task.pace_hz)
    if isinstance(tracker, AdaptiveTracker):
        tracker.close()
    return track, task.key() | {
        "model_sha256": task.variant.model_sha256,
        "backend": backend(task.variant),
        "threads": 1,
        "cpu": cpu_model(),
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "frame_size": track.frame_size,
        "states": dict(track.states),
        "peak_rss_mb": peak_rss_mb(),
    }


def run_tracker(tracker: Tracker, sequence: Sequence, pace_hz: float = 0.0) -> Track:
    """One pass. Pictures are decoded outside of the time that counts; for `pace_hz` see `Task`."""
    frames = map(read_picture, sequence.frames)
    first, states = next(frames), Counter[str]()
    box = sequence.first_box()
    start_s = time.perf_counter()
    tracker.init(first, box)
    times_ms, boxes = [1e3 * (time.perf_counter() - start_s)], [tuple(box)]
    first_s = start_s
    for number, image in enumerate(frames, 1):
        if pace_hz:
            time.sleep(max(0.0, first_s + number / pace_hz - time.perf_counter()))
        start_s = time.perf_counter()
        result = tracker.update(image)
        times_ms.append(1e3 * (time.perf_counter() - start_s))
        boxes.append(tuple(result.box))
        states[result.state.value] += 1
    size = (first.shape[1], first.shape[0])
    return Track(np.array(boxes, float), np.array(times_ms, float), states, size)


def backend(variant: Variant) -> str:
    """What runs the network, with its version; "none" without a network."""
    if variant.network is None:
        return "none"
    package = "torch" if variant.network.kind == "torch" else find_runtime()[0]
    return f"{package} {importlib.metadata.version(package)}"


def cpu_model() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    # Arm boards name the board, not the core, and that last.
    return named.get("model name") or named.get("Model") or platform.processor() or platform.machine()


def peak_rss_mb() -> float:
    """The most memory that this process has had resident, MiB."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        # Not getrusage's figure where this is there: that one remembers the process before exec.
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)


def limit_threads() -> None:
    """One thread in every library of the processes that are started from here on."""
    os.environ.update(ONE_THREAD)
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
