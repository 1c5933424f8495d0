"""Success and precision curves with published scores beside them, and bars of AUC, as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.ope_report import Report
from edge_runtime.evaluation import PRECISION_PX, PRECISION_THRESHOLDS_PX, THRESHOLDS

# The same preset has the same colour in every plot; relatives are neighbours (Okabe and Ito's palette).
PRESET_COLOURS = {
    "feco": "#0072B2",
    "eco-hc": "#56B4E9",
    "fdeepstrcf": "#D55E00",
    "strcf": "#E69F00",
    "fkcf": "#009E73",
    "kcf": "#CC79A7",
}
OTHER_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C564B")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (9, 2)), (0, (3, 1)))
GREY, LIGHT = "#555555", "#B5B5B5"
DPI = 130
LEGEND_ROWS = 9  # more lines than this go below the plot


@dataclass(frozen=True)
class Curve:
    """A variant's mean curve, and the score that stands for it."""

    label: str
    values: Sequence[float]
    score: float


@dataclass(frozen=True)
class Axis:
    """What a plot of curves shows along x and y, what its score is called, and the x it is read at."""

    title: str
    x: Sequence[float]
    x_label: str
    y_label: str
    score_name: str
    legend_place: str
    score_x: float | None = None


SUCCESS = Axis(
    title="Success",
    x=THRESHOLDS.tolist(),
    x_label="overlap threshold",
    y_label="share of frames with a larger overlap",
    score_name="AUC",
    legend_place="lower left",
)
PRECISION = Axis(
    title="Precision",
    x=PRECISION_THRESHOLDS_PX.tolist(),
    x_label="centre error threshold, px",
    y_label="share of frames with at most this error",
    score_name="P20",
    legend_place="lower right",
    score_x=PRECISION_PX,
)


def split_charts(report: Report, split: str) -> dict[str, bytes]:
    """PNGs by name: success, precision and bars of AUC; none where nothing could be scored."""
    count, figures = len(report.splits[split]), {}
    for variant in report.variants:
        values = report.summaries.get((variant, split), {})
        if values.get("success"):
            complete = values["sequences"] == count
            figures[variant if complete else f"{variant} ({values['sequences']} of {count})"] = values
    if not figures:
        return {}
    published = {p.tracker: p.summary() for p in report.published if p.split == split}
    title = f"{split}, {count} sequence{'s' if count > 1 else ''}, one pass"
    charts = {}
    for name, score, axis in (("success", "auc", SUCCESS), ("precision", "p20", PRECISION)):
        curves = [Curve(variant, values[name], values[score]) for variant, values in figures.items()]
        others = {tracker: values[score] for tracker, values in published.items()}
        charts[name] = curves_png(f"{axis.title}, {title}", axis, curves, others)
    ours = {variant: values["auc"] for variant, values in figures.items()}
    others = {tracker: values["auc"] for tracker, values in published.items()}
    return charts | {"auc": bars_png(f"Success AUC, {title}", ours, others)}


def curves_png(title: str, axis: Axis, curves: Sequence[Curve], published: Mapping[str, float]) -> bytes:
    """Curves of ours, best first in the legend; beside them a strip with everybody's scores.

    The strip shares the vertical axis. Of published trackers only the score is known, so they have a mark
    there and no curve.
    """
    ranked = sorted(curves, key=lambda curve: -curve.score)
    styles = line_styles([curve.label for curve in curves])
    below = len(curves) > LEGEND_ROWS
    extra_in = 0.2 * -(-len(curves) // 2) if below else 0.0
    figure = Figure(figsize=(9.2, 5.4 + extra_in), dpi=DPI, layout="constrained")
    widths = [5, 1.9] if published else [1, 0.001]
    plot, strip = figure.subplots(1, 2, sharey=True, width_ratios=widths)
    for curve in ranked:
        label = f"{curve.label}  [{curve.score:.3f}]"
        plot.plot(axis.x, curve.values, label=label, linewidth=1.8, **styles[curve.label])
    if axis.score_x is not None:
        plot.axvline(axis.score_x, color=LIGHT, linewidth=0.9, zorder=0)
    plot.set(
        xlim=(min(axis.x), max(axis.x)), ylim=(0, 1), xlabel=axis.x_label, ylabel=axis.y_label, title=title
    )
    plot.set_yticks(np.linspace(0, 1, 11))
    plot.grid(color="#E4E4E4", linewidth=0.7)
    plot.set_axisbelow(True)
    heading = {"title": f"ours  [{axis.score_name}]", "title_fontsize": 8.5, "fontsize": 8.5}
    if below:
        figure.legend(loc="outside lower center", ncols=2, frameon=False, **heading)
    else:
        plot.legend(loc=axis.legend_place, framealpha=0.9, edgecolor="#DDDDDD", **heading)
    if published:
        _score_strip(strip, axis.score_name, ranked, styles, published)
    else:
        strip.set_axis_off()
    return _png(figure)


def bars_png(title: str, ours: Mapping[str, float], published: Mapping[str, float]) -> bytes:
    """Horizontal bars of AUC, best on top."""
    styles = line_styles(list(ours))
    rows = [(auc, label, styles[label]["color"], True) for label, auc in ours.items()]
    rows += [(auc, label, LIGHT, False) for label, auc in published.items()]
    rows.sort(key=lambda row: (row[0], row[3]))
    figure = Figure(figsize=(8.2, 1.2 + 0.27 * len(rows)), dpi=DPI, layout="constrained")
    plot = figure.subplots()
    for place, (auc, _, colour, own) in enumerate(rows):
        plot.barh(place, auc, height=0.74, color=colour)
        plot.text(auc + 0.006, place, f"{auc:.3f}", va="center", fontsize=8.5, weight="bold" if own else None)
    plot.set_yticks(range(len(rows)), [label for _, label, _, _ in rows], fontsize=8.5)
    for tick, (_, _, _, own) in zip(plot.get_yticklabels(), rows, strict=True):
        tick.set(weight="bold" if own else "normal", color="black" if own else GREY)
    best = max((row[0] for row in rows), default=1)
    plot.set(xlim=(0, best * 1.1 or 1), ylim=(-0.6, len(rows) - 0.4), xlabel="success AUC", title=title)
    plot.grid(axis="x", color="#E4E4E4", linewidth=0.7)
    plot.set_axisbelow(True)
    plot.spines[["top", "right", "left"]].set_visible(False)
    plot.tick_params(axis="y", length=0)
    if published:
        note = "bold, coloured: measured here    grey: published scores"
        plot.text(1, 0.01, note, transform=plot.transAxes, ha="right", fontsize=8, color=GREY)
    return _png(figure)


def line_styles(labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour by preset, the label's first word, and dashes within it; by label if there is one preset."""
    presets = [label.split(" ")[0] for label in labels]
    if len(set(presets)) == 1 < len(labels):
        colours = OTHER_COLOURS
        return {
            label: {"color": colours[i % len(colours)], "linestyle": DASHES[i // len(colours) % len(DASHES)]}
            for i, label in enumerate(labels)
        }
    styles: dict[str, dict[str, Any]] = {}
    seen: dict[str, int] = {}
    for label, preset in zip(labels, presets, strict=True):
        count = seen.setdefault(preset, 0)
        seen[preset] += 1
        colour = PRESET_COLOURS.get(preset, "#000000")
        styles[label] = {"color": colour, "linestyle": DASHES[count % len(DASHES)]}
    return styles


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places as near as can be to those given, in the same order, at least `gap` apart, in [low, high].

    Neighbours that are too close share their mean place, and so on (pool adjacent violators).
    """
    order = np.argsort(places, kind="stable")
    groups: list[list[float]] = []  # mean of the places less their share of gaps, and how many
    for rank, index in enumerate(order):
        groups.append([places[index] - rank * gap, 1])
        while len(groups) > 1 and groups[-2][0] > groups[-1][0]:
            mean, count = groups.pop()
            groups[-1] = [
                (groups[-1][0] * groups[-1][1] + mean * count) / (groups[-1][1] + count),
                groups[-1][1] + count,
            ]
    bases = [mean for mean, count in groups for _ in range(int(count))]
    top = high - (len(places) - 1) * gap
    moved = [min(max(base, low), max(top, low)) + rank * gap for rank, base in enumerate(bases)]
    result = [0.0] * len(places)
    for place, index in zip(moved, order, strict=True):
        result[index] = place
    return result


def _score_strip(
    strip: Any,
    score_name: str,
    curves: Sequence[Curve],
    styles: Mapping[str, Mapping[str, Any]],
    published: Mapping[str, float],
) -> None:
    """Marks at the height of each score: ours filled in their colours, published ones hollow and named."""
    strip.set_title(score_name, fontsize=10)
    for curve in curves:
        colour = styles[curve.label]["color"]
        strip.plot(0.06, curve.score, "o", color=colour, markeredgecolor="white", markersize=7, clip_on=False)
    heights = spread(list(published.values()), 0.031, 0.02, 0.98)
    for (name, score), height in zip(published.items(), heights, strict=True):
        strip.plot(0.16, score, "<", markeredgecolor=GREY, markerfacecolor="white", markersize=5)
        strip.plot([0.19, 0.27], [score, height], color=LIGHT, linewidth=0.8)
        strip.text(0.29, height, f"{name}  {score:.3f}", fontsize=8, color=GREY, va="center")
    strip.set(xlim=(0, 1), xticks=[])
    strip.set_xlabel("● ours   ◁ published\n(scores only, no curves)", fontsize=8, color=GREY)
    strip.tick_params(axis="y", length=0)
    strip.grid(axis="y", color="#E4E4E4", linewidth=0.7)
    strip.set_axisbelow(True)
    strip.spines[["top", "right", "bottom"]].set_visible(False)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")  # a bare Figure draws with Agg
    return buffer.getvalue()
