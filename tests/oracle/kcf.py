"""KCF and fKCF: kernelised correlation filters on one feature (Henriques 2015, eqs. 16, 22, 30, 31).

A square window around the target is resized to a fixed size; the filter that maps its features to a
Gaussian is solved in closed form in the Fourier domain. A frame's one sample serves to find the target and
to learn it; scale, if at all, is fDSST's filter's task.
"""

from __future__ import annotations

import numpy as np

from edge_runtime.trackers import kcf
from edge_runtime.trackers.fourier import gaussian_label, hann_window
from edge_runtime.trackers.kcf import on_grid
from edge_runtime.types import ComplexArray, FloatArray, Frame
from tests.oracle.colour import grey
from tests.oracle.fourier import irfft2, peak, peak_to_sidelobe_ratio, rfft2
from tests.oracle.hog import hog
from tests.oracle.patches import sample_patch
from tests.oracle.scale_filter import ScaleFilter


class KernelFilter:
    """The ridge regression from feature maps to a label, for one target.

    Template and dual coefficients are averaged over time separately, as in KCF.

    Args:
        label: (rows, columns) float32, see `gaussian_label`.
        regularisation: ridge term.
        sigma: deviation of the Gaussian kernel, or None for the linear one.
    """

    def __init__(self, label: FloatArray, regularisation: float, sigma: float | None = None) -> None:
        self.shape = label.shape
        self._label = rfft2(label)
        self._regularisation, self._sigma = regularisation, sigma
        self._template: ComplexArray | None = None
        self._dual: ComplexArray | None = None

    def learn(self, features: FloatArray, rate: float, shift: tuple[float, float] = (0.0, 0.0)) -> None:
        """Blend in a sample (channels, rows, columns), windowed, the target `shift` cells off its centre.

        The shift is a turn of the spectrum's phases, which leaves the kernel with itself as it is.
        """
        spectrum = rfft2(features)
        dual = self._label / (self._kernel(spectrum, spectrum[None])[0] + np.float32(self._regularisation))
        spectrum = spectrum * turns(self.shape, shift)
        if self._template is None or self._dual is None:
            self._template, self._dual = spectrum, dual
        else:
            self._template += np.float32(rate) * (spectrum - self._template)
            self._dual += np.float32(rate) * (dual - self._dual)

    def respond(self, features: FloatArray) -> FloatArray:
        """Response maps (n, rows, columns) to windowed samples (n, channels, rows, columns)."""
        assert self._template is not None and self._dual is not None, "learn() comes first"
        return irfft2(self._kernel(self._template, rfft2(features)) * self._dual, *self.shape)

    def _kernel(self, x: ComplexArray, z: ComplexArray) -> ComplexArray:
        """Spectra (n, rows, stored columns) of the kernel between all shifts of x and each z.

        Linear: sum_d x_d . z_d / N, N being the number of values of x. Gaussian:
        exp(-max(0, |x|^2 + |z|^2 - 2 x . z) / (sigma^2 N)).
        """
        count = np.float32(x.shape[0] * self.shape[0] * self.shape[1])
        product: ComplexArray = np.einsum("chw,nchw->nhw", x.conj(), z) / count
        if self._sigma is None:
            return product
        energies = self._energy(x) + self._energy(z)
        # In double precision: the kernel is nearly 1 everywhere, and rounding would be as large as the ridge.
        distance = energies[:, None, None] / count - 2 * irfft2(product.astype(np.complex128), *self.shape)
        return rfft2(np.exp(-np.maximum(distance, 0) / self._sigma**2))

    def _energy(self, spectra: ComplexArray) -> FloatArray:
        """|x|^2 of the maps behind half spectra (…, channels, rows, stored columns), by Parseval."""
        squares = spectra.real.astype(np.float64) ** 2 + spectra.imag.astype(np.float64) ** 2
        once = squares[..., 0].sum((-2, -1))
        if self.shape[1] % 2 == 0:
            once = once + squares[..., -1].sum((-2, -1))
        total: FloatArray = (2 * squares.sum((-3, -2, -1)) - once) / np.float32(self.shape[0] * self.shape[1])
        return total


def turns(shape: tuple[int, ...], shift: tuple[float, float]) -> ComplexArray:
    """exp(2 pi i (f . shift) / n) for a half spectrum: what lies at `shift` comes to the origin.

    Half of an even n is its own negative frequency, so its real part is left.
    """
    down, right = (np.exp(2j * np.pi * f * d) for f, d in zip(axes(shape), shift, strict=True))
    for size, factor in zip(shape, (down, right), strict=True):
        if size % 2 == 0:
            factor[size // 2] = factor[size // 2].real
    return np.outer(down, right).astype(np.complex64)


def axes(shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    """Frequencies of a half spectrum's rows and columns, in turns a cell."""
    return np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])


class KcfTracker(kcf.KcfTracker):
    """The compiled tracker's settings and places; features and filter in NumPy."""

    def _start(self, frame: Frame, target_px: tuple[float, float]) -> None:
        self.base_px, self.scale = target_px, 1.0
        self._window_px = self.config.search_scale * float(np.sqrt(target_px[0] * target_px[1]))
        maps = self._features(frame)
        rows, columns = maps.shape[1:]
        window = hann_window(rows, columns)
        root_mean_square = float(np.sqrt(np.mean((maps * window) ** 2)))
        # Window and normalisation in one factor, the target's for good: (rows, columns) float32.
        self._weight = window * np.float32(1.0 / max(root_mean_square, 1e-12))
        target_cells = rows / self.config.search_scale
        label = gaussian_label(rows, columns, self.config.label_sigma * target_cells)
        self._exclude_cells = max(2, round(target_cells / 4))
        sigma = self.config.kernel_sigma if self.config.kernel == "gaussian" else None
        self._filter = KernelFilter(label, self.config.regularisation, sigma)
        self._filter.learn(maps * self._weight, 1.0)
        self._scale_filter = None
        if self.config.scale_filter:
            self._scale_filter = ScaleFilter(self.config.scale, target_px, self.base_px)
            self._scale_filter.learn(frame, self.centre, self.scale)

    def _locate(self, frame: Frame) -> float:
        self._sample_at()
        self._sample = self._features(frame)
        response = self._filter.respond((self._sample * self._weight)[None])[0]
        psr = peak_to_sidelobe_ratio(response, self._exclude_cells)
        self._px_per_cell = self._spec.cell_px * self._window_px * self.scale / self._input_px
        self._sampled_at = self.centre
        down, right = peak(response)
        self.centre = self.centre[0] + down * self._px_per_cell, self.centre[1] + right * self._px_per_cell
        if self._scale_filter is not None:
            factor = self._scale_filter.locate(frame, self.centre, self.scale)
            self.scale = self._limited_scale(self.scale * factor)
        return psr

    def _learn(self, frame: Frame) -> None:
        """From the detection's maps: moved by whole cells before the window, by the rest after it."""
        cells = [
            (now - before) / self._px_per_cell
            for now, before in zip(self.centre, self._sampled_at, strict=True)
        ]
        whole = [round(shift) for shift in cells]
        moved = np.roll(self._sample, (-whole[0], -whole[1]), (1, 2)) * self._weight
        self._filter.learn(moved, self.config.learning_rate, (cells[0] - whole[0], cells[1] - whole[1]))
        if self._scale_filter is not None:
            self._scale_filter.learn(frame, self.centre, on_grid(self.scale))

    def _features(self, frame: Frame) -> FloatArray:
        """float32 (channels, rows, columns) of the window around the current centre."""
        patch = sample_patch(frame, self.centre, self._window_px * self.scale, self._input_px)[None]
        spec = self._spec
        if spec.level is None:
            maps = hog(patch, spec.cell_px) if spec.name == "hog" else grey(patch, spec.cell_px)
        else:
            assert self._extractor is not None  # block_specs saw to it
            (maps,) = self._extractor.extract(np.broadcast_to(patch, (*patch.shape[:3], 3)), (spec.level,))
        return np.ascontiguousarray(maps[0].transpose(2, 0, 1))
