"""Scores of a track against ground truth, by the OTB one-pass protocol (Wu et al., PAMI 2015)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import SourceError
from edge_runtime.types import Box

FloatRows = NDArray[np.float64]

THRESHOLDS = np.arange(21) / 20  # of IoU: 0, 0.05, ... 1
PRECISION_THRESHOLDS_PX = np.arange(51.0)  # of the distance of centres
PRECISION_PX = 20


@dataclass(frozen=True)
class GroundTruth:
    """True boxes of a sequence.

    Attributes:
        boxes: float64 (frames, 4): x, y, w, h in pixels, 0-based, top-left.
        valid: bool (frames,): frames that count.
    """

    boxes: FloatRows
    valid: NDArray[np.bool_]

    def box(self, frame: int) -> Box | None:
        """The box of a frame; None past the end or where it does not count."""
        if not 0 <= frame < len(self.valid) or not self.valid[frame]:
            return None
        return Box(*(float(v) for v in self.boxes[frame]))


@dataclass(frozen=True)
class Score:
    """How well a track follows the truth.

    Attributes:
        frames: number of frames that counted.
        success_auc: mean of `success`.
        precision_20px: share of frames whose centre is at most 20 px off.
        success: share of frames with IoU above each of `THRESHOLDS`.
        precision: share of frames whose centre is off by at most each of `PRECISION_THRESHOLDS_PX`.
    """

    frames: int
    success_auc: float
    precision_20px: float
    success: tuple[float, ...]
    precision: tuple[float, ...]


def read_groundtruth(path: Path, *, one_based: bool | None = None) -> GroundTruth:
    """Read OTB's `groundtruth_rect*.txt` (1-based) or GOT-10k's `groundtruth*.txt` (0-based).

    Files of other names can be read by saying whether they are `one_based`.

    Lines are x, y, w, h separated by comma, tab or blanks. Frames do not count whose values are NaN
    or not positive (OTB: any of the four in 1-based numbers; GOT-10k: width or height).

    Raises:
        SourceError: the file cannot be read, its name tells no convention, or a line is not a box.
    """
    if one_based is None:
        if not path.name.startswith("groundtruth"):
            raise SourceError(
                "the name does not tell the convention",
                where=path,
                fix="call it groundtruth_rect.txt (OTB, 1-based) or groundtruth.txt (GOT-10k, 0-based)",
            )
        one_based = path.name.startswith("groundtruth_rect")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"cannot be read ({error})", where=path) from error
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise SourceError("holds no boxes", where=path)
    boxes = np.array([_parse(line, f"{path}:{number}") for number, line in enumerate(lines, 1)])
    checked = boxes if one_based else boxes[:, 2:]
    valid = np.isfinite(boxes).all(1) & (checked > 0).all(1)
    if one_based:
        boxes[:, :2] -= 1
    return GroundTruth(boxes, valid)


def iou(a: FloatRows, b: FloatRows) -> FloatRows:
    """Intersection over union of boxes (n, 4) row by row, float64 (n,); NaN boxes give 0.

    OTB counts pixels, from x to x + w - 1 inclusive; its +1 on intersections makes that the same as
    continuous overlap.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.maximum(a[:, :2], b[:, :2])
        high = np.minimum(a[:, :2] + a[:, 2:] - 1, b[:, :2] + b[:, 2:] - 1)
        overlap = np.maximum(high - low + 1, 0).prod(1)
        union = a[:, 2:].prod(1) + b[:, 2:].prod(1) - overlap
        return np.where(union > 0, overlap / union, 0.0)


def centre_error_px(a: FloatRows, b: FloatRows) -> FloatRows:
    """Distance of the centres of boxes (n, 4) row by row, float64 (n,), in pixels."""
    distance = (a[:, :2] + (a[:, 2:] - 1) / 2) - (b[:, :2] + (b[:, 2:] - 1) / 2)
    return cast(FloatRows, np.hypot(distance[:, 0], distance[:, 1]))


def evaluate(boxes: Mapping[int, Box | None], truth: GroundTruth) -> Score:
    """Score boxes by frame index against `truth`.

    The frames that count are those with valid truth, from the first to the last one that `boxes`
    holds; a frame of those without a box counts as a miss.

    Raises:
        SourceError: no frame counts.
    """
    tracked = [frame for frame, box in boxes.items() if box is not None]
    first, last = (min(tracked), max(boxes)) if tracked else (0, -1)
    frames = [f for f in range(first, min(last + 1, len(truth.valid))) if truth.valid[f]]
    if not frames:
        raise SourceError("no frame has both a track and ground truth")
    nothing = (np.nan,) * 4
    found = np.array([boxes.get(f) or nothing for f in frames], dtype=np.float64)
    expected = truth.boxes[frames]
    success = (iou(found, expected)[:, None] > THRESHOLDS).mean(0)
    precision = (centre_error_px(found, expected)[:, None] <= PRECISION_THRESHOLDS_PX).mean(0)
    return Score(
        frames=len(frames),
        success_auc=float(success.mean()),
        precision_20px=float(precision[PRECISION_PX]),
        success=tuple(success.tolist()),
        precision=tuple(precision.tolist()),
    )


def _parse(line: str, where: str) -> list[float]:
    try:
        values = [float(part) for part in re.split(r"[,\s]+", line.strip())]
    except ValueError as error:
        raise SourceError(f"{line!r:.60} is not a box", where=where, fix="give x,y,w,h") from error
    if len(values) != 4:
        raise SourceError(f"{len(values)} numbers, not the four of a box", where=where, fix="give x,y,w,h")
    return values
