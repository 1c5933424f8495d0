"""fDeepSTRCF and STRCF: spatial-temporal regularised correlation filters (Li 2018, CVPR)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import scipy.fft

from edge_runtime.trackers import strcf
from edge_runtime.trackers.fourier import gaussian_label
from edge_runtime.trackers.regularisation import target_window
from edge_runtime.types import ComplexArray, FloatArray, Frame
from tests.oracle.admm import AdmmProblem, solve
from tests.oracle.blocks import SampleLayout, cut_rounded
from tests.oracle.fourier import peak_to_sidelobe_ratio, rfft2
from tests.oracle.localisation import SeriesEvaluator, find_peak


class StrcfTracker(strcf.StrcfTracker):
    """The compiled tracker's settings, sizes and places; features, filter and localisation in NumPy."""

    layout = SampleLayout

    def _start(self, frame: Frame, target_px: tuple[float, float]) -> None:
        step = self.config.scale_step
        layout = self._lay_out(frame, target_px, scale_step=step, cells="more", cut=cut_rounded)
        self._sizes = [layout.support_px // cell for cell in self._cells_px]
        self._output_size = self._sizes[0]
        self._exclude_cells = self._sidelobe_margin(layout.support_px, self._output_size)
        self._windows = [np.outer(w, w).astype(np.float32)[..., None] for w in map(np.hanning, self._sizes)]
        self._problems = [self._problem(group) for group in range(len(self._groups))]
        self._filters: list[ComplexArray] = []
        self._learn(frame)

    def _problem(self, group: int) -> AdmmProblem:
        config, size, cell = self.config, self._sizes[group], self._cells_px[group]
        cells = math.prod(math.floor(px / cell) for px in self.base_px)
        # A target of under one cell still has a label and a rectangle of one.
        label = gaussian_label(size, size, math.sqrt(max(cells, 1)) * config.label_sigma)
        rows, columns = (max(math.floor(px / config.window_cells_px[group]), 1) for px in self.base_px)
        return AdmmProblem(
            label=rfft2(label),
            window=target_window((size, size), (rows, columns), config.window_inside, config.window_outside),
            cells=self._output_size**2,
            temporal=config.temporal[group],
            iterations=config.iterations,
            penalty=config.penalty,
            penalty_growth=config.penalty_growth,
            penalty_most=config.penalty_most,
        )

    def _locate(self, frame: Frame) -> float:
        at = self._pixel()
        spectra = self._spectra(frame, at, [self.scale * factor for factor in self._factors])
        with self._stage("response"):
            size = self._output_size
            scores = np.zeros((len(self._factors), size, size // 2 + 1), np.complex64)
            for x, f in zip(spectra, self._filters, strict=True):
                add_resized(scores, np.einsum("hwc,nhwc->nhw", f.conj(), x))
            response = scipy.fft.irfft2(scores, s=(size, size), axes=(1, 2))
            k = signed_frequencies(size)
            evaluate = SeriesEvaluator(whole_spectrum(scores) / np.float32(size**2), k, k)
            found = find_peak(evaluate, response, self.config.newton_iterations)
            psr = peak_to_sidelobe_ratio(response[found.scale], self._exclude_cells)
        factor = self._factors[found.scale]
        px_per_cell = self._layout.support_px / size * self.scale * factor
        self._move(at, found.displacement, px_per_cell)
        self._rescale(factor)
        return psr

    def _learn(self, frame: Frame) -> None:
        spectra = self._spectra(frame, self._pixel(), [self.scale])
        with self._stage("training"):
            before: list[ComplexArray | None] = [*self._filters] or [None] * len(spectra)
            self._filters = [
                solve(problem, x[0], f) for problem, x, f in zip(self._problems, spectra, before, strict=True)
            ]

    def _spectra(self, frame: Frame, at: tuple[int, int], scales: Sequence[float]) -> list[ComplexArray]:
        """Per group, half spectra (scales, rows, stored columns, channels) of windowed samples."""
        with self._stage("features"):
            maps = [
                unit_range(m) if spec.level is not None else m
                for m, spec in zip(self._layout.extract(frame, at, scales), self._specs, strict=True)
            ]
        with self._stage("spectra"):
            grouped = [np.concatenate([maps[b] for b in group], -1) for group in self._groups]
            return [
                scipy.fft.rfft2(g * window, axes=(1, 2))
                for g, window in zip(grouped, self._windows, strict=True)
            ]


def add_resized(scores: ComplexArray, part: ComplexArray) -> None:
    """Add half spectra (n, rows, stored columns) of a smaller grid to those of a larger one, in place.

    Frequencies that only the larger grid has get nothing, nor the smaller one's at half its size if that is
    even. Values scale with the number of cells, as those of an unnormalised DFT do.
    """
    size, small = scores.shape[1], part.shape[1]
    if small == size:
        scores += part
        return
    part = part * np.float32((size / small) ** 2)
    up, down = (small + 1) // 2, (small - 1) // 2
    scores[:, :up, :up] += part[:, :up, :up]
    scores[:, size - down :, :up] += part[:, small - down :, :up]


def signed_frequencies(size: int) -> FloatArray:
    """0, 1, … size // 2, … -2, -1 as a DFT has them, float32; the one at half an even size is positive."""
    k = np.arange(size, dtype=np.float32)
    k[size // 2 + 1 :] -= size
    return k


def whole_spectrum(half: ComplexArray) -> ComplexArray:
    """(n, size, size) from half spectra (n, size, stored columns).

    Between the cells of a grid of even size the frequency at half of it is ambiguous. Both axes take it as
    positive, in all columns, as the authors' program does; from the half alone, peaks differ by 0.02 px.
    """
    size = half.shape[1]
    opposite = -np.arange(size) % size
    left = half[:, opposite, (size - 1) // 2 : 0 : -1].conj()
    return np.concatenate([half, left], 2)


def unit_range(maps: FloatArray) -> FloatArray:
    """Every channel of every sample (n, rows, columns, channels) scaled to [0, 1] by its own extremes."""
    least = maps.min((1, 2), keepdims=True)
    return np.asarray((maps - least) / (maps.max((1, 2), keepdims=True) - least + np.float32(1e-7)))
