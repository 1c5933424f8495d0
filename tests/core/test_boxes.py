"""Whole trackers: the compiled ones' boxes are the NumPy ones' to a twentieth of a pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.synthetic_clip import compose
from edge_runtime.bundle import Bundle
from edge_runtime.config import load_config
from edge_runtime.evaluation import read_groundtruth
from edge_runtime.features import NetworkFeatures
from edge_runtime.sources.folder import FolderSource
from edge_runtime.trackers import make_tracker
from edge_runtime.trackers.presets import PRESETS
from tests.oracle import make as oracle

FRAMES = 200
TOLERANCE_PX = 0.05


@pytest.fixture(scope="module")
def network(bundle_path: Path) -> NetworkFeatures:
    return NetworkFeatures(Bundle.open(bundle_path), "int8")


@pytest.mark.parametrize("preset", PRESETS)
def test_boxes_of_a_composed_clip(preset: str, network: NetworkFeatures) -> None:
    config = load_config(None, {"tracker.preset": preset})
    ours, theirs = make_tracker(config, network), oracle.make_tracker(config, network)
    worst_px, states = 0.0, set()
    for number, (image, box) in enumerate(compose(FRAMES, (480, 360))):
        if number == 0:
            ours.init(image, box)
            theirs.init(image, box)
            continue
        mine, other = ours.update(image), theirs.update(image)
        worst_px = max(worst_px, float(np.abs(np.subtract(mine.box, other.box)).max()))
        assert mine.state is other.state
        states.add(mine.state)
    assert worst_px <= TOLERANCE_PX
    assert len(states) > 1  # the target is covered once: learning stopped and went on


# Not eco-hc: from frame 112 on it parts from the oracle. Sizes are rounded to whole pixels, and a difference of
# 1e-6 in the target's size, which is what single precision leaves, then and when rounds one the other way.
@pytest.mark.parametrize("preset", [preset for preset in PRESETS if preset != "eco-hc"])
def test_boxes_of_a_real_sequence(preset: str, network: NetworkFeatures, shared_data: Path) -> None:
    folder = shared_data / "sequences" / "dev" / "Surfer"
    box = read_groundtruth(folder / "groundtruth_rect.txt").box(0)
    assert box is not None
    config = load_config(None, {"tracker.preset": preset})
    ours, theirs = make_tracker(config, network), oracle.make_tracker(config, network)
    worst_px = 0.0
    for frame in FolderSource(folder / "img"):
        if frame.index == 0:
            ours.init(frame.image, box)
            theirs.init(frame.image, box)
            continue
        if frame.index > FRAMES:
            break
        mine, other = ours.update(frame.image), theirs.update(frame.image)
        worst_px = max(worst_px, float(np.abs(np.subtract(mine.box, other.box)).max()))
    assert worst_px <= TOLERANCE_PX
