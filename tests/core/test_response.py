"""Peaks of spectra: the compiled core against the NumPy trackers, on every level that runs here."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.fft

from edge_runtime.core import LEVELS
from edge_runtime.trackers.fourier import gaussian_label
from edge_runtime.trackers.series import frequencies
from tests.oracle import fourier, series
from tests.oracle.localisation import Peak, SeriesEvaluator, find_peak
from tests.oracle.strcf import signed_frequencies, whole_spectrum


class Found(NamedTuple):
    """What the core's `locate` returns."""

    down: float
    across: float
    height: float
    psr: float
    scale: int


@pytest.fixture(params=LEVELS)
def kernels(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(f"edge_runtime.core._core_{request.param}")


def smooth(scales: int, n: int, seed: int, width: float = 1.5) -> np.ndarray:
    """Half spectra (scales, n, n // 2 + 1) of random maps that a Gaussian made smooth, unnormalised."""
    noise = np.random.default_rng(seed).normal(size=(scales, n, n))
    spectra = np.fft.rfft2(noise) * np.fft.rfft2(gaussian_label(n, n, width))
    return spectra.astype(np.complex64)


def located(
    kernels: Any,
    spectra: np.ndarray,
    *,
    centred: bool = False,
    unit: float = 1.0,
    newton: int = 5,
    margin: int = 4,
) -> tuple[Found, np.ndarray]:
    scales, n, columns = spectra.shape
    maps = np.full((scales, n, n), np.nan, np.float32)
    parts = np.ascontiguousarray(spectra.astype(np.complex64)).view(np.float32).reshape(scales, n, columns, 2)
    return Found(*kernels.locate(parts, centred, unit, newton, margin, maps)), maps


def expected_natural(spectra: np.ndarray, newton: int = 5) -> tuple[Peak, np.ndarray]:
    n = spectra.shape[1]
    maps = scipy.fft.irfft2(spectra, s=(n, n), axes=(1, 2))
    k = signed_frequencies(n)
    return find_peak(SeriesEvaluator(whole_spectrum(spectra) / np.float32(n**2), k, k), maps, newton), maps


def check(found: Found, peak: Peak, atol_cells: float = 2e-3) -> None:
    assert found.scale == peak.scale
    assert (found.down, found.across) == pytest.approx(peak.displacement, abs=atol_cells)
    assert found.height == pytest.approx(peak.height, rel=2e-5)


@pytest.mark.parametrize("n", [3, 4, 5, 8, 13, 15, 16, 17, 31, 52, 53, 57, 60, 61, 64, 127, 128, 131])
@pytest.mark.parametrize("scales", [1, 3])
def test_a_discrete_spectrum_of_any_size(kernels: Any, n: int, scales: int) -> None:
    for seed in range(5):
        spectra = smooth(scales, n, seed)
        found, maps = located(kernels, spectra, unit=1 / n**2)
        peak, samples = expected_natural(spectra)
        np.testing.assert_allclose(maps, samples, atol=3e-6 * np.abs(samples).max())
        check(found, peak)
        psr = fourier.peak_to_sidelobe_ratio(samples[found.scale], 4)
        assert found.psr == pytest.approx(psr, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("n", [5, 53, 57, 61, 63, 77])
def test_a_fourier_series(kernels: Any, n: int) -> None:
    for seed in range(5):
        maps = scipy.fft.irfft2(smooth(1, n, seed), s=(n, n)).astype(np.float32)
        stored = np.moveaxis(series.to_series(maps[0][..., None]), -1, 0) / np.float32(n**2)
        weighted = stored * series.column_weights(stored.shape[2])
        peak = find_peak(SeriesEvaluator(weighted, *frequencies(n)), series.sample(stored), 5)
        found, samples = located(kernels, stored, centred=True)
        np.testing.assert_allclose(samples, maps, atol=3e-6 * np.abs(maps).max())
        check(found, peak)
        assert found.psr == pytest.approx(fourier.peak_to_sidelobe_ratio(maps[0], 4), rel=1e-4)


@pytest.mark.parametrize("n", [4, 6, 8, 12, 60])
def test_the_frequency_at_half_of_an_even_size_counts_as_the_authors_count_it(kernels: Any, n: int) -> None:
    """White noise has as much of it as of any other; four of these grids are nothing but border cases."""
    for seed in range(20):
        spectra = np.fft.rfft2(np.random.default_rng(seed).normal(size=(3, n, n))).astype(np.complex64)
        for newton in (0, 1, 5):
            peak, _ = expected_natural(spectra, newton)
            check(located(kernels, spectra, unit=1 / n**2, newton=newton)[0], peak)


@pytest.mark.parametrize("n", [9, 12])
def test_without_iterations_every_cell_is_found(kernels: Any, n: int) -> None:
    for row, column in np.ndindex(n, n):
        label = np.roll(gaussian_label(n, n, 1.0), (row, column), (0, 1))
        found, _ = located(kernels, np.fft.rfft2(label[None]), unit=1 / n**2, newton=0)
        half = (n - 1) // 2
        cells = ((row + half) % n - half, (column + half) % n - half)
        # A displacement of half the grid may be either way.
        assert (np.abs((np.array(cells) - (found.down, found.across) + n / 2) % n - n / 2) < 1e-6).all()
        assert found.height == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_highest_scale_wins_between_the_cells(kernels: Any, best: int) -> None:
    n, places = 24, [(1.5, 0.5), (-4.0, 2.0), (6.5, -7.5)]
    k = signed_frequencies(n)
    label = np.fft.rfft2(gaussian_label(n, n, 2.0))
    spectra = np.stack(
        [
            label
            * (1.0 if s == best else 0.97)
            * np.exp(-2j * np.pi * (k[:, None] * y + k[: n // 2 + 1] * x) / n)
            for s, (y, x) in enumerate(places)
        ]
    )
    found, _ = located(kernels, spectra, unit=1 / n**2)
    assert found.scale == best
    assert (found.down, found.across) == pytest.approx(places[best], abs=1e-3)


@pytest.mark.parametrize("value", [0.0, 3.0])
@pytest.mark.parametrize("n", [15, 60])
def test_a_flat_response_stays_where_it_is(kernels: Any, value: float, n: int) -> None:
    spectra = np.zeros((2, n, n // 2 + 1), np.complex64)
    spectra[:, 0, 0] = value
    assert located(kernels, spectra)[0] == Found(0, 0, pytest.approx(value), 0, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e38])
@pytest.mark.parametrize("place", [(0, 0), (3, 2), (5, 5)])
@pytest.mark.parametrize("n", [10, 13])
@pytest.mark.parametrize("everywhere", [False, True])
def test_what_is_not_a_number_stays_inside_the_map(
    kernels: Any, bad: float, place: tuple[int, int], n: int, everywhere: bool
) -> None:
    spectra = smooth(3, n, 0)
    spectra[..., place[0], place[1]] = bad
    if everywhere:
        spectra[:] = bad
    found, _ = located(kernels, spectra)
    assert abs(found.down) <= n / 2
    assert abs(found.across) <= n / 2
    assert 0 <= found.scale < 3
    assert np.isfinite(found.psr)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 2), (3, 5), (21, 23), (31, 8), (60, 60)])
@pytest.mark.parametrize("margin", [0, 2, 5, 40])
def test_sidelobe_ratio_of_any_map(kernels: Any, shape: tuple[int, int], margin: int) -> None:
    rng = np.random.default_rng(0)
    for offset in (0.0, -2.0, 100.0):
        response = (rng.normal(size=shape) + offset).astype(np.float32)
        response[rng.integers(shape[0]), rng.integers(shape[1])] += 8
        ratio = kernels.peak_to_sidelobe_ratio(response, margin)
        if min(shape) > 1 and response.size > 4:
            assert ratio == pytest.approx(
                fourier.peak_to_sidelobe_ratio(response, margin), rel=1e-4, abs=1e-4
            )
        assert np.isfinite(ratio)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1e6, np.nan, np.inf])
def test_a_flat_map_has_no_peak(kernels: Any, value: float) -> None:
    assert kernels.peak_to_sidelobe_ratio(np.full((9, 13), value, np.float32), 2) == 0


def test_wrong_arrays_are_refused(kernels: Any) -> None:
    maps = np.zeros((1, 8, 8), np.float32)
    for shape in [(1, 8, 4, 2), (1, 8, 5, 1), (2, 8, 5, 2), (1, 7, 4, 2)]:
        with pytest.raises(ValueError, match="spectra are"):
            kernels.locate(np.zeros(shape, np.float32), False, 1.0, 5, 2, maps)
    with pytest.raises(ValueError, match="centred"):
        kernels.locate(np.zeros((1, 8, 5, 2), np.float32), True, 1.0, 5, 2, maps)
    with pytest.raises(TypeError):
        kernels.locate(np.zeros((1, 8, 5, 2)), False, 1.0, 5, 2, np.zeros((1, 8, 8)))
