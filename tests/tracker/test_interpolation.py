"""Interpolation against the cubic kernel, integrated and summed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import trapezoid

from edge_runtime.trackers.interpolation import BICUBIC_A, cubic_spline_transform, interpolation_series
from tests.oracle.series import sample, shift_factors, to_series


def kernel(t: np.ndarray, a: float = BICUBIC_A) -> np.ndarray:
    t = np.abs(t)
    inner = (a + 2) * t**3 - (a + 3) * t**2 + 1
    outer = a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    return np.where(t <= 1, inner, np.where(t <= 2, outer, 0))


@pytest.mark.parametrize("a", [-0.75, -0.5])
def test_transform_is_the_integral_of_the_kernel(a):
    t = np.linspace(-2, 2, 40001)
    f = np.array([0.0, 0.01, 0.1, 0.25, 0.5, 0.77, 1.0, 1.5])
    integrals = trapezoid(kernel(t, a) * np.cos(2 * np.pi * f[:, None] * t), t, axis=1)
    np.testing.assert_allclose(cubic_spline_transform(f, a), integrals, atol=1e-7)
    np.testing.assert_allclose(cubic_spline_transform(-f, a), integrals, atol=1e-7)


@pytest.mark.parametrize("size", [5, 9])
def test_series_is_that_of_kernels_at_the_cell_centres(size):
    """The sum of x[r, c] kernel(t - (r + 1/2)) kernel(u - (c + 1/2)), cells being 1 wide, integrated."""
    x = np.random.default_rng(0).normal(size=(size, size, 1)).astype(np.float32)
    fine = 64
    t = np.arange(size * fine) / fine
    distance = (t[:, None] - (np.arange(size) + 0.5) + size / 2) % size - size / 2
    spread = kernel(distance)  # (fine, cells)
    centres = spread[fine // 2 :: fine]
    np.testing.assert_allclose(centres, np.eye(size), atol=1e-12)  # the untruncated function interpolates

    k = np.arange(-(size // 2), size // 2 + 1)
    axis = np.exp(-2j * np.pi * np.outer(k, t) / size) @ spread / len(t)
    expected = axis @ x[..., 0] @ axis[size // 2 :].T
    series = to_series(x) * interpolation_series(size)
    assert series.dtype == np.complex64
    np.testing.assert_allclose(series[..., 0], expected, atol=1e-5)


def test_a_smooth_map_keeps_its_values_at_the_cell_centres():
    size = 41
    at = 2 * np.pi * (np.arange(size) + 0.5) / size
    smooth = (1 + np.cos(at - 1.0))[:, None] * np.sin(2 * at + 0.5)[None, :]
    series = to_series(smooth[..., None].astype(np.float32)) * interpolation_series(size)
    half_a_cell = np.pi / size
    centres = series * shift_factors(size, (half_a_cell, half_a_cell))
    np.testing.assert_allclose(sample(centres[..., 0]), smooth, atol=0.01)
    corners = sample(series[..., 0])
    assert np.abs(corners - smooth).max() > 0.2
    between = (1 + np.cos(at - half_a_cell - 1.0))[:, None] * np.sin(2 * (at - half_a_cell) + 0.5)[None, :]
    np.testing.assert_allclose(corners, between, atol=0.01)
