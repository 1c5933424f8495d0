"""Patches: exact centres, replicated borders, no aliasing."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.trackers.patches import sample_patch
from tests.oracle import patches as oracle


def ramp(rows: int, columns: int) -> np.ndarray:
    frame = np.zeros((rows, columns, 3), np.float32)  # not uint8: rounding would hide half a pixel
    frame[..., 0] = np.arange(columns)[None, :]
    frame[..., 1] = np.arange(rows)[:, None]
    return frame


@pytest.mark.parametrize("side_px", [32.0, 45.0, 64.0, 100.0, 129.0])
@pytest.mark.parametrize("centre", [(100.0, 100.0), (90.25, 110.5)])
def test_the_middle_of_the_patch_is_the_centre_at_every_size(side_px, centre):
    """Of the oracle, which takes floats; tests/core finds the same bytes from both."""
    patch = oracle.sample_patch(ramp(200, 200), centre, side_px, 32)
    middle = patch[15:17, 15:17].mean((0, 1))
    assert middle[1] == pytest.approx(centre[0], abs=0.05)
    assert middle[0] == pytest.approx(centre[1], abs=0.05)
    ratio = side_px / 32
    assert np.diff(patch[16, 2:-2, 0]).mean() == pytest.approx(ratio, rel=0.01)


def test_the_identity_copies_pixels():
    frame = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    patch = sample_patch(frame, (29.5, 39.5), 20, 20)
    np.testing.assert_array_equal(patch, frame[20:40, 30:50])


@pytest.mark.parametrize("side_px", [20.0, 90.0])
def test_outside_the_frame_the_border_is_repeated(side_px):
    frame = np.zeros((50, 50, 3), np.uint8)
    frame[:, 0] = 200
    patch = sample_patch(frame, (25.0, -200.0), side_px, 16)
    assert (patch == 200).all()
    assert sample_patch(frame, (25.0, 500.0), side_px, 16).max() == 0


def test_shrinking_averages_instead_of_picking():
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 2, (240, 240, 1), dtype=np.uint8).repeat(3, 2) * 255
    patch = sample_patch(frame, (119.5, 119.5), 192, 24)
    assert patch.std() < 40  # single pixels have 127


def test_a_larger_sample_shows_more():
    frame = ramp(100, 100).astype(np.uint8)
    small, large = (sample_patch(frame, (50.0, 50.0), side, 20) for side in (20.0, 40.0))
    assert small.shape == large.shape == (20, 20, 3)
    assert np.ptp(small[:, :, 0]) == pytest.approx(19, abs=1)
    assert np.ptp(large[:, :, 0]) == pytest.approx(38, abs=1)
