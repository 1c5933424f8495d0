"""The trackers in NumPy by preset, as `edge_runtime.trackers.make_tracker` makes the compiled ones."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.config import Config
from edge_runtime.features import FeatureExtractor
from edge_runtime.trackers.colour import load_colour_names
from edge_runtime.trackers.confidence_models import confidence_model
from edge_runtime.trackers.presets import FAMILIES
from edge_runtime.types import Tracker
from tests.oracle.eco import EcoTracker
from tests.oracle.kcf import KcfTracker
from tests.oracle.strcf import StrcfTracker


def make_tracker(config: Config, extractor: FeatureExtractor | None) -> Tracker:
    settings = config.tracker
    model = confidence_model(settings)
    table = load_colour_names(Path(settings.colour_names)) if settings.colour_names else None
    family = FAMILIES[settings.preset]
    if family == "kcf":
        return KcfTracker(settings.kcf, extractor, model)
    if family == "eco":
        return EcoTracker(settings.eco, extractor, model, table)
    return StrcfTracker(settings.strcf, extractor, model, table)
