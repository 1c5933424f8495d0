"""From what `speed.py` measured to figures, and to a table of them."""

from __future__ import annotations

import datetime
import math
import os
import platform
from collections.abc import Sequence as Several
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from benchmarks.datasets.base import Sequence
from benchmarks.measure import cpu_model
from benchmarks.revision import git_revision
from edge_runtime.evaluation import FloatRows, Score, evaluate
from edge_runtime.types import Box

PERCENTILES = (50, 95, 99)
REFERENCE = "CSRT"  # what ratios refer to
TENTH = 10
DECIMALS = 4


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass of one tracker over one sequence: `answer` is that of `speed_worker.Worker.run`."""

    sequence: Sequence
    frames_mb: float
    answer: dict[str, Any]

    @property
    def update_ms(self) -> FloatRows:
        """Float64 (updates,): milliseconds inside the tracker."""
        return np.array(self.answer["update_ms"])

    @property
    def cpu_ms(self) -> FloatRows:
        """Float64 (updates,): milliseconds of CPU time in the same updates."""
        return np.array(self.answer["cpu_ms"])


def summarise(
    name: str, about: dict[str, Any], passes: Several[Pass], *, looped: bool, stages: bool
) -> dict[str, Any]:
    """The figures of one tracker.

    Args:
        about: goes into the row as it is.
        passes: in the order in which they were made.
        looped: whether they went on after the last frame; there is no score then, but growth.
        stages: whether times by stage belong in the row.
    """
    peak_mb = passes[-1].answer["peak_rss_mb"]
    frames_mb = max(p.frames_mb for p in passes)
    names = list(dict.fromkeys(p.sequence.name for p in passes))
    sequences = [_of_sequence([p for p in passes if p.sequence.name == n], looped) for n in names]
    row = {"tracker": name} | about | _times(passes)
    row |= {
        "init_ms": float(np.median([p.answer["init_ms"] for p in passes])),
        "init_first_ms": passes[0].answer["init_ms"],
        "peak_rss_mb": peak_mb,
        "frames_mb": frames_mb,
        "peak_rss_without_frames_mb": peak_mb - frames_mb,
        "auc": _mean([s["auc"] for s in sequences]),
        "p20": _mean([s["p20"] for s in sequences]),
        "sequences": sequences,
    }
    if looped:
        row["growth"] = {
            key: max(s["growth"][key] for s in sequences) for key in ("cpu_time_ratio", "rss_mb")
        }
    if stages:
        row["stages_ms"] = _stages(passes)
    return row


def assemble(
    rows: Several[dict[str, Any]], sequences: Several[Sequence], options: dict[str, Any]
) -> dict[str, Any]:
    """The whole report: the machine, what was asked for, a row for each tracker with its ratio to CSRT."""
    reference = next((row for row in rows if row["tracker"] == REFERENCE), {})
    report = {
        "created_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "revision": git_revision(),
        "cpu": cpu_model(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "core": options["core"],
        "threads": 1,
        "repeats": options["repeats"],
        "looped_to": options["loop_to"],
        "sequences": {sequence.name: len(sequence.frames) for sequence in sequences},
        "trackers": [row | _ratios(row, reference) for row in rows],
    }
    return cast(dict[str, Any], _rounded(report))


def table(report: dict[str, Any]) -> str:
    """A line for each tracker, widths fitted."""
    columns = {
        "tracker": "{}", "init_ms": "{:.1f}", "p50_ms": "{:.2f}", "p95_ms": "{:.2f}", "p99_ms": "{:.2f}",
        "fps": "{:.1f}", "ratio_to_csrt": "{:.2f}", "fps_found": "{:.1f}", "ratio_found_to_csrt": "{:.2f}",
        "found_share": "{:.2f}", "cpu_share": "{:.2f}", "fps_cpu": "{:.1f}", "peak_rss_mb": "{:.0f}",
        "peak_rss_without_frames_mb": "{:.0f}", "auc": "{:.3f}",
    }  # fmt: skip
    heads = (
        "tracker", "init ms", "p50 ms", "p95 ms", "p99 ms", "FPS", "x CSRT", "found: FPS", "x CSRT",
        "share", "CPU share", "CPU FPS", "peak MB", "less frames", "AUC",
    )  # fmt: skip
    rows: list[tuple[str, ...]] = [heads]
    for row in report["trackers"]:
        cells = ((form, row[key]) for key, form in columns.items())
        rows.append(tuple("" if value is None else form.format(value) for form, value in cells))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows]
    for row in report["trackers"]:
        lines += [_growth_line(row["tracker"], part) for part in row["sequences"] if "growth" in part]
        for stage, ms in row.get("stages_ms", {}).items():
            lines.append(f"{row['tracker']}: {stage} {ms:.3f} ms")
    return "\n".join(lines)


def _times(passes: Several[Pass]) -> dict[str, Any]:
    """Figures of all updates of some passes.

    `cpu_share` under 1 means that the core was shared; `fps_cpu` is by CPU time, so about what a core of its
    own would give. OpenCV's trackers return at once when they have lost
    their target, and count as fast for it: `fps_found` is that of the updates that gave a box.
    """
    update_ms = np.concatenate([p.update_ms for p in passes])
    found = np.array([box is not None for p in passes for box in p.answer["boxes"]])
    cpu_ms = np.concatenate([p.cpu_ms for p in passes])
    wall_s = sum(p.answer["wall_s"] for p in passes)
    figures = {f"p{q}_ms": float(np.percentile(update_ms, q)) for q in PERCENTILES}
    return figures | {
        "updates": len(update_ms),
        "found_share": float(found.mean()),
        "fps": len(update_ms) / wall_s,
        "fps_found": float(1e3 / update_ms[found].mean()) if found.any() else None,
        "fps_passes": [len(p.answer["update_ms"]) / p.answer["wall_s"] for p in passes],
        "fps_cpu": float(1e3 / cpu_ms.mean()),
        "cpu_share": float(cpu_ms.sum() / update_ms.sum()),
    }


def _of_sequence(passes: Several[Pass], looped: bool) -> dict[str, Any]:
    score = None if looped else _score(passes[0])
    row = {"sequence": passes[0].sequence.name} | _times(passes)
    row |= {"auc": score.success_auc if score else None, "p20": score.precision_20px if score else None}
    if looped:
        row["growth"] = _growth(passes[0])
    return row


def _score(one: Pass) -> Score | None:
    """Of the first pass: a tracker is expected to do the same each time. None without ground truth."""
    if not one.sequence.has_truth:
        return None
    boxes: dict[int, Box | None] = {0: one.sequence.first_box()}
    boxes |= {n: Box(*box) if box else None for n, box in enumerate(one.answer["boxes"], 1)}
    return evaluate(boxes, one.sequence.truth)


def _growth(one: Pass) -> dict[str, float | None]:
    """Median CPU time and mean memory of the first and of the last tenth of a pass.

    Not wall time: what else ran at the end and not at the start would count as growth. A tracker that drifts
    onto something larger takes longer without growing, so the size of the boxes is told as well.
    """
    updates = len(one.cpu_ms)
    tenth = max(updates // TENTH, 1)
    first_ms, last_ms = (float(np.median(part)) for part in (one.cpu_ms[:tenth], one.cpu_ms[-tenth:]))
    boxes = one.answer["boxes"]
    numbers, memory_mb = np.array(one.answer["rss_mb"]).T
    first_mb = float(memory_mb[numbers < tenth].mean())
    last_mb = float(memory_mb[numbers >= min(updates - tenth, numbers.max())].mean())
    return {
        "first_cpu_ms": first_ms,
        "last_cpu_ms": last_ms,
        "cpu_time_ratio": last_ms / first_ms,
        "first_rss_mb": first_mb,
        "last_rss_mb": last_mb,
        "rss_mb": last_mb - first_mb,
        "first_box_px": _side_px(boxes[:tenth]),
        "last_box_px": _side_px(boxes[-tenth:]),
    }


def _growth_line(tracker: str, part: dict[str, Any]) -> str:
    growth = part["growth"]
    sizes = " to ".join(
        "none" if size is None else f"{size:.0f}" for size in (growth["first_box_px"], growth["last_box_px"])
    )
    return (
        f"{tracker}, {part['sequence']}: the last tenth takes {growth['cpu_time_ratio']:.3f} of the first "
        f"one's CPU time, memory {growth['rss_mb']:+.1f} MB, boxes {sizes} px"
    )


def _side_px(boxes: Several[Any]) -> float | None:
    """Median of the square root of the area; None if there is no box."""
    sides = [math.sqrt(box[2] * box[3]) for box in boxes if box is not None]
    return float(np.median(sides)) if sides else None


def _stages(passes: Several[Pass]) -> dict[str, float]:
    """Mean milliseconds a frame by stage, the rest of the time last; empty if nobody counted."""
    updates = sum(len(p.answer["update_ms"]) for p in passes)
    totals: dict[str, float] = {}
    for one in passes:
        for stage, ms in one.answer["stage_ms"].items():
            totals[stage] = totals.get(stage, 0.0) + ms / updates
    if totals:
        totals["other"] = sum(p.update_ms.sum() for p in passes) / updates - sum(totals.values())
    return {stage: float(ms) for stage, ms in totals.items()}


def _ratios(row: dict[str, Any], reference: dict[str, Any]) -> dict[str, float | None]:
    ratios = {}
    for ratio, key in (("ratio_to_csrt", "fps"), ("ratio_found_to_csrt", "fps_found")):
        known = row[key] and reference.get(key)
        ratios[ratio] = row[key] / reference[key] if known else None
    return ratios


def _rounded(value: Any) -> Any:
    """Floats, however deep, to what a reader can use."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(value, DECIMALS) if isinstance(value, float) else value


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
