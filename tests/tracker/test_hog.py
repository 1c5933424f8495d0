"""HOG against a program that goes through the pixels one by one."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from edge_runtime.trackers.hog import hog
from tests.oracle.hog import BORDER_GAIN, orientation_table

f32 = np.float32
PI = f32(math.pi)


def pictures(shape: tuple[int, ...], kind: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, shape, dtype=np.uint8)
    if kind == "steps":  # many equal gradients: ties between channels, exact diagonals, flat spots
        return noise // 64 * 64
    if kind == "smooth":
        return np.stack([cv2.GaussianBlur(p, (0, 0), 2).reshape(p.shape) for p in noise])
    return noise


def gradient(patch: np.ndarray, y: int, x: int) -> tuple[float, float, float]:
    """Squared length, x and y of the strongest channel's gradient; patch in BGR."""
    rows, columns, channels = patch.shape
    strongest = (-1.0, 0.0, 0.0)
    for channel in reversed(range(channels)):
        plane = patch[..., channel].astype(float)
        gx = plane[y, min(x + 1, columns - 1)] - plane[y, max(x - 1, 0)]
        gy = plane[min(y + 1, rows - 1), x] - plane[max(y - 1, 0), x]
        gx *= 1 if x in (0, columns - 1) else 0.5
        gy *= 1 if y in (0, rows - 1) else 0.5
        if gx**2 + gy**2 > strongest[0]:
            strongest = gx**2 + gy**2, gx, gy
    return strongest


def orientation(gx: float, gy: float, length: np.float32) -> int:
    cosine = f32(gx) / length * f32(10000) if length else f32(0)
    step = int(-cosine if gy < 0 else cosine)
    angle = min(f32(math.acos(step / 10000)), PI - f32(1e-6))
    angle = f32(angle + PI) if gy < 0 else f32(angle)
    return int(f32(angle * (f32(18) / (2 * PI))) + f32(0.5)) % 18


def histograms(patch: np.ndarray, cell: int) -> np.ndarray:
    down, across = patch.shape[0] // cell, patch.shape[1] // cell
    grid = np.zeros((down, across, 18))
    for y in range(down * cell):
        for x in range(across * cell):
            square, gx, gy = gradient(patch, y, x)
            length = f32(math.sqrt(square))
            row, column = (y + 0.5) / cell - 0.5, (x + 0.5) / cell - 0.5
            for cy in (math.floor(row), math.floor(row) + 1):
                for cx in (math.floor(column), math.floor(column) + 1):
                    if 0 <= cy < down and 0 <= cx < across:
                        share = (1 - abs(row - cy)) * (1 - abs(column - cx))
                        grid[cy, cx, orientation(gx, gy, length)] += length * share / cell**2
    for border in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        grid[border] *= BORDER_GAIN
    return grid


def slow_hog(patch: np.ndarray, cell: int) -> np.ndarray:
    signed = histograms(patch, cell)
    unsigned = signed[..., :9] + signed[..., 9:]
    down, across = signed.shape[:2]
    energy = (unsigned**2).sum(2)
    blocks = np.zeros((down - 1, across - 1))
    for y in range(down - 1):
        for x in range(across - 1):
            blocks[y, x] = 1 / math.sqrt(energy[y : y + 2, x : x + 2].sum() + 1e-4 / 4 / cell**4)
    blocks = np.pad(blocks, 1, "edge")
    out = np.zeros((down, across, 31))
    for y in range(down):
        for x in range(across):
            for i, block in enumerate([(y + 1, x + 1), (y, x + 1), (y + 1, x), (y, x)]):
                clipped = np.minimum(signed[y, x] * blocks[block], 0.2)
                out[y, x, :18] += 0.5 * clipped
                out[y, x, 18:27] += 0.5 * np.minimum(unsigned[y, x] * blocks[block], 0.2)
                out[y, x, 27 + i] = 0.2357 * clipped.sum()
    return out


@pytest.mark.parametrize("kind", ["noise", "steps", "smooth"])
@pytest.mark.parametrize(
    ("shape", "cell"),
    [
        ((1, 16, 20, 3), 4),
        ((1, 22, 19, 3), 4),
        ((1, 17, 15, 1), 4),
        ((1, 14, 13, 3), 3),
        ((1, 13, 18, 3), 6),
        ((1, 5, 6, 1), 1),
    ],
)
def test_against_the_pixel_by_pixel_program(shape, cell, kind):
    patches = pictures(shape, kind)
    features = hog(patches, cell)
    assert features.dtype == np.float32
    assert features.flags.c_contiguous
    assert features.shape == (1, shape[1] // cell, shape[2] // cell, 31)
    np.testing.assert_allclose(features[0], slow_hog(patches[0], cell), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_its_patches_one_by_one(channels):
    patches = pictures((5, 22, 23, channels), "smooth")
    together = hog(patches)
    for patch, features in zip(patches, together, strict=True):
        np.testing.assert_allclose(features, hog(patch[None])[0], atol=1e-6)


@pytest.mark.parametrize("columns", range(40, 48))
def test_a_view_of_a_frame_is_its_copy_to_the_last_bit(columns):
    frame = pictures((1, 60, 70, 3), "smooth")
    view = frame[:, 7:39, 5 : 5 + columns]
    np.testing.assert_array_equal(hog(view), hog(view.copy()))


def test_three_equal_channels_are_grey():
    grey = pictures((2, 24, 24, 1), "noise")
    np.testing.assert_array_equal(hog(grey.repeat(3, axis=3)), hog(grey))


def test_a_uniform_patch_has_no_features():
    features = hog(np.full((2, 16, 20, 3), 77, np.uint8))
    assert (features == 0).all()


def test_shifting_by_a_cell_shifts_the_map_away_from_the_border():
    frame = pictures((1, 60, 60, 3), "smooth")
    here, there = hog(frame[:, :48, :48]), hog(frame[:, 4:52, 8:56])
    np.testing.assert_allclose(here[:, 4:-2, 4:-2], there[:, 3:-3, 2:-4], atol=1e-6)


def test_turning_by_half_a_circle_turns_the_map_and_swaps_opposite_orientations():
    patches = pictures((1, 32, 36, 3), "smooth")
    turned = hog(patches[:, ::-1, ::-1])[:, ::-1, ::-1]
    order = [*range(9, 18), *range(9), *range(18, 27), 30, 29, 28, 27]
    np.testing.assert_allclose(turned, hog(patches)[..., order], atol=1e-6)


def test_an_edge_falls_into_the_bin_of_its_direction():
    ramp = np.arange(0, 240, 5, dtype=np.uint8)
    right = np.broadcast_to(ramp[:, None], (1, 48, 48, 1))
    # Brighter to the right, left, down, up: 0, 180, 90 and 270 degrees in bins of 20, halves go up.
    for patches, expected in [
        (right, 0),
        (right[:, :, ::-1], 9),
        (right.swapaxes(1, 2), 5),
        (right.swapaxes(1, 2)[:, ::-1], 14),
    ]:
        middle = hog(patches)[0, 6, 6]
        assert middle[:18].argmax() == expected
        assert np.count_nonzero(middle[:18]) == 1
        assert middle[18:27].argmax() == expected % 9


def test_bins_are_nearest_to_the_angle_but_for_the_steps_of_the_cosine():
    axis = np.arange(-510, 511)
    angle = np.mod(np.arctan2(axis[:, None], axis[None, :]), 2 * np.pi)
    nearest = np.floor(angle * 9 / np.pi + 0.5).astype(int) % 18
    different = orientation_table().reshape(1021, 1021) != nearest
    assert different.mean() < 1e-3


@pytest.mark.parametrize("shape", [(1, 4, 4, 3), (2, 4, 20, 1), (1, 21, 7, 3)])
def test_one_cell_high_or_wide_is_finite(shape):
    features = hog(pictures(shape, "noise"))
    assert features.shape == (shape[0], shape[1] // 4, shape[2] // 4, 31)
    assert np.isfinite(features).all()
    assert features.max() > 0


@pytest.mark.parametrize("shape", [(1, 3, 8, 3), (2, 8, 1, 1), (0, 8, 8, 3)])
def test_without_a_whole_cell_the_map_is_empty(shape):
    features = hog(np.zeros(shape, np.uint8))
    assert features.shape == (shape[0], shape[1] // 4, shape[2] // 4, 31)
    assert features.size == 0
