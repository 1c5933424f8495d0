"""Correlation-filter trackers, by preset name: KCF, ECO and STRCF, on network or hand-crafted features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

# What makes a tracker is imported when one is made: reading settings needs none of it.
if TYPE_CHECKING:
    from edge_runtime.config import Config
    from edge_runtime.features import FeatureExtractor
    from edge_runtime.types import Tracker


def make_tracker(config: Config, extractor: FeatureExtractor | None) -> Tracker:
    """The tracker that `config.tracker` asks for.

    Args:
        extractor: a network's features, see `features.configured_features`; None if the tracker needs none.

    Raises:
        ConfigError: a feature is unknown, the network has not its level, or what it needs is not given.
    """
    from edge_runtime.trackers.colour import load_colour_names  # noqa: PLC0415
    from edge_runtime.trackers.confidence_models import confidence_model  # noqa: PLC0415
    from edge_runtime.trackers.eco import EcoTracker  # noqa: PLC0415
    from edge_runtime.trackers.kcf import KcfTracker  # noqa: PLC0415
    from edge_runtime.trackers.presets import FAMILIES  # noqa: PLC0415
    from edge_runtime.trackers.strcf import StrcfTracker  # noqa: PLC0415

    settings = config.tracker
    model = confidence_model(settings)
    table = load_colour_names(Path(settings.colour_names)) if settings.colour_names else None
    family = FAMILIES[settings.preset]
    if family == "kcf":
        return KcfTracker(settings.kcf, extractor, model)
    if family == "eco":
        return EcoTracker(settings.eco, extractor, model, table)
    return StrcfTracker(settings.strcf, extractor, model, table)


def build_tracker(config: Config) -> Tracker:
    """The tracker that `config.tracker` and `config.adapt` ask for, on the bundle of `config.model`, if any.

    Raises:
        ConfigError: see `make_tracker`.
        BundleError: the bundle is missing, damaged, or has no model of that dtype.
        InterpreterError: no TFLite runtime is installed, or it refuses the model.
    """
    from edge_runtime.adaptation.tracker import tracker_for  # noqa: PLC0415
    from edge_runtime.features import configured_features  # noqa: PLC0415

    return tracker_for(config, configured_features(config))
