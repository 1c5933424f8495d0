"""fDSST's one-dimensional scale filter (Danelljan 2017, TPAMI, section 4.2)."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import scipy.fft
import scipy.linalg
from numpy.typing import NDArray

from edge_runtime.trackers.settings import ScaleFilterConfig
from edge_runtime.types import ComplexArray, FloatArray, Frame
from tests.oracle.hog import hog
from tests.oracle.sampling import patch_of_size

HOG_CELL_PX = 4
LEAST_MODEL_PX = 8


class ScaleFilter:
    """For one target: how much its size changed since the last frame.

    Args:
        target_px: (h, w) in the first frame.
        base_px: (h, w) that the tracker's scale of 1 stands for.
    """

    def __init__(
        self, config: ScaleFilterConfig, target_px: tuple[float, float], base_px: tuple[float, float]
    ) -> None:
        self.config, self._base_px = config, base_px
        exponents = centred(config.scales) * config.interpolated_scales / config.scales
        self._factors = config.step**exponents
        self._interpolated = config.step ** circular(config.interpolated_scales)
        sigma = config.interpolated_scales * config.label_sigma
        label = np.exp(-0.5 * (np.roll(exponents, -(config.scales // 2)) / sigma) ** 2)
        self._label: ComplexArray = scipy.fft.fft(label).astype(np.complex64)
        self._window: FloatArray = np.hanning(config.scales).astype(np.float32)
        shrink = min(1.0, math.sqrt(config.model_area_px / (target_px[0] * target_px[1])))
        rows, columns = (max(math.floor(size * shrink), LEAST_MODEL_PX) for size in target_px)
        self._model_px = rows, columns
        self._template: FloatArray | None = None

    def learn(self, image: Frame, centre: tuple[float, float], scale: float) -> None:
        """Blend in the target at `centre` (row, column) and `scale`.

        Template t and sample x are (features, scales); both are projected on a basis of their own
        (QR, as many dimensions as scales). Numerator conj(F(B^T t)) y, denominator sum |F(B_x^T x)|^2.
        """
        sample = self._sample(image, centre, scale)
        rate = np.float32(self.config.learning_rate)
        before = self._template
        self._template = sample if before is None else before + rate * (sample - before)
        self._basis = orthonormal(self._template)
        projected = scipy.fft.fft((self._basis.T @ self._template) * self._window, axis=1)
        self._numerator: ComplexArray = self._label * projected.conj()
        # What a sample's own basis makes of it is the triangle of its QR decomposition.
        energy = scipy.fft.fft(triangle(sample) * self._window, axis=1)
        energy = (energy.real**2 + energy.imag**2).sum(0)
        if before is not None:
            energy = self._denominator + rate * (energy - self._denominator)
        self._denominator: FloatArray = energy

    def locate(self, image: Frame, centre: tuple[float, float], scale: float) -> float:
        """Factor between the target's size at `centre` (row, column) and that at `scale`.

        The response at the sampled sizes is interpolated by padding its spectrum; a parabola through the
        highest of the interpolated sizes and its neighbours gives the factor.
        """
        sample = self._sample(image, centre, scale)
        spectrum = scipy.fft.fft((self._basis.T @ sample) * self._window, axis=1)
        response = (self._numerator * spectrum).sum(0) / (self._denominator + self.config.regularisation)
        count, half = self.config.interpolated_scales, self.config.scales // 2
        padded = np.zeros(count, np.complex64)
        padded[: half + 1], padded[-half:] = response[: half + 1], response[-half:]
        values = scipy.fft.ifft(padded).real * (count / self.config.scales)
        best = int(values.argmax())
        around = [(best - 1) % count, best, (best + 1) % count]
        return float(parabola_vertex(self._interpolated[around], values[around].astype(np.float64)))

    def _sample(self, image: Frame, centre: tuple[float, float], scale: float) -> FloatArray:
        """HOG of the target at every size, (features, scales) float32."""
        factors = scale * self._factors
        step = math.floor(factors.min())
        if step > 1:
            image = image[::step, ::step]
            centre = centre[0] / step, centre[1] / step
            factors = factors / step
        at = math.floor(centre[0]), math.floor(centre[1])
        patches = np.empty((len(factors), *self._model_px, image.shape[2]), np.uint8)
        for patch, factor in zip(patches, factors, strict=True):
            rows, columns = (max(math.floor(size * factor), 1) for size in self._base_px)
            patch[:] = patch_of_size(image, at, rows, columns, self._model_px)
        return np.ascontiguousarray(hog(patches, HOG_CELL_PX).reshape(len(factors), -1).T)


def centred(count: int) -> NDArray[np.float64]:
    """-(count // 2) … count // 2."""
    return np.arange(count, dtype=np.float64) - count // 2


def circular(count: int) -> NDArray[np.float64]:
    """0, 1, … count // 2, -(count // 2), … -1."""
    return np.roll(centred(count), -(count // 2))


def orthonormal(x: FloatArray) -> FloatArray:
    """Orthonormal basis of the columns of x, (features, min(features, scales))."""
    return cast(FloatArray, scipy.linalg.qr(x, mode="economic", check_finite=False)[0])


def triangle(x: FloatArray) -> FloatArray:
    """R of x = Q R."""
    return cast(FloatArray, scipy.linalg.qr(x, mode="r", check_finite=False)[0][: min(x.shape)])


def parabola_vertex(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Place of the maximum of the parabola through three points, between them; the middle if it has none."""
    left, right = (y[1] - y[0]) / (x[1] - x[0]), (y[2] - y[1]) / (x[2] - x[1])
    curvature = (right - left) / (x[2] - x[0])
    if not curvature < 0:
        return float(x[1])
    return float(np.clip((x[0] + x[1]) / 2 - left / (2 * curvature), x.min(), x.max()))
