"""What `arm_cost.py` runs in the emulated arm64 Python: reads how many instructions it has executed itself.

    python -m benchmarks.arm_cost_worker COUNTER '{"kernels": [...]}'

`COUNTER` is the file that the emulator counts into (`arm_counter.c`). The answer is one line of JSON.
"""

# ruff: noqa: PLC0415 (only what is counted is loaded)

from __future__ import annotations

import gc
import json
import mmap
import os
import statistics
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Call = Callable[[], object]
CALLS = 3  # of a kernel, and then twice as many


class Counter:
    """The emulator's count of this program's instructions."""

    def __init__(self, path: str) -> None:
        with Path(path).open("rb") as file:
            self._page = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)

    def __call__(self) -> int:
        """Instructions so far."""
        count: int = struct.unpack_from("=Q", self._page)[0]
        return count

    def seconds(self) -> float:
        """Instructions as a clock that has a nanosecond for each."""
        return self() * 1e-9


def rfft2(n: int, channels: int) -> Call:
    """One forward transform of random maps (n, n, channels)."""
    import numpy as np

    from edge_runtime.core import kernels

    maps = np.random.default_rng(0).standard_normal((n, n, channels), dtype=np.float32)
    spectrum = np.empty((n, n // 2 + 1, 2, channels), np.float32)
    return lambda: kernels.rfft2(maps, spectrum)


KERNELS: dict[str, Callable[..., Call]] = {"rfft2": rfft2}


def count_kernel(counter: Counter, text: str) -> float:
    """Instructions of one call of `name:number:number…`, what surrounds the calls left out."""
    name, *numbers = text.split(":")
    call = KERNELS[name](*map(int, numbers))
    call()

    def calls(count: int) -> int:
        start = counter()
        for _ in range(count):
            call()
        return counter() - start

    return (calls(2 * CALLS) - calls(CALLS)) / CALLS


def count_tracker(
    counter: Counter, spec: dict[str, Any], files: list[str], box: list[float]
) -> dict[str, Any]:
    """Instructions of a tracker's start and of its frames, in all and by stage.

    The first update is left out of the frames: with it come things that are made once.
    """
    import cv2

    from benchmarks.speed_worker import make
    from edge_runtime.trackers.profile import StageTimes

    cv2.setNumThreads(1)
    StageTimes.clock_s = counter.seconds
    tracker = make(spec)
    frames = [cv2.imread(file, cv2.IMREAD_COLOR) for file in files]
    start = counter()
    tracker.init(frames[0], box)
    init = counter() - start
    tracker.update(frames[1])
    stages = getattr(tracker.tracker, "stage_ms", {})
    before = dict(stages)
    counts, last = [], None
    for frame in frames[2:]:
        start = counter()
        last = tracker.update(frame)
        counts.append(counter() - start)
    return {
        "init": init,
        "frame_mean": statistics.mean(counts),
        "frame_median": statistics.median(counts),
        "frame_max": max(counts),
        "stages": {
            name: (total - before.get(name, 0.0)) * 1e6 / len(counts) for name, total in stages.items()
        },
        "frames": len(counts),
        "last_box": last,
    }


def main() -> None:
    """Count what the second argument asks for."""
    counter, asked = Counter(sys.argv[1]), json.loads(sys.argv[2])
    gc.disable()
    answer = {"kernels": {text: count_kernel(counter, text) for text in asked.get("kernels", [])}}
    if "tracker" in asked:
        answer["tracker"] = count_tracker(counter, asked["tracker"], asked["files"], asked["box"])
    answer["machine"] = os.uname().machine
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
