"""Is a lost target found again when it comes back elsewhere? With and without the whole-frame search.

    python -m benchmarks.reacquire --sequences ../shared/data/sequences/dev --bundle demo/bundle

Each sequence is tracked for 40 frames, cut to 60 (or --away) frames of the third next one, and then comes
back, rolled by half its width, so that the target is far from its last place. Prints JSON lines: how many
cuts were noticed, and of these, after how many the target is tracked again within 150 frames (centre within
half its size), the median frames that this took, and in how many something else was tracked before or after
the return.
Development sequences only, where settings are chosen by it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from benchmarks import datasets
from benchmarks.datasets.base import Sequence
from benchmarks.variants import parse_settings
from edge_runtime.bundle import Bundle
from edge_runtime.config import Config, load_config
from edge_runtime.features import NetworkFeatures
from edge_runtime.sources.folder import read_picture
from edge_runtime.targets.target import Target
from edge_runtime.trackers import make_tracker
from edge_runtime.trackers.presets import PRESETS
from edge_runtime.types import Box, Frame, TrackResult, TrackState

BEFORE, BACK = 40, 150
FRAME_NS = 33_333_333
FOUND = (TrackState.TRACKING, TrackState.REACQUIRED)


@dataclass(frozen=True)
class Outcome:
    """Of one sequence; `frames` until it is tracked again, None if it is not."""

    noticed: bool
    frames: int | None
    wrong_away: bool
    wrong_back: bool
    lost_ms: tuple[float, ...]


def outcome(
    config: Config,
    features: NetworkFeatures | None,
    sequence: Sequence,
    other: Sequence,
    away_frames: int,
) -> Outcome:
    """Track `sequence`, `other` for so many frames (again and again), and `sequence` again."""
    frames = [read_picture(path) for path in islice(sequence.frames, BEFORE + BACK)]
    first = sequence.truth.box(0)
    assert first is not None, f"{sequence.name}: the first box is not valid"
    target = Target(1, make_tracker(config, features), config.target, frames[0], first)
    index = 0

    def step(image: Frame) -> TrackResult:
        nonlocal index
        index += 1
        return target.update(image, index * FRAME_NS, search=True)

    for frame in frames[1:BEFORE]:
        step(frame)
    size = frames[0].shape[1::-1]
    paths = islice(itertools.cycle(other.frames), away_frames)
    away = [step(cv2.resize(read_picture(path), size)) for path in paths]
    shift = frames[0].shape[1] // 2
    found, wrong = None, False
    lost_ms = [result.latency_ms for result in away if result.state is TrackState.LOST]
    for number, frame in enumerate(frames[BEFORE:]):
        result = step(np.roll(frame, shift, axis=1))
        truth = sequence.truth.box(BEFORE + number)
        if truth is None or result.state not in FOUND:
            continue
        if near(result.box, truth, shift, frame.shape[1]):
            found = number if found is None else found
        elif found is None:
            wrong = True
    noticed = any(result.state is TrackState.LOST for result in away)
    return Outcome(noticed, found, away[-1].state in FOUND, wrong, tuple(lost_ms))


def near(box: Box, truth: Box, shift: int, width: int) -> bool:
    """Whether a box is on the target that was rolled by `shift` columns in a frame of this width."""
    row, column = truth.centre
    across = abs((box.centre[1] - column - shift + width / 2) % width - width / 2)
    return across <= truth.w / 2 and abs(box.centre[0] - row) <= truth.h / 2


def report(outcomes: list[Outcome]) -> dict[str, float | int | None]:
    """Figures of many sequences."""
    noticed = [o for o in outcomes if o.noticed]
    frames = [o.frames for o in noticed if o.frames is not None]
    lost_ms = [ms for o in outcomes for ms in o.lost_ms]
    return {
        "cuts": len(outcomes),
        "noticed": len(noticed),
        "found": len(frames),
        "median_frames": float(np.median(frames)) if frames else None,
        "wrong_away": sum(o.wrong_away for o in outcomes),
        "wrong_back": sum(o.wrong_back for o in noticed),
        "lost_p50_ms": round(float(np.median(lost_ms)), 2) if lost_ms else None,
    }


def main() -> None:
    """Parse, track, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sequences", type=Path, required=True, help="folder of sequences")
    parser.add_argument("--bundle", type=Path, help="none for trackers without a network")
    parser.add_argument("--dtype", default="int8")
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=list(PRESETS))
    parser.add_argument("--windows", nargs="+", type=int, default=[0, 1], help="windows looked at in a frame")
    parser.add_argument("--away", type=int, default=60, help="frames of another scene")
    parser.add_argument("--config", metavar="NAME=FILE", help="TOML of overrides")
    parser.add_argument("--verbose", action="store_true", help="every sequence's outcome to standard error")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    path = parse_settings(args.config).path if args.config else None
    sequences = datasets.open_splits([args.sequences])
    features = NetworkFeatures(Bundle.open(args.bundle), args.dtype) if args.bundle else None
    for preset in args.presets:
        for windows in args.windows:
            config = load_config(path, {"tracker.preset": preset, "target.search.windows": windows})
            outcomes = []
            for number, sequence in enumerate(sequences):
                other = sequences[(number + 3) % len(sequences)]
                outcomes.append(outcome(config, features, sequence, other, args.away))
                if args.verbose:
                    shown = replace(outcomes[-1], lost_ms=())
                    print(f"{preset} {windows} {sequence.name}: {shown}", file=sys.stderr)
            print(json.dumps({"preset": preset, "windows": windows} | report(outcomes)), flush=True)


if __name__ == "__main__":
    main()
