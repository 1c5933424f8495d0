"""Whole trackers: the compiled ones' boxes are the NumPy ones' to a twentieth of a pixel, over 200 frames.

Single precision leaves differences of 1e-6 in a target's place and size. Samples have whole pixels, so now
and then one of the two rounds the other way, and from there both go their own ways, as two runs of the
authors' program would. So the oracle continues from our box after each frame; its filters, memories and
confidence are its own throughout. (Without that the three network presets stay within 0.001 px over 200
frames of most sequences, see docs/measurements.md.)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.bundle import Bundle
from edge_runtime.config import load_config
from edge_runtime.evaluation import read_groundtruth
from edge_runtime.features import NetworkFeatures
from edge_runtime.sources.folder import FolderSource
from edge_runtime.trackers import make_tracker
from edge_runtime.trackers.presets import PRESETS
from edge_runtime.types import Box, Frame, TrackState
from tests.oracle import make as oracle

FRAMES = 200
TOLERANCE_PX = 0.05
UPSIDE_DOWN = range(120, 140)  # frames in which the target is not where it was


@pytest.fixture(scope="module")
def network(bundle_path: Path) -> NetworkFeatures:
    return NetworkFeatures(Bundle.open(bundle_path), "int8")


def largest_difference_px(
    preset: str, network: NetworkFeatures, frames: Iterator[Frame], box: Box
) -> tuple[float, set[TrackState]]:
    """Of the boxes of both trackers after any frame; and the states that there were."""
    config = load_config(None, {"tracker.preset": preset})
    ours: Any = make_tracker(config, network)
    theirs: Any = oracle.make_tracker(config, network)
    first = next(frames)
    ours.init(first, box)
    theirs.init(first, box)
    worst_px, states = 0.0, set()
    for image in frames:
        mine, other = ours.update(image), theirs.update(image)
        worst_px = max(worst_px, float(np.abs(np.subtract(mine.box, other.box)).max()))
        assert mine.score == pytest.approx(other.score, abs=0.02)
        assert mine.state is other.state
        theirs.centre, theirs.scale = ours.centre, ours.scale
        states.add(mine.state)
    return worst_px, states


@pytest.mark.parametrize("preset", PRESETS)
def test_boxes_of_a_composed_clip(preset: str, network: NetworkFeatures) -> None:
    composer = pytest.importorskip(
        "benchmarks.synthetic_clip", reason="needs scikit-image", exc_type=ImportError
    )
    clip = composer.compose(FRAMES, (480, 360))
    image, box = next(clip)
    rest = (image[::-1] if number in UPSIDE_DOWN else image for number, (image, _) in enumerate(clip, 1))
    worst_px, states = largest_difference_px(preset, network, itertools.chain([image], rest), box)
    assert worst_px <= TOLERANCE_PX
    assert {TrackState.TRACKING, TrackState.UNCERTAIN} <= states  # learning stopped and went on


# Not eco-hc, which has one such rounding within a frame here, on some processors: 0.28 px then.
@pytest.mark.parametrize("preset", [preset for preset in PRESETS if preset != "eco-hc"])
def test_boxes_of_a_real_sequence(preset: str, network: NetworkFeatures, shared_data: Path) -> None:
    folder = shared_data / "sequences" / "dev" / "Surfer"
    box = read_groundtruth(folder / "groundtruth_rect.txt").box(0)
    assert box is not None
    frames = (frame.image for frame in itertools.islice(FolderSource(folder / "img"), FRAMES + 1))
    assert largest_difference_px(preset, network, frames, box)[0] <= TOLERANCE_PX
