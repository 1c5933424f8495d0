"""From a feature map to a continuous, periodic function (Danelljan 2016, C-COT, eqs. 3 and 11)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.trackers.series import half_columns
from edge_runtime.types import ComplexArray

BICUBIC_A = -0.75


def cubic_spline_transform(f: NDArray[np.float64], a: float = BICUBIC_A) -> NDArray[np.float64]:
    """Continuous Fourier transform of the cubic convolution kernel (Keys 1981) at frequencies `f`.

    The kernel is (a + 2)|t|^3 - (a + 3)t^2 + 1 up to |t| = 1 and a|t|^3 - 5a t^2 + 8a|t| - 4a up to 2.
    Its transform, with w = 2 pi f, is
    [12 (1 - cos w) + 6a (1 - cos 2w) - (6 + 8a) w sin w - 2a w sin 2w] * 2 / w^4.
    """
    w = 2 * np.pi * np.asarray(f, np.float64)
    small = np.abs(w) < 5e-3  # where cancellation would be worse than 1
    w = np.where(small, 1.0, w)
    numerator = 12 * (1 - np.cos(w)) + 6 * a * (1 - np.cos(2 * w))
    numerator -= (6 + 8 * a) * w * np.sin(w) + 2 * a * w * np.sin(2 * w)
    return np.where(small, 1.0, 2 * numerator / w**4)


def interpolation_series(size: int) -> ComplexArray:
    """Coefficients b(ky) b(kx) of the interpolation function on an odd grid: (size, columns, 1) complex64.

    b(k) = transform(k / size) / size * e^(-i pi k / size); the phase puts a cell's value at its centre.
    """
    half = size // 2
    k = np.arange(-half, half + 1)
    axis = cubic_spline_transform(k / size) / size * np.exp(-1j * np.pi * k / size)
    outer = axis[:, None] * axis[half:][None, :]
    assert outer.shape == (size, half_columns(size))
    return np.asarray(outer[..., None], np.complex64)
