"""Fit confidence: how the peak-to-sidelobe ratio tells a target that is there from one that is not.

    python benchmarks/fit_confidence.py --sequences ../shared/data/sequences/dev --bundle demo/bundle \
        --presets feco

There: frames of the sequences that are tracked with IoU > 0.4. Not there: each sequence is tracked for
40 frames and then cut to 30 frames of the third next one. Balanced logistic regression of ln(1 + psr) and
its drop, with a penalty on the slopes, since frames of one sequence are not independent. Prints JSON; the
figures go into `edge_runtime/trackers/confidence_models.py`. Development sequences only.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import scipy.optimize

from edge_runtime.bundle import Bundle
from edge_runtime.confidence import ConfidenceModel, RunningLog, log_ratio
from edge_runtime.config import load_config
from edge_runtime.evaluation import GroundTruth, iou, read_groundtruth
from edge_runtime.features import NetworkFeatures
from edge_runtime.sources.folder import FolderSource
from edge_runtime.trackers import make_tracker
from edge_runtime.trackers.base import USUAL_MOST, CorrelationTracker
from edge_runtime.trackers.presets import FAMILIES, PRESETS
from edge_runtime.types import Frame

TRACKED_FRAMES, ABSENT_FRAMES = 40, 30
SLOPE_PENALTY = 5.0
Sequence = tuple[list[Frame], GroundTruth]
Observation = tuple[float, float]  # ratio, and the mean of ln(1 + ratio) before it
MakeTracker = Callable[[], CorrelationTracker]


def maker(preset: str, feature: str | None, features: NetworkFeatures) -> MakeTracker:
    """New trackers that always learn, whatever their confidence."""
    thresholds = ("uncertain_below", "stay_below", "learn_visible_share")
    overrides = {f"tracker.{FAMILIES[preset]}.confidence.{name}": 0.0 for name in thresholds}
    config = load_config(None, {"tracker.preset": preset, "tracker.kcf.feature": feature} | overrides)

    def make() -> CorrelationTracker:
        tracker = make_tracker(config, features)
        assert isinstance(tracker, CorrelationTracker)
        return tracker

    return make


def usual_log(tracker: CorrelationTracker) -> RunningLog:
    """As the tracker keeps it, by the model that it has so far."""
    return RunningLog(USUAL_MOST * tracker.confidence_model.psr_half)


def there_frames(make: MakeTracker, sequence: Sequence) -> list[Observation]:
    """Frames that are tracked well."""
    frames, truth = sequence
    tracker = make()
    tracker.init(frames[0], truth.boxes[0])
    results = [tracker.update(frame) for frame in frames[1:]]
    overlaps = iou(np.array([r.box for r in results]), truth.boxes[1 : len(frames)])
    usual, seen = usual_log(tracker), []
    for result, overlap in zip(results, overlaps, strict=True):
        if overlap > 0.4:
            seen.append((result.psr, usual.before(result.psr)))
        usual.add(result.psr)
    return seen


def absent_frames(make: MakeTracker, sequence: Sequence, other: list[Frame]) -> list[Observation]:
    """Frames after a cut to another sequence, from which nothing is learned."""
    frames, truth = sequence
    tracker = make()
    tracker.init(frames[0], truth.boxes[0])
    usual = usual_log(tracker)
    for frame in frames[1:TRACKED_FRAMES]:
        usual.add(tracker.update(frame).psr)
    tracker._learn = lambda frame: None  # type: ignore[method-assign]
    size = frames[0].shape[1::-1]
    after = [tracker.update(cv2.resize(frame, size)).psr for frame in other[:ABSENT_FRAMES]]
    return [(psr, usual.mean) for psr in after]


def fit(there: list[Observation], absent: list[Observation]) -> tuple[ConfidenceModel, dict[str, float]]:
    """The model, and how often its confidence is below 0.5 where it should not be, and above."""
    log, mean = np.array([(log_ratio(psr), mean) for psr, mean in there + absent]).T
    sign = np.concatenate([np.ones(len(there)), -np.ones(len(absent))])
    weight = np.where(sign > 0, len(log) / (2 * len(there)), len(log) / (2 * len(absent)))

    def loss(parameters: np.ndarray) -> float:
        slope, drop_slope, middle = parameters
        margin = sign * (slope * (log - middle) + drop_slope * (log - mean))
        return float((weight * np.logaddexp(0, -margin)).sum() + SLOPE_PENALTY * (slope**2 + drop_slope**2))

    slope, drop_slope, middle = scipy.optimize.minimize(loss, [4.0, 2.0, 2.5], method="Nelder-Mead").x
    model = ConfidenceModel(float(np.expm1(middle)), float(slope), float(drop_slope))
    missed = float(np.mean([model(*seen) < 0.5 for seen in there]))
    false = float(np.mean([model(*seen) >= 0.5 for seen in absent]))
    return model, {"there_below_half": missed, "absent_above_half": false}


def main() -> None:
    """Collect, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sequences", type=Path, required=True, help="folder of OTB sequences to tune on")
    parser.add_argument("--bundle", type=Path, action="append", required=True)
    parser.add_argument("--dtype", default="int8")
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=list(PRESETS))
    parser.add_argument("--feature", help="of fkcf, for example cnn:high")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    sequences: list[Sequence] = []
    for folder in sorted(p for p in args.sequences.iterdir() if (p / "img").is_dir()):
        truth = read_groundtruth(folder / "groundtruth_rect.txt")
        frames = [frame.image for frame in FolderSource(folder / "img")]
        sequences.append((frames[: len(truth.valid)], truth))
    for preset in args.presets:
        there, absent = list[Observation](), list[Observation]()
        for path in args.bundle:
            make = maker(preset, args.feature, NetworkFeatures(Bundle.open(path), args.dtype))
            for index, sequence in enumerate(sequences):
                other = sequences[(index + 3) % len(sequences)][0]
                there += there_frames(make, sequence)
                absent += absent_frames(make, sequence, other)
        model, errors = fit(there, absent)
        figures = {"preset": preset} | {k: round(v, 2) for k, v in asdict(model).items()}
        counts = {"frames_there": len(there), "frames_absent": len(absent)}
        print(json.dumps(figures | counts | {k: round(v, 4) for k, v in errors.items()}), flush=True)


if __name__ == "__main__":
    main()
