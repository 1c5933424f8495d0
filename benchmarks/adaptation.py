"""What adaptation costs the tracker: latency while it goes on, its time, its memory, the frames it takes.

    python -m benchmarks.adaptation --bundle demo/bundle --presets feco fdeepstrcf

The composed clip (cut from photos that scikit-image ships) is played at a camera's pace, without adaptation
and with it in turns, every time in a process of its own. The tracker has one core (--core), adaptation
another one. Prints JSON: per preset and dtype medians over the repeats. `p95_ratio` compares the p95 latency
of the frames until the new network tracked, that frame included, with the p95 of the same frames without
adaptation; `first_ms` is the time in `init`. Accuracy is `benchmarks.ope`'s, with `--config` of an `[adapt]`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import processes
from benchmarks.adaptation_worker import WithMemory, train_and_measure
from benchmarks.arguments import at_least
from benchmarks.measure import cpu_model, limit_threads, peak_rss_mb
from benchmarks.synthetic_clip import RATE_HZ, compose
from edge_runtime.adaptation.background import WorkerError
from edge_runtime.adaptation.settings import AdaptMode
from edge_runtime.adaptation.tracker import AdaptiveTracker, tracker_for
from edge_runtime.bundle import Bundle
from edge_runtime.config import Config, load_config
from edge_runtime.features import NetworkFeatures
from edge_runtime.types import Tracker

MODES: tuple[AdaptMode, ...] = ("off", "background")
SLOW = 1.2  # a frame counts as affected if it takes this many times the p95 without adaptation


@dataclass(frozen=True)
class Run:
    """One pass over the clip."""

    config: Config
    bundle: Path
    frames: int
    core: int


def play(run: Run) -> dict[str, Any]:
    """Track the clip's first frames at its pace; latencies and what adaptation did."""
    cv2.setNumThreads(1)
    frames = list(islice(compose(), run.frames))  # with all cores
    os.sched_setaffinity(0, {run.core})
    features = NetworkFeatures(Bundle.open(run.bundle), run.config.model.dtype)
    tracker: Tracker = tracker_for(run.config, features)
    adaptive = tracker if isinstance(tracker, AdaptiveTracker) else None
    if adaptive is not None:
        adaptive.worker = train_and_measure
    tracker.init(*frames[0])  # as a service that has run for a while
    for image, _ in frames[1:10]:
        tracker.update(image)
    before_mb = peak_rss_mb()
    start_s = time.perf_counter()
    tracker.init(*frames[0])
    first_ms, swapped_at, times_ms = 1e3 * (time.perf_counter() - start_s), None, []
    for number, (image, _) in enumerate(frames[1:], 1):
        time.sleep(max(0.0, start_s + number / RATE_HZ - time.perf_counter()))
        before_s, waiting = time.perf_counter(), adaptive is not None and adaptive.adapting
        tracker.update(image)
        times_ms.append(1e3 * (time.perf_counter() - before_s))
        if adaptive is not None and waiting and not adaptive.adapting:
            swapped_at = number
    if adaptive is not None:
        adaptive.close()
    found = {"first_ms": first_ms, "times_ms": times_ms, "rss_mb": peak_rss_mb() - before_mb}
    return found | ({} if adaptive is None else told(adaptive, swapped_at))


def told(tracker: AdaptiveTracker, swapped_at: int | None) -> dict[str, Any]:
    """What came of the adaptation. Raises `WorkerError` if nothing."""
    if not isinstance(tracker.last, WithMemory) or swapped_at is None:
        raise WorkerError(f"no adaptation within the clip: {tracker.last}")
    last = tracker.last
    return {
        "swapped_at": swapped_at,
        "seconds": last.seconds,
        "worker_rss_mb": last.peak_rss_mb,
        "taken": last.model is not None,
    }


def compared(off: list[dict[str, Any]], on: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the repeats, of the frames until the new network tracked."""
    until = max(run["swapped_at"] for run in on)
    both = {"off": off, "background": on}
    times = {name: [np.array(run["times_ms"][:until]) for run in runs] for name, runs in both.items()}
    p95 = {name: [float(np.percentile(t, 95)) for t in several] for name, several in times.items()}
    ratios = [b / a for a, b in zip(p95["off"], p95["background"], strict=True)]
    limit_ms = SLOW * statistics.median(p95["off"])

    def medians(of: Callable[[Any], float]) -> dict[str, float]:
        return {name: round(statistics.median(map(of, several)), 3) for name, several in times.items()}

    more_mb = [statistics.median(run["rss_mb"] for run in runs) for runs in both.values()]
    return {
        "p95_ratio": round(statistics.median(ratios), 3),
        "p95_ratios": [round(ratio, 3) for ratio in ratios],
        "p95_ms": {name: round(statistics.median(values), 3) for name, values in p95.items()},
        "p50_ms": medians(lambda t: float(np.median(t))),
        "most_ms": medians(lambda t: float(t.max())),
        "frames": until,
        "frames_affected": medians(lambda t: float((t > limit_ms).sum())),
        "first_ms": {n: round(statistics.median(r["first_ms"] for r in runs), 1) for n, runs in both.items()},
        "adapting_s": round(statistics.median(run["seconds"] for run in on), 2),
        "swapped_at": statistics.median(run["swapped_at"] for run in on),
        "worker_rss_mb": round(statistics.median(run["worker_rss_mb"] for run in on), 1),
        "tracker_more_rss_mb": round(more_mb[1] - more_mb[0], 1),
        "taken": all(run["taken"] for run in on),
    }


def measured(config: Config, args: argparse.Namespace) -> dict[str, Any]:
    """One preset in one dtype, in turns. Raises `WorkerError` if a run fails."""
    runs = [
        Run(replace(config, adapt=replace(config.adapt, mode=mode)), args.bundle, args.frames, args.core)
        for mode in MODES
    ]
    results: dict[str, list[dict[str, Any]]] = {mode: [] for mode in MODES}
    for run, result in processes.each(play, runs * args.repeats, 1):
        if isinstance(result, processes.Failure):
            raise WorkerError(f"{result.line}\n{result.trace}")
        results[run.config.adapt.mode].append(result)
    return compared(results["off"], results["background"])


def main(arguments: list[str] | None = None) -> int:
    """Parse, run in turns, print."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bundle", type=Path, required=True)
    p.add_argument("--presets", nargs="+", default=["feco", "fdeepstrcf"])
    p.add_argument("--dtypes", nargs="+", default=["int8", "float32"], choices=["float32", "int8"])
    p.add_argument("--config", type=Path, help="TOML of overrides, as of [adapt]")
    p.add_argument("--repeats", type=at_least(1), default=5)
    p.add_argument("--frames", type=at_least(60), default=240)
    p.add_argument("--core", type=at_least(0), default=0, help="of the tracker")
    args = p.parse_args(arguments)
    limit_threads()
    found: dict[str, Any] = {"cpu": cpu_model(), "repeats": args.repeats, "results": {}}
    for preset in args.presets:
        for dtype in args.dtypes:
            config = load_config(args.config, {"tracker.preset": preset, "model.dtype": dtype})
            name = f"{preset} {dtype}"
            print(f"adaptation: {name}", file=sys.stderr)
            found["results"][name] = measured(config, args)
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
