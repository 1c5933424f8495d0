"""Scores of kept boxes: OTB's by sequence and split, GOT-10k's where the data are in its layout."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence as Several
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.datasets import got10k
from benchmarks.datasets.base import Sequence
from edge_runtime.errors import SourceError
from edge_runtime.evaluation import FloatRows, Score, evaluate, iou
from edge_runtime.types import Box

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, eq=False)
class Scored:
    """One sequence of one variant.

    Attributes:
        score: OTB's; None where only the first box is known.
        overlaps: float64 (n,): GOT-10k's IoU of the frames that count there; empty in other layouts.
        times_ms: float64 (n,) of the frames after the first; empty if nobody kept them.
        row: the line of the log, empty if the boxes came from elsewhere.
    """

    variant: str
    sequence: Sequence
    boxes: FloatRows
    score: Score | None
    overlaps: FloatRows
    init_ms: float | None
    times_ms: FloatRows
    row: dict[str, Any]


def score_track(
    *,
    variant: str,
    sequence: Sequence,
    boxes: FloatRows,
    times_ms: FloatRows | None,
    row: dict[str, Any] | None,
    frame_size: tuple[int, int],
) -> Scored:
    """Score the boxes of a whole sequence.

    Args:
        times_ms: of every frame, the first of which is `init`'s.
        frame_size: width, height in pixels, for GOT-10k's overlap.

    Raises:
        SourceError: there is not one box for each frame.
    """
    if len(boxes) != len(sequence.frames):
        raise SourceError(
            f"{len(boxes)} boxes for {len(sequence.frames)} frames",
            where=f"{variant}, {sequence.split}/{sequence.name}",
            fix="run without --score-only, or with the same --frames",
        )
    times = times_ms if times_ms is not None else np.empty(0)
    score = None
    if sequence.has_truth:
        score = evaluate({i: Box(*map(float, box)) for i, box in enumerate(boxes)}, sequence.truth)
    is_got10k = sequence.layout == got10k.NAME and sequence.has_truth
    overlaps = got10k_overlaps(boxes, sequence, frame_size) if is_got10k else np.empty(0)
    init_ms = float(times[0]) if len(times) else None
    return Scored(variant, sequence, boxes, score, overlaps, init_ms, times[1:], row or {})


def got10k_overlaps(boxes: FloatRows, sequence: Sequence, frame_size: tuple[int, int]) -> FloatRows:
    """IoU of boxes (n, 4) with the truth on the frames that count, the first left out, float64 (m,).

    GOT-10k's toolkit moves corners into the frame, and then cuts what reaches out of it.
    """
    counts = sequence.truth.valid.copy()
    counts[0] = False
    found, expected = (_inside(rows[counts], frame_size) for rows in (boxes, sequence.truth.boxes))
    return iou(found, expected)


def _inside(boxes: FloatRows, frame_size: tuple[int, int]) -> FloatRows:
    corner = np.clip(boxes[:, :2], 0, frame_size)
    return np.hstack([corner, np.clip(boxes[:, 2:], 0, np.array(frame_size) - corner)])


def sequence_figures(scored: Scored) -> dict[str, Any]:
    """Scores and speed of one sequence."""
    score = scored.score
    return {
        "frames": len(scored.boxes),
        "frames_scored": score.frames if score else 0,
        "auc": score.success_auc if score else None,
        "p20": score.precision_20px if score else None,
        **overlap_figures(scored.overlaps),
        "init_ms": scored.init_ms,
        **speed_figures(scored.times_ms),
        "peak_rss_mb": scored.row.get("peak_rss_mb"),
    }


def summary(several: Several[Scored]) -> dict[str, Any]:
    """Means over the sequences of one variant and split; speed and GOT-10k's figures over all frames."""
    scores = [scored.score for scored in several if scored.score]
    rss = [scored.row["peak_rss_mb"] for scored in several if "peak_rss_mb" in scored.row]
    init_ms = [scored.init_ms for scored in several if scored.init_ms is not None]
    states: Counter[str] = sum((Counter(scored.row.get("states", {})) for scored in several), Counter())
    return {
        "sequences": len(several),
        "frames": sum(len(scored.boxes) for scored in several),
        "auc": _mean([score.success_auc for score in scores]),
        "p20": _mean([score.precision_20px for score in scores]),
        **overlap_figures(np.concatenate([scored.overlaps for scored in several])),
        "init_ms": _mean(init_ms),
        **speed_figures(np.concatenate([scored.times_ms for scored in several])),
        "peak_rss_mb": max(rss, default=None),
        "states": dict(states),
        "success": np.mean([score.success for score in scores], 0).tolist() if scores else None,
        "precision": np.mean([score.precision for score in scores], 0).tolist() if scores else None,
    }


def by_attribute(several: Several[Scored]) -> dict[str, tuple[float, int]]:
    """Mean AUC over the sequences that have an attribute, and how many they are, by attribute."""
    aucs: dict[str, list[float]] = defaultdict(list)
    for scored in several:
        if scored.score is not None:
            for attribute in scored.sequence.attributes:
                aucs[attribute].append(scored.score.success_auc)
    return {attribute: (float(np.mean(values)), len(values)) for attribute, values in sorted(aucs.items())}


def overlap_figures(overlaps: FloatRows) -> dict[str, float]:
    """GOT-10k's average overlap and success rates of overlaps (n,); nothing without overlaps."""
    if not len(overlaps):
        return {}
    return {
        "ao": float(overlaps.mean()),
        "sr50": float((overlaps > 0.5).mean()),
        "sr75": float((overlaps > 0.75).mean()),
    }


def speed_figures(times_ms: FloatRows) -> dict[str, float | None]:
    """Frames over wall time, and percentiles of the time of a frame, of times (n,) in milliseconds.

    All are None where nothing was timed.
    """
    figures: dict[str, float | None] = dict.fromkeys(("fps", *(f"p{p}_ms" for p in PERCENTILES)))
    if times_ms.any():
        figures["fps"] = float(1000 * len(times_ms) / times_ms.sum())
        for percent, value in zip(PERCENTILES, np.percentile(times_ms, PERCENTILES), strict=True):
            figures[f"p{percent}_ms"] = float(value)
    return figures


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
