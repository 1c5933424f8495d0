"""Trackers by preset name."""

from __future__ import annotations

from edge_runtime.bundle import Bundle
from edge_runtime.config import Config
from edge_runtime.features import NetworkFeatures
from edge_runtime.fkcf import FkcfTracker
from edge_runtime.types import Tracker


def make_tracker(config: Config, bundle: Bundle) -> Tracker:
    """The tracker that `config.tracker` asks for, on the features of `bundle`.

    Raises:
        BundleError: the bundle has no model of `config.model.dtype`.
        ConfigError: the bundle has no such level.
    """
    return FkcfTracker(config.tracker.fkcf, NetworkFeatures(bundle, config.model.chosen_dtype))
