"""The trackers in NumPy by preset, as `edge_runtime.trackers.make_tracker` makes the compiled ones."""

from __future__ import annotations

from edge_runtime import trackers
from edge_runtime.config import Config
from edge_runtime.features import FeatureExtractor
from edge_runtime.types import Tracker
from tests.oracle.eco import EcoTracker
from tests.oracle.kcf import KcfTracker
from tests.oracle.strcf import StrcfTracker

ORACLES = {oracle.__base__: oracle for oracle in (EcoTracker, KcfTracker, StrcfTracker)}


def make_tracker(config: Config, extractor: FeatureExtractor | None) -> Tracker:
    made = trackers.make_tracker(config, extractor)
    made.__class__ = ORACLES[type(made)]  # the same until it is started on a target
    return made
