"""Transforms of all channels at once against SciPy's, on every level that runs here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.fft

from tests.core.levels import every_level

# Every butterfly (2, 3, 4, 5, 7), primes with tables (up to 127) and without, and products of them.
SIZES = [*range(1, 18), 21, 22, 25, 26, 31, 35, 48, 49, 52, 53, 56, 57, 60, 61, 63, 64, 65, 67, 77, 91, 97]
SIZES += [121, 127, 128, 131, 169]


def transformed(kernels: Any, maps: np.ndarray) -> np.ndarray:
    n, _, channels = maps.shape
    spectrum = np.full((n, n // 2 + 1, 2, channels), np.nan, np.float32)
    kernels.rfft2(maps, spectrum)
    return spectrum


@pytest.mark.parametrize("kernels", every_level())
@pytest.mark.parametrize("n", SIZES)
def test_transform_and_its_inverse(kernels: Any, n: int) -> None:
    rng = np.random.default_rng(n)
    for channels in (1, 3, kernels.lanes, kernels.lanes + 1):
        maps = rng.normal(size=(n, n, channels)).astype(np.float32)
        spectrum = transformed(kernels, maps)
        expected = scipy.fft.rfft2(maps.astype(np.float64), axes=(0, 1))
        scale = np.abs(expected).max()
        np.testing.assert_allclose(spectrum[:, :, 0], expected.real, rtol=0, atol=1e-6 * scale)
        np.testing.assert_allclose(spectrum[:, :, 1], expected.imag, rtol=0, atol=1e-6 * scale)
        back = np.full_like(maps, np.nan)
        kernels.irfft2(spectrum, back)
        np.testing.assert_allclose(back / n**2, maps, rtol=0, atol=2e-6 * np.abs(maps).max())


@pytest.mark.parametrize("kernels", every_level())
@pytest.mark.parametrize("n", [6, 9])
def test_what_cannot_be_of_a_real_map_is_ignored(kernels: Any, n: int) -> None:
    """As SciPy does: imaginary parts of the columns 0 and n / 2 after the columns' transforms."""
    rng = np.random.default_rng(0)
    spectrum = rng.normal(size=(n, n // 2 + 1, 2, 4)).astype(np.float32)
    whole = spectrum[:, :, 0] + 1j * spectrum[:, :, 1].astype(np.float64)
    back = np.zeros((n, n, 4), np.float32)
    kernels.irfft2(spectrum, back)
    expected = scipy.fft.irfft2(whole, s=(n, n), axes=(0, 1), norm="forward")
    np.testing.assert_allclose(back, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kernels", every_level())
def test_wrong_arrays_are_refused(kernels: Any) -> None:
    maps = np.zeros((8, 8, 2), np.float32)
    for shape in [(8, 4, 2, 2), (8, 5, 2, 3), (8, 5, 1, 2), (7, 5, 2, 2)]:
        with pytest.raises(ValueError, match="maps are"):
            kernels.rfft2(maps, np.zeros(shape, np.float32))
        with pytest.raises(ValueError, match="maps are"):
            kernels.irfft2(np.zeros(shape, np.float32), maps)
    with pytest.raises(TypeError):
        kernels.rfft2(maps.astype(float), np.zeros((8, 5, 2, 2)))
