"""Windows, labels and peaks against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.trackers.fourier import gaussian_label, hann_window
from tests.oracle.fourier import irfft2, peak, peak_to_sidelobe_ratio, rfft2, signed


def test_hann_window_is_symmetric_positive_and_one_in_the_middle():
    window = hann_window(7, 9)
    assert window.dtype == np.float32
    assert window.min() > 0
    assert window[3, 4] == pytest.approx(1.0)
    np.testing.assert_allclose(window, window[::-1, ::-1], atol=1e-7)


def test_gaussian_label_has_its_peak_at_no_displacement_and_the_given_deviation():
    label = gaussian_label(16, 20, sigma_cells=2.0)
    assert label[0, 0] == 1.0
    assert label[2, 0] == pytest.approx(np.exp(-0.5))
    assert label[-2, 0] == label[2, 0]
    assert label[0, -3] == label[0, 3]


@given(st.integers(4, 40), st.integers(4, 40), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_half_spectrum_round_trip_in_single_precision(rows, columns, seed):
    x = np.random.default_rng(seed).normal(size=(3, rows, columns)).astype(np.float32)
    spectrum = rfft2(x)
    assert spectrum.dtype == np.complex64
    assert spectrum.shape == (3, rows, columns // 2 + 1)
    np.testing.assert_allclose(irfft2(spectrum, rows, columns), x, atol=2e-5)


@pytest.mark.parametrize(("index", "expected"), [(0, 0), (3, 3), (4.9, 4.9), (5, -5), (9, -1)])
def test_signed_displacement_wraps_in_the_middle(index, expected):
    assert signed(index, 10) == pytest.approx(expected)


@pytest.mark.parametrize("true_shift", [(0.0, 0.0), (3.3, -2.4), (-5.75, 6.2), (0.5, -0.5)])
def test_peak_finds_a_fractional_shift_of_a_smooth_map(true_shift):
    rows, columns = 24, 27
    r = (np.arange(rows) - true_shift[0] + rows / 2) % rows - rows / 2
    c = (np.arange(columns) - true_shift[1] + columns / 2) % columns - columns / 2
    response = np.exp(-0.5 * (r[:, None] ** 2 + c[None, :] ** 2) / 3.0**2).astype(np.float32)
    down, right = peak(response)
    assert down == pytest.approx(true_shift[0], abs=0.02)
    assert right == pytest.approx(true_shift[1], abs=0.02)


def test_peak_of_a_flat_map_is_finite():
    assert peak(np.zeros((5, 5), np.float32)) == (0.0, 0.0)


def test_sidelobe_ratio_against_the_definition():
    rng = np.random.default_rng(0)
    response = rng.normal(size=(21, 23)).astype(np.float32)
    response[4, 20] = 30.0
    ratio = peak_to_sidelobe_ratio(response, exclude_cells=2)
    rows = [(4 + d) % 21 for d in range(-2, 3)]
    columns = [(20 + d) % 23 for d in range(-2, 3)]
    side = np.delete(response.ravel(), [r * 23 + c for r in rows for c in columns])
    assert ratio == pytest.approx((30.0 - side.mean()) / side.std(), rel=1e-5)
    assert peak_to_sidelobe_ratio(np.ones((9, 9), np.float32), 2) == 0.0
