"""Names of trackers, and the settings that each starts from. Light to import, for command lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from edge_runtime.config import TrackerConfig

PresetName = Literal["fkcf", "kcf", "feco", "eco-hc", "fdeepstrcf", "strcf"]
FAMILIES: dict[str, Literal["kcf", "eco", "strcf"]] = {
    "fkcf": "kcf",
    "kcf": "kcf",
    "feco": "eco",
    "eco-hc": "eco",
    "fdeepstrcf": "strcf",
    "strcf": "strcf",
}

CNN_PREFIX = "cnn:"  # of features that a network computes

# What a preset changes in its family's settings, whose defaults are fkcf's, feco's and fdeepstrcf's.
PRESETS: dict[str, Mapping[str, Any]] = {
    "fkcf": {},
    "kcf": {
        "feature": "hog",
        "kernel": "gaussian",
        "search_scale": 2.5,
        "label_sigma": 0.1,
        "scale_filter": False,
    },
    "feco": {},
    "eco-hc": {
        "features": ["hog", "gray"],
        "pooling": [1, 1],
        "channels": [10, 1],
        "search_scale": 4.0,
        "min_area_px": 150.0**2,
        "max_area_px": 200.0**2,
        "samples": 30,
        "learning_rate": 0.009,
    },
    "fdeepstrcf": {},
    "strcf": {"features": ["hog", "gray"], "window_cells_px": [4.0], "temporal": [15.0]},
}


def network_levels(config: TrackerConfig) -> tuple[str, ...]:
    """The network's levels that the configured tracker takes; () without a network."""
    family = FAMILIES[config.preset]
    names = (config.kcf.feature,) if family == "kcf" else getattr(config, family).features
    return tuple(name.removeprefix(CNN_PREFIX) for name in names if name.startswith(CNN_PREFIX))


def with_preset(data: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as read from a file, with what their `tracker.preset` changes filled in below them.

    What is not a table, or no known preset, is left for the type check to refuse.
    """
    tracker = data.get("tracker", {})
    preset = tracker.get("preset") if isinstance(tracker, dict) else None
    if not isinstance(preset, str) or preset not in PRESETS:
        return dict(data)
    family = FAMILIES[preset]
    given = tracker.get(family, {})
    if not isinstance(given, dict):
        return dict(data)
    return {**data, "tracker": {**tracker, family: {**PRESETS[preset], **given}}}
