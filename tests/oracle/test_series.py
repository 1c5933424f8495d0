"""Fourier series on odd grids against sums written out frequency by frequency."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.trackers.series import frequencies, half_columns, odd
from tests.oracle.series import centre_slices, column_weights, sample, shift_factors, symmetrise, to_series

ODD = [1, 3, 5, 9, 15]
EVEN = [2, 4, 8, 14]


def maps(size: int, *leading: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(*leading, size, size, channels)).astype(np.float32)


def whole(series: np.ndarray) -> np.ndarray:
    """All columns -K..K of a stored half (rows, columns, …)."""
    return np.concatenate([np.conj(series[::-1, :0:-1]), series], 1)


def values(series: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """The polynomial sum_k x(k) e^(i k p) of a stored half (rows, columns) at all pairs of angles."""
    k = np.arange(len(series)) - len(series) // 2
    return np.exp(1j * np.outer(down, k)) @ whole(series) @ np.exp(1j * np.outer(k, across))


def cell_angles(size: int) -> np.ndarray:
    return 2 * np.pi * np.arange(size) / size


@pytest.mark.parametrize("size", ODD + EVEN)
def test_every_coefficient_is_the_sum_of_the_definition(size):
    x = maps(size)
    ky, kx = frequencies(odd(size))
    down = np.exp(-1j * np.outer(ky, cell_angles(size)))
    across = np.exp(-1j * np.outer(kx, cell_angles(size)))
    expected = np.einsum("kr,rcn,lc->kln", down, x, across)
    if size % 2 == 0:  # both frequencies +-size/2 take the value of the one, but for a corner
        expected[0, -1] = 0
    series = to_series(x)
    assert series.dtype == np.complex64
    assert series.shape == (odd(size), half_columns(odd(size)), 3)
    np.testing.assert_allclose(series, expected, atol=2e-5 * size)


@pytest.mark.parametrize("size", ODD)
def test_sampling_the_series_of_an_odd_map_gives_the_map_times_its_cells(size):
    x = maps(size)
    again = sample(np.moveaxis(to_series(x), -1, 0))
    assert again.dtype == np.float32
    np.testing.assert_allclose(again / size**2, np.moveaxis(x, -1, 0), atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 9, 15])
def test_samples_are_the_real_values_of_the_whole_sum(size):
    series = to_series(maps(size, seed=1))[..., 0] * shift_factors(size, (0.4, -1.1))[..., 0]
    expected = values(series, cell_angles(size), cell_angles(size))
    np.testing.assert_allclose(expected.imag, 0, atol=1e-4)
    np.testing.assert_allclose(sample(series), expected.real, atol=1e-4)


@pytest.mark.parametrize("size", ODD + EVEN)
def test_the_whole_spectrum_is_conjugate_symmetric(size):
    spectrum = whole(to_series(maps(size)))
    assert spectrum.shape == (odd(size), odd(size), 3)
    np.testing.assert_allclose(spectrum, np.conj(spectrum[::-1, ::-1]), atol=1e-6 * size**2)


@pytest.mark.parametrize("size", [9, 8])
def test_a_batch_is_its_maps_one_by_one(size):
    x = maps(size, 2, 3)
    together = to_series(x)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_allclose(together[i, j], to_series(x[i, j]), atol=1e-5)
    series = np.moveaxis(together, -1, 2)
    np.testing.assert_allclose(sample(series)[1, 2, 0], sample(series[1, 2, 0]), atol=1e-4)


def test_weighted_columns_count_the_whole_spectrum():
    a, b = (to_series(maps(7, seed=seed)) for seed in (0, 1))
    half = np.einsum("rkn,rkn,k->", a.conj(), b, column_weights(4)).real
    assert half == pytest.approx(np.vdot(whole(a), whole(b)).real, rel=1e-5)


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, 1), (-3, 2), (4, -6)])
def test_a_shift_by_whole_cells_rolls_the_map_back_by_them(shift):
    size = 9
    x = maps(size)
    moved = to_series(x) * shift_factors(size, (2 * np.pi * shift[0] / size, 2 * np.pi * shift[1] / size))
    expected = np.roll(x, (-shift[0], -shift[1]), (0, 1))
    np.testing.assert_allclose(
        sample(np.moveaxis(moved, -1, 0)) / size**2, np.moveaxis(expected, -1, 0), atol=2e-6
    )


def test_a_shift_by_a_fraction_takes_the_value_that_lies_there():
    series = to_series(maps(7))[..., 0]
    moved = series * shift_factors(7, (0.3, -0.8))[..., 0]
    angles = cell_angles(7)
    np.testing.assert_allclose(sample(moved), values(series, angles + 0.3, angles - 0.8).real, atol=1e-4)


def test_centre_slices_pick_the_frequencies_of_the_inner_grid():
    for outer in (1, 3, 7, 15, 31):
        for inner in range(1, outer + 1, 2):
            rows, columns = centre_slices(outer, inner)
            ky, kx = frequencies(outer)
            for picked, expected in zip((ky[rows], kx[columns]), frequencies(inner), strict=True):
                np.testing.assert_array_equal(picked, expected)


def test_a_small_grid_within_a_large_one_is_the_same_function():
    inner = to_series(maps(5))[..., 0]
    outer = np.zeros((11, 6), np.complex64)
    outer[centre_slices(11, 5)] = inner
    angles = np.array([0.0, 0.7, 2.9, -1.3])
    np.testing.assert_allclose(values(outer, angles, angles), values(inner, angles, angles), atol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 9])
def test_symmetrise_restores_the_symmetry_and_nothing_else(size):
    good = to_series(maps(size))
    series = good.copy()
    symmetrise(series)
    np.testing.assert_allclose(series, good, atol=1e-5)

    broken = good.copy()
    broken[size // 2 + 1 :, 0] += 1 + 2j
    symmetrise(broken)
    np.testing.assert_array_equal(broken[: size // 2 + 1], good[: size // 2 + 1])
    np.testing.assert_array_equal(broken[:, 1:], good[:, 1:])
    zero = np.delete(broken[:, 0], size // 2, 0)
    np.testing.assert_array_equal(zero, np.conj(zero[::-1]))
