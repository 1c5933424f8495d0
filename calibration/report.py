"""How far a model's features are from its original's: figures per level, as JSON, Markdown and a plot."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edge_runtime.errors import AccuracyError
from edge_runtime.manifest import LevelAccuracy
from edge_runtime.types import FloatArray, Frame

LARGEST_DB = 200.0  # reported for identical features
Features = Callable[[Frame], Sequence[FloatArray]]


@dataclass(frozen=True)
class Limits:
    """What an exported model must reach, on every level.

    `min_sqnr_db` is for int8 only: low, middle, conv3, high.
    """

    min_sqnr_db: tuple[float, ...] = (30.0, 28.0, 25.0, 24.0)
    min_cosine: float = 0.99
    max_relative_error: float = 1e-4


@dataclass(frozen=True)
class LevelReport:
    """One level of one model at one input size, against the original.

    Attributes:
        sqnr_db: energy of the features over energy of the difference, in dB.
        cosine: of the angle between all features and the original's.
        max_relative_error: largest difference over the largest original feature.
        channels: how many the level has.
        dead_channels: those that are zero on every crop in the original too.
        silenced_channels: those that only the model has at zero.
        channel_sqnr_db: per live channel.
    """

    level: str
    size_px: int
    sqnr_db: float
    cosine: float
    max_relative_error: float
    channels: int
    dead_channels: tuple[int, ...]
    silenced_channels: tuple[int, ...]
    channel_sqnr_db: tuple[float, ...]


class LevelMeter:
    """Collects one level's features over many crops, without keeping them."""

    def __init__(self, channels: int) -> None:
        self.signal, self.noise, self.output = (np.zeros(channels) for _ in range(3))
        self.product = self.largest = self.largest_error = 0.0

    def add(self, original: FloatArray, model: FloatArray) -> None:
        """Count features (n, rows, columns, channels) of the same crops."""
        a, b = original.astype(np.float64), model.astype(np.float64)
        axes = (0, 1, 2)
        self.signal += (a * a).sum(axes)
        self.output += (b * b).sum(axes)
        self.noise += ((a - b) ** 2).sum(axes)
        self.product += float((a * b).sum())
        self.largest = max(self.largest, float(np.abs(a).max()))
        self.largest_error = max(self.largest_error, float(np.abs(a - b).max()))

    def report(self, level: str, size_px: int) -> LevelReport:
        """The figures so far."""
        live = self.signal > 0
        length = float(np.sqrt(self.signal.sum() * self.output.sum()))
        per_channel = decibels(self.signal[live], self.noise[live])
        return LevelReport(
            level,
            size_px,
            sqnr_db=float(decibels(self.signal.sum(), self.noise.sum())),
            cosine=self.product / length if length else float(not self.noise.any()),
            max_relative_error=self.largest_error / max(self.largest, 1e-30),
            channels=len(live),
            dead_channels=tuple(int(i) for i in np.flatnonzero(~live)),
            silenced_channels=tuple(int(i) for i in np.flatnonzero(live & (self.output == 0))),
            channel_sqnr_db=tuple(float(v) for v in per_channel),
        )


def decibels(signal: Any, noise: Any) -> NDArray[np.float64]:
    """10 log10(signal / noise), within ± `LARGEST_DB`."""
    floor = 1e-30
    ratio = np.maximum(signal, floor) / np.maximum(noise, floor)
    return np.asarray(np.clip(10 * np.log10(ratio), -LARGEST_DB, LARGEST_DB))


def measure(
    original: Features, model: Features, crops: NDArray[np.uint8], levels: Sequence[str]
) -> list[LevelReport]:
    """Compare two ways to get features (per level (n, rows, columns, channels)) of uint8 BGR crops."""
    meters: list[LevelMeter] = []
    for index in range(len(crops)):
        expected, found = original(crops[index : index + 1]), model(crops[index : index + 1])
        meters = meters or [LevelMeter(features.shape[3]) for features in expected]
        for meter, a, b in zip(meters, expected, found, strict=True):
            meter.add(a, b)
    size_px = crops.shape[1]
    return [meter.report(level, size_px) for meter, level in zip(meters, levels, strict=True)]


def worst(reports: Sequence[LevelReport], levels: Sequence[str]) -> tuple[LevelAccuracy, ...]:
    """Per level, the worst figures over all sizes."""
    by_level = {level: [r for r in reports if r.level == level] for level in levels}
    return tuple(
        LevelAccuracy(
            level,
            sqnr_db=round(min(r.sqnr_db for r in group), 2),
            cosine=round(min(r.cosine for r in group), 6),
            max_relative_error=float(f"{max(r.max_relative_error for r in group):.3g}"),
        )
        for level, group in by_level.items()
    )


def check(model: str, reports: Sequence[LevelReport], limits: Limits, levels: Sequence[str]) -> None:
    """Hold one model ("onnx", "float32" or "int8") against the limits.

    Raises:
        AccuracyError: a figure is beyond its limit; the line names the first.
    """
    fix = "calibrate with more and broader pictures (--calibration), or set other limits"
    for r in reports:
        where = f"{model} model, level {r.level} at {r.size_px} px"
        smallest_db = limits.min_sqnr_db[levels.index(r.level)]
        if model == "int8" and not r.sqnr_db >= smallest_db:
            raise AccuracyError(f"SQNR is {r.sqnr_db:.1f} dB, limit {smallest_db:g}", where=where, fix=fix)
        if not r.cosine >= limits.min_cosine:
            raise AccuracyError(
                f"cosine is {r.cosine:.4f}, limit {limits.min_cosine:g}", where=where, fix=fix
            )
        if model != "int8" and not r.max_relative_error <= limits.max_relative_error:
            raise AccuracyError(
                f"largest error is {r.max_relative_error:.2g}, limit {limits.max_relative_error:g}",
                where=where,
                fix="the conversion is wrong: please report it",
            )


def to_json(models: dict[str, list[LevelReport]], limits: Limits, crops: dict[str, Any]) -> str:
    """Everything that was measured; `crops` says what it was measured on."""
    content = {
        "limits": asdict(limits),
        "crops": crops,
        "models": {name: [asdict(report) for report in reports] for name, reports in models.items()},
    }
    return json.dumps(content, indent=1) + "\n"


def to_markdown(models: dict[str, list[LevelReport]], limits: Limits, crops: dict[str, Any]) -> str:
    """The same for people."""
    lines = [
        "# Accuracy against the float32 original in torch",
        "",
        "| model | level | input px | SQNR dB | cosine | max relative error | channels | dead | silenced |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {r.level} | {r.size_px} | {r.sqnr_db:.1f} | {r.cosine:.5f} | {r.max_relative_error:.2g} "
        f"| {r.channels} | {len(r.dead_channels)} | {len(r.silenced_channels)} |"
        for name, reports in models.items()
        for r in reports
    ]
    lines += [
        "",
        "Dead: channels that are zero on every crop in the original. Silenced: zero only in the model.",
        f"Limits: SQNR of int8 at least {', '.join(f'{v:g}' for v in limits.min_sqnr_db)} dB (low, middle, "
        f"conv3, high), cosine at least {limits.min_cosine:g}, max relative error of the others at most "
        f"{limits.max_relative_error:g}.",
    ]
    for purpose, facts in crops.items():
        names = ", ".join(facts["pictures"])
        lines += ["", f"**{purpose}**: {facts['count']} crops of {len(facts['pictures'])} pictures: {names}."]
    return "\n".join(lines) + "\n"


def to_png(models: dict[str, list[LevelReport]], limits: Limits, levels: Sequence[str]) -> bytes:
    """A plot: SQNR of whole levels per model, and of single channels of the last model."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    bars, dots = figure.subplots(1, 2)
    width = 0.8 / len(models)
    for number, (name, reports) in enumerate(models.items()):
        values = [accuracy.sqnr_db for accuracy in worst(reports, levels)]
        bars.bar(np.arange(len(levels)) + (number + 0.5) * width - 0.4, values, width, label=name)
    last, reports = list(models.items())[-1]
    for index, level in enumerate(levels):
        group = [r for r in reports if r.level == level]
        bars.hlines(limits.min_sqnr_db[index], index - 0.4, index + 0.4, "black", "dashed")
        values = sorted(group[-1].channel_sqnr_db)
        dots.plot(np.linspace(0, 1, len(values)), values, ".-", label=level)
    bars.set_xticks(range(len(levels)), levels)
    bars.set(ylabel="SQNR (dB), worst input size", title="Levels (dashed: int8 limit)")
    dots.set(xlabel="share of the live channels", ylabel="SQNR (dB)", title=f"Channels of {last}")
    bars.legend()
    dots.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")  # a bare Figure draws with Agg
    return buffer.getvalue()
