"""Fourier series of real maps on odd grids, half of the spectrum stored.

A map is a trigonometric polynomial with frequencies -K..K along each axis, K = (size - 1) / 2. Stored
are rows ky = -K..K and columns kx = 0..K (2K + 1 rows, K + 1 columns), channels last, complex64; the
other half follows from conjugate symmetry, x(-ky, -kx) = conj(x(ky, kx)). Sums over the whole
spectrum count every column twice but the zero one (`column_weights`).
"""

from __future__ import annotations

from typing import cast

import numpy as np
import scipy.fft

from edge_runtime.trackers.series import frequencies, half_columns
from edge_runtime.types import ComplexArray, FloatArray


def column_weights(columns: int) -> FloatArray:
    """How often each stored column counts in a sum over the whole spectrum, (columns,) float32."""
    weights = np.full(columns, 2.0, np.float32)
    weights[0] = 1.0
    return weights


def to_series(maps: FloatArray) -> ComplexArray:
    """Half spectrum (…, odd rows, stored columns, channels) of float32 maps (…, size, size, channels).

    A map of even size has one frequency +-size/2 where the odd grid has two. Both take its value, but
    for one corner, which is zero, as in the authors' program.
    """
    size = maps.shape[-2]
    spectrum = scipy.fft.rfft2(maps, axes=(-3, -2))
    half = size // 2
    if size % 2:
        return cast(
            ComplexArray,
            np.concatenate([spectrum[..., half + 1 :, :, :], spectrum[..., : half + 1, :, :]], -3),
        )
    series = np.concatenate([spectrum[..., half:, :, :], spectrum[..., : half + 1, :, :]], -3)
    series[..., 0, half, :] = 0
    return cast(ComplexArray, series)


def sample(series: ComplexArray) -> FloatArray:
    """Values (…, size, size) on the series' own grid, cell (0, 0) first; `series` is (…, size, columns)."""
    size = series.shape[-2]
    natural = np.concatenate([series[..., size // 2 :, :], series[..., : size // 2, :]], -2)
    values = scipy.fft.irfft2(natural, s=(size, size), axes=(-2, -1), norm="forward")
    return cast(FloatArray, values)


def shift_factors(size: int, shift: tuple[float, float]) -> ComplexArray:
    """Factors (size, columns, 1) that move a series by `-shift` radians (rows, columns): e^(i k shift)."""
    down, across = frequencies(size)
    factors = np.exp(1j * down * shift[0])[:, None] * np.exp(1j * across * shift[1])
    return cast(ComplexArray, factors.astype(np.complex64)[..., None])


def centre_slices(outer: int, inner: int) -> tuple[slice, slice]:
    """Where the frequencies of an `inner` grid lie in an `outer` one: (rows, columns)."""
    start = (outer - inner) // 2
    return slice(start, start + inner), slice(half_columns(inner))


def symmetrise(series: ComplexArray) -> None:
    """Restore x(-ky, 0) = conj(x(ky, 0)) in the zero column, in place: rounding drifts away from it."""
    half = series.shape[-3] // 2
    series[..., half + 1 :, 0, :] = np.conj(series[..., half - 1 :: -1, 0, :][..., :half, :])
