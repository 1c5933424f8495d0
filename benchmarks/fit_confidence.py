"""Fit fKCF's confidence: how the peak-to-sidelobe ratio tells a target that is there from one that is not.

    python benchmarks/fit_confidence.py --sequences ../shared/data/sequences/dev --bundle demo/bundle

There: frames of the sequences that are tracked with IoU > 0.4. Not there: each sequence is tracked for
40 frames and then cut to 30 frames of the third next one. Balanced logistic regression of ln(1 + psr),
with a penalty on the slope, since frames of one sequence are not independent. Prints JSON; the figures go
into `CONFIDENCE_MODELS` of `edge_runtime/fkcf.py`. Development sequences only.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import scipy.optimize

from edge_runtime.bundle import Bundle
from edge_runtime.confidence import ConfidenceConfig, ConfidenceModel
from edge_runtime.evaluation import GroundTruth, iou, read_groundtruth
from edge_runtime.features import NetworkFeatures
from edge_runtime.fkcf import FkcfConfig, FkcfTracker
from edge_runtime.sources.folder import FolderSource
from edge_runtime.types import Frame

TRACKED_FRAMES, ABSENT_FRAMES = 40, 30
SLOPE_PENALTY = 5.0
ALWAYS_LEARN = ConfidenceConfig(uncertain_below=0.0)
Sequence = tuple[list[Frame], GroundTruth]


def ratios_there(features: NetworkFeatures, level: str, sequence: Sequence) -> list[float]:
    """Ratios of the frames that are tracked well."""
    frames, truth = sequence
    tracker = FkcfTracker(FkcfConfig(level=level, confidence=ALWAYS_LEARN), features)
    tracker.init(frames[0], truth.boxes[0])
    results = [tracker.update(frame) for frame in frames[1:]]
    overlaps = iou(np.array([r.box for r in results]), truth.boxes[1 : len(frames)])
    return [r.psr for r, overlap in zip(results, overlaps, strict=True) if overlap > 0.4]


def ratios_absent(
    features: NetworkFeatures, level: str, sequence: Sequence, other: list[Frame]
) -> list[float]:
    """Ratios after a cut to another sequence."""
    frames, truth = sequence
    tracker = FkcfTracker(FkcfConfig(level=level, confidence=ALWAYS_LEARN), features)
    tracker.init(frames[0], truth.boxes[0])
    for frame in frames[1:TRACKED_FRAMES]:
        tracker.update(frame)
    tracker.config = replace(tracker.config, learning_rate=0.0)
    size = frames[0].shape[1::-1]
    return [tracker.update(cv2.resize(frame, size)).psr for frame in other[:ABSENT_FRAMES]]


def fit(there: list[float], absent: list[float]) -> tuple[ConfidenceModel, dict[str, float]]:
    """The model, and how often its confidence is below 0.5 where it should not be, and above."""
    x = np.log1p(np.maximum(np.concatenate([there, absent]), 0))
    sign = np.concatenate([np.ones(len(there)), -np.ones(len(absent))])
    weight = np.where(sign > 0, len(x) / (2 * len(there)), len(x) / (2 * len(absent)))

    def loss(parameters: np.ndarray) -> float:
        slope, middle = parameters
        margin = sign * slope * (x - middle)
        return float((weight * np.logaddexp(0, -margin)).sum() + SLOPE_PENALTY * slope**2)

    slope, middle = scipy.optimize.minimize(loss, [4.0, 2.5], method="Nelder-Mead").x
    model = ConfidenceModel(psr_half=float(np.expm1(middle)), slope=float(slope))
    missed = float(np.mean([model(psr) < 0.5 for psr in there]))
    false = float(np.mean([model(psr) >= 0.5 for psr in absent]))
    return model, {"there_below_half": missed, "absent_above_half": false}


def main() -> None:
    """Collect, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sequences", type=Path, required=True, help="folder of OTB sequences to tune on")
    parser.add_argument("--bundle", type=Path, action="append", required=True)
    parser.add_argument("--dtype", default="int8")
    parser.add_argument("--levels", nargs="+", default=["low", "middle", "high"])
    args = parser.parse_args()
    cv2.setNumThreads(1)
    sequences: list[Sequence] = []
    for folder in sorted(p for p in args.sequences.iterdir() if (p / "img").is_dir()):
        truth = read_groundtruth(folder / "groundtruth_rect.txt")
        frames = [frame.image for frame in FolderSource(folder / "img")]
        sequences.append((frames[: len(truth.valid)], truth))
    for level in args.levels:
        there, absent = list[float](), list[float]()
        for path in args.bundle:
            features = NetworkFeatures(Bundle.open(path), args.dtype)
            for index, sequence in enumerate(sequences):
                other = sequences[(index + 3) % len(sequences)][0]
                there += ratios_there(features, level, sequence)
                absent += ratios_absent(features, level, sequence, other)
        model, errors = fit(there, absent)
        figures = {"level": level, "psr_half": round(model.psr_half, 1), "slope": round(model.slope, 2)}
        counts = {"frames_there": len(there), "frames_absent": len(absent)}
        print(json.dumps(figures | counts | {k: round(v, 4) for k, v in errors.items()}), flush=True)


if __name__ == "__main__":
    main()
