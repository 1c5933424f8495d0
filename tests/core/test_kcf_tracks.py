"""Whole tracks of KCF and fKCF on the compiled core against those of the NumPy oracle."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from benchmarks.datasets import open_splits
from edge_runtime.config import load_config
from edge_runtime.sources.folder import read_picture
from edge_runtime.trackers.confidence_models import confidence_model
from edge_runtime.trackers.kcf import KcfTracker
from edge_runtime.types import Box, Frame
from tests.oracle.kcf import KcfTracker as Oracle
from tests.tracker.pixels import PixelFeatures, scene

FRAMES = 200
CLOSE_PX = 0.05


def walk() -> Iterator[Frame]:
    """A target that goes in a loop, grows and shrinks."""
    for k in range(FRAMES):
        turn = 2 * math.pi * k / FRAMES
        yield scene(120 + 40 * math.sin(2 * turn), 160 - 70 * math.sin(turn), 1 + 0.25 * math.sin(3 * turn))


def follow_both(preset: str, frames: Iterator[Frame], box: Box) -> None:
    """Both trackers over the same frames: boxes, ratios and states agree, and the target is moved."""
    settings = load_config(None, {"tracker.preset": preset}).tracker
    model = confidence_model(settings)
    features = PixelFeatures() if settings.kcf.feature.startswith("cnn:") else None
    core, oracle = KcfTracker(settings.kcf, features, model), Oracle(settings.kcf, features, model)
    first = next(frames)
    core.init(first, box)
    oracle.init(first, box)
    for k, frame in enumerate(frames, 1):
        found, expected = core.update(frame), oracle.update(frame)
        np.testing.assert_allclose(found.box, expected.box, atol=CLOSE_PX, err_msg=f"frame {k}")
        assert found.psr == pytest.approx(expected.psr, rel=0.01, abs=0.01)
        assert found.state is expected.state
    assert k == FRAMES - 1


@pytest.mark.parametrize("preset", ["fkcf", "kcf"])
def test_the_boxes_of_a_synthetic_clip_are_the_oracles(preset: str) -> None:
    follow_both(preset, walk(), Box.from_centre(120, 160, 48, 48))


# Not CarScale: in frame 79 of fKCF, 1e-8 of the target's size falls on the two sides of a step of the grid.
@pytest.mark.parametrize("preset", ["fkcf", "kcf"])
def test_the_boxes_of_a_real_clip_are_the_oracles(preset: str, shared_data: Path) -> None:
    (sequence,) = open_splits([shared_data / "sequences" / "dev"], only=["Jogging-1"])
    box = sequence.truth.box(0)
    assert box is not None
    follow_both(preset, map(read_picture, islice(sequence.frames, FRAMES)), box)
