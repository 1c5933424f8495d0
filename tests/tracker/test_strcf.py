"""STRCF: its spectra against trigonometric polynomials, the tracker against known motion."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_runtime.errors import ConfigError
from edge_runtime.trackers.confidence_models import PRESET_MODELS
from edge_runtime.trackers.presets import PRESETS
from edge_runtime.trackers.regularisation import target_window
from edge_runtime.trackers.settings import StrcfConfig
from edge_runtime.trackers.strcf import StrcfTracker
from edge_runtime.types import Box, TrackState
from tests.oracle.strcf import add_resized, signed_frequencies, unit_range, whole_spectrum
from tests.tracker.pixels import PixelFeatures, scene

HAND_CRAFTED = StrcfConfig(features=("hog", "gray"), window_cells_px=(4.0,), temporal=(15.0,))
WITH_NETWORK = StrcfConfig(
    features=("hog", "gray", "cnn:middle"), window_cells_px=(4.0, 8.0), temporal=(15.0, 15.0)
)


def made(config: StrcfConfig) -> StrcfTracker:
    return StrcfTracker(config, PixelFeatures(), PRESET_MODELS["strcf"])


def half(maps: np.ndarray) -> np.ndarray:
    """Half spectra of real maps (n, rows, columns)."""
    return np.fft.rfft2(maps).astype(np.complex64)


def interpolated(maps: np.ndarray, size: int) -> np.ndarray:
    """Trigonometric interpolation of (n, small, small) on a grid of `size`, without frequencies at half."""
    small = maps.shape[1]
    k = np.arange(-((small - 1) // 2), (small - 1) // 2 + 1)
    cells, places = np.arange(small) / small, np.arange(size) / size
    there = np.exp(-2j * np.pi * np.outer(k, cells)) / small
    back = np.exp(2j * np.pi * np.outer(places, k))
    axis = back @ there
    return (axis @ maps @ axis.T).real


@pytest.mark.parametrize("small", [4, 5, 7, 8])
@pytest.mark.parametrize("size", [9, 10, 12, 13])
def test_the_smaller_grids_scores_are_interpolated(small: int, size: int) -> None:
    rng = np.random.default_rng(0)
    large, coarse = rng.normal(size=(3, size, size)), rng.normal(size=(3, small, small))
    scores = half(large)
    part = half(coarse)
    kept = part.copy()
    add_resized(scores, part)
    found = np.fft.irfft2(scores, s=(size, size))
    np.testing.assert_allclose(found, large + interpolated(coarse, size), atol=1e-5)
    np.testing.assert_array_equal(part, kept)


@pytest.mark.parametrize("small", [4, 5, 7, 8])
@pytest.mark.parametrize("size", [9, 12])
def test_resizing_pads_the_whole_spectrum_with_zeros(small: int, size: int) -> None:
    coarse = np.random.default_rng(1).normal(size=(2, small, small))
    scores = np.zeros((2, size, size // 2 + 1), np.complex64)
    add_resized(scores, half(coarse))
    centred = np.fft.fftshift(np.fft.fft2(coarse), axes=(1, 2)) * (size / small) ** 2
    if small % 2 == 0:
        centred[:, 0] = centred[:, :, 0] = 0  # half of the size
    padded = np.zeros((2, size, size), complex)
    start = size // 2 - small // 2
    padded[:, start : start + small, start : start + small] = centred
    expected = np.fft.ifftshift(padded, axes=(1, 2))[:, :, : size // 2 + 1]
    np.testing.assert_allclose(scores, expected, atol=1e-4)


@pytest.mark.parametrize("size", [6, 7])
def test_scores_of_one_grid_are_added_as_they_are(size: int) -> None:
    one, other = np.random.default_rng(2).normal(size=(2, 3, size, size))
    scores = half(one)
    add_resized(scores, half(other))
    np.testing.assert_allclose(np.fft.irfft2(scores, s=(size, size)), one + other, atol=1e-5)


@pytest.mark.parametrize("size", [4, 5, 8, 9, 51])
def test_the_whole_spectrum_is_that_of_the_real_map(size: int) -> None:
    maps = np.random.default_rng(3).normal(size=(2, size, size))
    whole = whole_spectrum(half(maps))
    assert whole.shape == (2, size, size)
    np.testing.assert_allclose(whole, np.fft.fft2(maps), atol=1e-4)


@pytest.mark.parametrize(
    ("size", "expected"), [(5, [0, 1, 2, -2, -1]), (6, [0, 1, 2, 3, -2, -1]), (1, [0]), (2, [0, 1])]
)
def test_signed_frequencies(size: int, expected: list[int]) -> None:
    assert signed_frequencies(size).tolist() == expected


def test_unit_range_scales_every_channel_of_every_sample_by_itself() -> None:
    maps = np.random.default_rng(4).normal(size=(2, 5, 6, 3)).astype(np.float32)
    maps[1] *= 40
    maps[..., 1] += 7
    maps[:, :, :, 2] = 3.0  # flat
    out = unit_range(maps)
    assert out.dtype == np.float32
    for sample, channel in np.ndindex(2, 2):
        plane = maps[sample, :, :, channel].astype(np.float64)
        expected = (plane - plane.min()) / np.ptp(plane)
        np.testing.assert_allclose(out[sample, :, :, channel], expected, atol=1e-5)
    np.testing.assert_array_equal(out[..., 2], 0)


@pytest.mark.parametrize(
    ("features", "groups"), [(("hog", "gray"), 1), (("hog", "gray", "cnn:middle"), 2), (("cnn:middle",), 1)]
)
@pytest.mark.parametrize("given", [1, 2, 3])
def test_settings_per_group_must_fit_the_features(features: tuple[str, ...], groups: int, given: int) -> None:
    config = StrcfConfig(features=features, window_cells_px=(4.0,) * given, temporal=(15.0,) * given)
    if given == groups:
        made(config)
        return
    with pytest.raises(ConfigError) as caught:
        made(config)
    assert str(caught.value) == (
        f"tracker.strcf.features form {groups} groups of equal cells, temporal and window_cells_px have "
        f"{given} values; give one value per group"
    )


def test_the_preset_without_a_network_is_the_one_tested_here() -> None:
    preset = {name: tuple(value) for name, value in PRESETS["strcf"].items()}
    assert StrcfConfig(**preset) == HAND_CRAFTED


@pytest.mark.parametrize("config", [HAND_CRAFTED, WITH_NETWORK], ids=["hand-crafted", "network"])
def test_follows_a_moving_target(config: StrcfConfig) -> None:
    tracker = made(config)
    tracker.init(scene(120, 160), Box.from_centre(120, 160, 48, 48))
    for k in range(1, 30):
        row, column = 120 + 2 * k, 160 - 3 * k
        result = tracker.update(scene(row, column))
        assert np.hypot(*np.subtract(result.box.centre, (row, column))) < 2
        assert result.state is TrackState.TRACKING
    assert result.box.w == pytest.approx(48, rel=0.05)


@pytest.mark.parametrize("rate", [1.006, 0.994])
@pytest.mark.parametrize("config", [HAND_CRAFTED, WITH_NETWORK], ids=["hand-crafted", "network"])
def test_follows_a_zoom(config: StrcfConfig, rate: float) -> None:
    tracker = made(config)
    first = scene(120, 160)
    tracker.init(first, Box.from_centre(120, 160, 48, 48))
    for k in range(1, 40):
        zoom = cv2.getRotationMatrix2D((160.0, 120.0), 0.0, rate**k)
        frame = cv2.warpAffine(first, zoom, (320, 240), borderMode=cv2.BORDER_REFLECT)
        result = tracker.update(frame)
        assert np.hypot(*np.subtract(result.box.centre, (120, 160))) < 2
    assert result.box.w == pytest.approx(48 * rate**39, rel=0.06)
    assert result.box.h == pytest.approx(result.box.w)


def test_the_filter_lives_on_the_target() -> None:
    """The spatial weight outside, 1e5, leaves the filter next to nothing there."""
    tracker = made(HAND_CRAFTED)
    tracker.init(scene(120, 160), Box.from_centre(120, 160, 48, 32))
    size = tracker._output_size
    filter_ = np.zeros((size, size // 2 + 1, 32, 2), np.float32)
    tracker._filter.copy_filter(0, filter_)
    energy = (np.fft.irfft2(filter_.view(np.complex64)[..., 0], s=(size, size), axes=(0, 1)) ** 2).sum(2)
    rows, columns = (int(px // 4) for px in tracker.base_px)
    on_target = target_window((size, size), (rows, columns), 0, 1) == 0
    assert 0.03 < on_target.mean() < 0.06  # 48x32 of a square of 4.5 times its size
    assert energy[on_target].sum() / energy.sum() > 0.8
