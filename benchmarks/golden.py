"""Parity: boxes of a run against those that the authors' own program gave on the same sequences.

    python -m benchmarks.golden --golden ../shared/data/golden/fECO --sequences ../shared/data/sequences/dev \
        --boxes runs/ope/boxes/feco_authors_float32/dev --out runs/parity/feco

Golden files hold 1-based x,y,w,h per frame, a run's are 0-based. The first frames bind tightly; later a
difference of rounding may send two tracks apart, so there only overlap and AUC are compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import datasets
from benchmarks.ope_report import NO_FIGURE, markdown_table
from benchmarks.store import read_boxes
from edge_runtime.errors import CfvggError, SourceError
from edge_runtime.evaluation import FloatRows, GroundTruth, centre_error_px, evaluate, iou
from edge_runtime.files import write_atomic
from edge_runtime.types import Box

SUCCESS_IOU = 0.5  # the golden track succeeds where it overlaps the truth by more
TIGHT_FRAMES = slice(1, 10)  # frames 2 to 10
APART_PX = 1.0
MIN_MEAN_IOU = 0.85  # of every sequence
MAX_AUC_DIFFERENCE = 0.015  # of the means


@dataclass(frozen=True)
class Parity:
    """How near two tracks of one sequence are.

    Attributes:
        frames: how many were compared.
        golden_succeeds: in how many of them the golden track overlaps the truth by more than `SUCCESS_IOU`.
        mean_iou: of the two tracks over those frames; None without such frames.
        tight_px: largest distance of their centres on frames 2 to 10.
        apart_at: the first frame, from 1, where their centres are more than `APART_PX` apart, or None.
        auc: success AUC of our track.
        golden_auc: success AUC of the golden track.
        auc_difference: ours less golden's.
    """

    sequence: str
    frames: int
    golden_succeeds: int
    mean_iou: float | None
    tight_px: float
    apart_at: int | None
    auc: float
    golden_auc: float
    auc_difference: float


def compare(sequence: str, boxes: FloatRows, golden: FloatRows, truth: GroundTruth) -> Parity:
    """Compare two tracks, float64 (n, 4), 0-based, with each other and with the truth."""
    succeeds = truth.valid & (iou(golden, truth.boxes) > SUCCESS_IOU)
    overlaps, distances_px = iou(boxes, golden), centre_error_px(boxes, golden)
    apart = np.flatnonzero(~(distances_px <= APART_PX))
    auc, golden_auc = (evaluate(_track(rows), truth).success_auc for rows in (boxes, golden))
    return Parity(
        sequence=sequence,
        frames=len(boxes),
        golden_succeeds=int(succeeds.sum()),
        mean_iou=float(overlaps[succeeds].mean()) if succeeds.any() else None,
        tight_px=float(distances_px[TIGHT_FRAMES].max(initial=0)),
        apart_at=int(apart[0]) + 1 if len(apart) else None,
        auc=auc,
        golden_auc=golden_auc,
        auc_difference=auc - golden_auc,
    )


def compare_folders(golden: Path, boxes: Path, sequences: list[datasets.Sequence]) -> list[Parity]:
    """Compare every sequence that both folders have a file of; a shorter track of ours ends the comparison.

    Raises:
        SourceError: there is none, or a file does not belong to its sequence.
    """
    results = []
    for sequence in sequences:
        file, golden_file = boxes / f"{sequence.name}.txt", golden / f"{sequence.name}.txt"
        if not (file.is_file() and golden_file.is_file()):
            continue
        ours, theirs = read_boxes(file), read_boxes(golden_file) - [1, 1, 0, 0]
        if len(ours) > len(theirs) or len(theirs) != len(sequence.frames):
            raise SourceError(
                f"{len(ours)} boxes of ours, {len(theirs)} golden ones and {len(sequence.frames)} frames",
                where=golden_file,
                fix="give the boxes of the same sequence",
            )
        truth = sequence.first(len(ours)).truth
        results.append(compare(sequence.name, ours, theirs[: len(ours)], truth))
    if not results:
        raise SourceError(
            f"has no file of a sequence that {golden} has too",
            where=boxes,
            fix="give boxes/<variant>/<split> of a run",
        )
    return results


def means(results: Sequence[Parity]) -> dict[str, Any]:
    """Means over the sequences; of the distances the largest."""
    ious = [result.mean_iou for result in results if result.mean_iou is not None]
    return {
        "sequences": len(results),
        "mean_iou": float(np.mean(ious)) if ious else None,
        "lowest_iou": min(ious, default=None),
        "tight_px": max(result.tight_px for result in results),
        "auc": float(np.mean([result.auc for result in results])),
        "golden_auc": float(np.mean([result.golden_auc for result in results])),
        "auc_difference": float(np.mean([result.auc_difference for result in results])),
    }


def markdown(results: Sequence[Parity]) -> str:
    """A row a sequence, the means, and what the limits say."""
    head = ["sequence", "frames", "golden succeeds", "mean IoU", "max px, frames 2 to 10"]
    head += [f"> {APART_PX:g} px from frame", "AUC", "golden AUC", "difference"]
    rows = [
        [r.sequence, str(r.frames), str(r.golden_succeeds), _figure(r.mean_iou), f"{r.tight_px:.3f}"]
        + [str(r.apart_at or "never"), f"{r.auc:.3f}", f"{r.golden_auc:.3f}", f"{r.auc_difference:+.4f}"]
        for r in results
    ]
    m = means(results)
    rows.append(
        ["mean (px: largest)", "", "", _figure(m["mean_iou"]), f"{m['tight_px']:.3f}", ""]
        + [f"{m['auc']:.3f}", f"{m['golden_auc']:.3f}", f"{m['auc_difference']:+.4f}"]
    )
    low = [r.sequence for r in results if r.mean_iou is not None and r.mean_iou < MIN_MEAN_IOU]
    near = abs(m["auc_difference"]) <= MAX_AUC_DIFFERENCE
    verdict = (
        f"Mean IoU below {MIN_MEAN_IOU}: {', '.join(low) or 'none'}. Mean AUC is "
        f"{'within' if near else 'not within'} {MAX_AUC_DIFFERENCE} of golden's.\n"
    )
    return f"{markdown_table(head, rows)}\n{verdict}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print the table, write `parity.md` and `parity.json`; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="golden", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--golden", type=Path, required=True, help="folder of <sequence>.txt, 1-based")
    parser.add_argument("--boxes", type=Path, required=True, help="folder of <sequence>.txt, 0-based")
    parser.add_argument("--sequences", type=Path, required=True, help="folder of the sequences")
    parser.add_argument("--out", type=Path, help="folder for parity.md and parity.json")
    args = parser.parse_args(arguments)
    try:
        results = compare_folders(args.golden, args.boxes, datasets.open_splits([args.sequences]))
        print(markdown(results), end="")
        if args.out is not None:
            figures = {"sequences": [asdict(result) for result in results], "mean": means(results)}
            write_atomic(args.out / "parity.json", (json.dumps(figures, indent=1) + "\n").encode())
            write_atomic(args.out / "parity.md", markdown(results).encode())
    except CfvggError as error:
        print(f"golden: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _track(boxes: FloatRows) -> dict[int, Box | None]:
    return {frame: Box(*map(float, box)) for frame, box in enumerate(boxes)}


def _figure(value: float | None) -> str:
    return NO_FIGURE if value is None else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
