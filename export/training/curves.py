"""The log as a picture, and the pairs that are trained on."""

from __future__ import annotations

import io
from collections.abc import Sequence

import cv2
from matplotlib.figure import Figure

from export.pairs.dataset import PairCrops
from export.pairs.sheet import contact_sheet
from export.training.checkpoint import Row

CURVES, SHEET = "curves.png", "pairs.jpg"
SHOWN_PAIRS = 24


def to_png(rows: Sequence[Row]) -> bytes:
    """Losses (training dashed, validation solid), targets found and the trackers' AUC over the steps."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    for number, name in enumerate(name for name in rows[0] if f"validation {name}" in rows[0]):
        colour = f"C{number}"
        losses.plot(*_curve(rows, name), color=colour, linestyle="dashed", linewidth=1)
        losses.plot(*_curve(rows, f"validation {name}"), color=colour, label=name)
    losses.set(xlabel="step", ylabel="loss (dashed: training, solid: held out)", title="Losses")
    losses.legend()
    shown = [name for row in rows for name in row if name.startswith(("AUC ", "validation located "))]
    for name in dict.fromkeys(shown):
        scores.plot(*_curve(rows, name), "o-", markersize=3, label=name.removeprefix("validation "))
    scores.set(xlabel="step", ylabel="mean success AUC, share of targets located", title="On held-out data")
    if shown:
        scores.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")  # a bare Figure draws with Agg
    return buffer.getvalue()


def sheet_of(pairs: PairCrops) -> bytes:
    """The first pairs as a JPEG picture."""
    shown = contact_sheet(pairs[index] for index in range(min(SHOWN_PAIRS, len(pairs))))
    return cv2.imencode(".jpg", shown)[1].tobytes()


def _curve(rows: Sequence[Row], name: str) -> tuple[list[float], list[float]]:
    found = [(row["step"], row[name]) for row in rows if name in row]
    return [step for step, _ in found], [value for _, value in found]
