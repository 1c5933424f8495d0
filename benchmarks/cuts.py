"""Does a tracker notice that its target is gone? Sequences are cut to another one and tracked on.

    python -m benchmarks.cuts --sequences ../shared/data/sequences/dev --bundle demo/bundle --presets feco

Each sequence is tracked for 40 frames and then cut to 60 frames of the third next one. Prints, per preset and
as JSON lines, the share of cuts with the state `lost` within 30 frames, and of those that end in tracking
something. Development sequences only, where limits are chosen by it.
"""

from __future__ import annotations

import argparse
import json
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
from edge_runtime.trackers import make_tracker
from edge_runtime.trackers.presets import PRESETS
from edge_runtime.types import Frame, TrackState

BEFORE_FRAMES, AFTER_FRAMES, NOTICED_WITHIN_FRAMES = 40, 60, 30
FOUND = (TrackState.TRACKING, TrackState.REACQUIRED)


def states_after_cut(
    config: Config, features: NetworkFeatures | None, sequence: Sequence, other: Sequence
) -> list[TrackState]:
    """States in the frames of `other` after the first ones of `sequence`."""
    tracker = make_tracker(config, features)
    frames = pictures(sequence, BEFORE_FRAMES)
    first = sequence.truth.box(0)
    assert first is not None, f"{sequence.name}: the first box is not valid"
    tracker.init(frames[0], first)
    for frame in frames[1:]:
        tracker.update(frame)
    size = frames[0].shape[1::-1]
    return [tracker.update(cv2.resize(frame, size)).state for frame in pictures(other, AFTER_FRAMES)]


def pictures(sequence: Sequence, count: int) -> list[Frame]:
    """The first frames of a sequence."""
    return [read_picture(path) for path in islice(sequence.frames, count)]


def main() -> None:
    """Parse, cut, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sequences", type=Path, required=True, help="folder of sequences")
    parser.add_argument("--bundle", type=Path, action="append", help="none for trackers without a network")
    parser.add_argument("--dtype", default="int8")
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=list(PRESETS))
    parser.add_argument("--config", metavar="NAME=FILE", help="TOML of overrides")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    path = parse_settings(args.config).path if args.config else None
    sequences = datasets.open_splits([args.sequences])
    for preset in args.presets:
        config = load_config(path, {"tracker.preset": preset})
        lost, wrong = list[bool](), list[bool]()
        for bundle in args.bundle or [None]:
            features = NetworkFeatures(Bundle.open(bundle), args.dtype) if bundle else None
            for index, sequence in enumerate(sequences):
                other = sequences[(index + 3) % len(sequences)]
                states = states_after_cut(config, features, sequence, other)
                lost.append(TrackState.LOST in states[:NOTICED_WITHIN_FRAMES])
                wrong.append(states[-1] in FOUND)
        figures = {"lost_soon": round(float(np.mean(lost)), 3), "wrong": round(float(np.mean(wrong)), 3)}
        print(json.dumps({"preset": preset, "cuts": len(lost)} | figures), flush=True)


if __name__ == "__main__":
    main()
