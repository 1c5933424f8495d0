"""STRCF's filter: the compiled core against the NumPy tracker, on every level that runs here."""

from __future__ import annotations

import dataclasses
import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.fft

from edge_runtime.core import LEVELS
from edge_runtime.trackers.fourier import gaussian_label
from edge_runtime.trackers.regularisation import target_window
from tests.oracle import fourier
from tests.oracle.admm import AdmmProblem, solve
from tests.oracle.fourier import rfft2
from tests.oracle.localisation import SeriesEvaluator, find_peak
from tests.oracle.strcf import add_resized, signed_frequencies, unit_range, whole_spectrum


@pytest.fixture(params=LEVELS)
def kernels(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(f"edge_runtime.core._core_{request.param}")


@dataclass
class Setup:
    """Groups of one target: grid sizes, and per group its blocks' channels and which of them are scaled."""

    sizes: tuple[int, ...] = (20, 7)
    channels: tuple[tuple[int, ...], ...] = ((31, 1), (64,))
    scaled: tuple[tuple[bool, ...], ...] = ((False, False), (True,))
    scales: int = 3
    iterations: int = 2
    temporal: float = 15.0
    penalty: float = 1.0
    growth: float = 10.0
    most: float = 0.1
    outside: float = 1e5
    newton: int = 5
    exclude_cells: int = 2

    def problems(self) -> list[AdmmProblem]:
        return [
            AdmmProblem(
                label=rfft2(gaussian_label(n, n, 1.5)),
                window=target_window((n, n), (max(n // 4, 1), max(n // 3, 1)), 1e-3, self.outside),
                cells=self.sizes[0] ** 2,
                temporal=self.temporal,
                iterations=self.iterations,
                penalty=self.penalty,
                penalty_growth=self.growth,
                penalty_most=self.most,
            )
            for n in self.sizes
        ]

    def windows(self) -> list[np.ndarray]:
        return [np.outer(w, w).astype(np.float32) for w in map(np.hanning, self.sizes)]

    def maps(self, samples: int, seed: int) -> list[np.ndarray]:
        """One array (samples, n, n, channels) per block."""
        rng = np.random.default_rng(seed)
        return [
            rng.uniform(-0.2 - b, 0.8, (samples, n, n, c)).astype(np.float32)
            for n, group in zip(self.sizes, self.channels, strict=True)
            for b, c in enumerate(group)
        ]

    def core(self, kernels: Any) -> Any:
        core = kernels.Strcf(
            self.scales,
            self.newton,
            self.exclude_cells,
            self.iterations,
            self.penalty,
            self.growth,
            self.most,
        )
        for problem, window, channels, scaled in zip(
            self.problems(), self.windows(), self.channels, self.scaled, strict=True
        ):
            label = problem.label.view(np.float32).reshape(*problem.label.shape, 2)
            core.add_group(list(channels), list(scaled), window, problem.window, label, self.temporal)
        return core


class Oracle:
    """What `StrcfTracker` of tests.oracle does with maps."""

    def __init__(self, setup: Setup) -> None:
        self.setup, self.problems, self.windows = setup, setup.problems(), setup.windows()
        self.filters: list[Any] = [None] * len(self.problems)

    def spectra(self, maps: list[np.ndarray]) -> list[np.ndarray]:
        left, spectra = list(maps), []
        for window, channels, scaled in zip(
            self.windows, self.setup.channels, self.setup.scaled, strict=True
        ):
            blocks, left = left[: len(channels)], left[len(channels) :]
            blocks = [unit_range(b) if s else b for b, s in zip(blocks, scaled, strict=True)]
            spectra.append(scipy.fft.rfft2(np.concatenate(blocks, -1) * window[..., None], axes=(1, 2)))
        return spectra

    def learn(self, maps: list[np.ndarray]) -> None:
        spectra = self.spectra(maps)
        self.filters = [
            solve(p, x[0], f) for p, x, f in zip(self.problems, spectra, self.filters, strict=True)
        ]

    def detect(self, maps: list[np.ndarray]) -> tuple[tuple[float, ...], np.ndarray]:
        size = self.setup.sizes[0]
        scores = np.zeros((self.setup.scales, size, size // 2 + 1), np.complex64)
        for x, f in zip(self.spectra(maps), self.filters, strict=True):
            add_resized(scores, np.einsum("hwc,nhwc->nhw", f.conj(), x))
        response = scipy.fft.irfft2(scores, s=(size, size), axes=(1, 2))
        k = signed_frequencies(size)
        evaluate = SeriesEvaluator(whole_spectrum(scores) / np.float32(size**2), k, k)
        found = find_peak(evaluate, response, self.setup.newton)
        psr = fourier.peak_to_sidelobe_ratio(response[found.scale], self.setup.exclude_cells)
        return (*found.displacement, found.height, psr, found.scale), response


def close(found: np.ndarray, expected: np.ndarray, share: float = 2e-5) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=share * np.abs(expected).max())


def core_filter(core: Any, group: int, like: np.ndarray) -> np.ndarray:
    out = np.zeros((*like.shape, 2), np.float32)
    core.copy_filter(group, out)
    return out.view(np.complex64)[..., 0]


def compare(kernels: Any, setup: Setup, frames: int = 4) -> None:
    """Both learn and look for the target in the same maps, frame by frame."""
    core, oracle = setup.core(kernels), Oracle(setup)
    for frame in range(frames):
        maps = setup.maps(1, 2 * frame)
        core.learn(maps)
        oracle.learn(maps)
        for group, f in enumerate(oracle.filters):
            close(core_filter(core, group, f), f, 1e-4)
        # The target again, and things that are not it.
        noise = setup.maps(setup.scales, 2 * frame + 1)
        samples = [
            np.roll(m, (frame, -2 * frame), (1, 2)) * np.float32(0.6) + np.float32(0.4) * x
            for m, x in zip(maps, noise, strict=True)
        ]
        found = core.detect(samples)
        expected, response = oracle.detect(samples)
        out = np.zeros(response.shape[1:], np.float32)
        for scale in range(setup.scales):
            core.copy_response(scale, out)
            close(out, response[scale], 1e-4)
        assert found[4] == expected[4]
        assert found[:2] == pytest.approx(expected[:2], abs=5e-3)
        assert found[2:4] == pytest.approx(expected[2:4], rel=1e-3)


@pytest.mark.parametrize("sizes", [(20, 7), (21, 8), (60, 15), (13, 13), (52, 13), (57, 14)])
def test_grids_of_any_sizes(kernels: Any, sizes: tuple[int, int]) -> None:
    compare(kernels, Setup(sizes=sizes))


@pytest.mark.parametrize(
    "channels", [(1,), (3,), (31,), (32,), (33,), (64,), (1, 1), (10, 5, 7), (64, 31, 1)]
)
@pytest.mark.parametrize("scaled", [False, True])
def test_channels_of_any_number(kernels: Any, channels: tuple[int, ...], scaled: bool) -> None:
    compare(kernels, Setup(sizes=(12,), channels=(channels,), scaled=((scaled,) * len(channels),)))


@pytest.mark.parametrize("iterations", [1, 2, 3, 5])
@pytest.mark.parametrize("temporal", [0.0, 15.0])
def test_any_number_of_iterations(kernels: Any, iterations: int, temporal: float) -> None:
    compare(kernels, Setup(iterations=iterations, temporal=temporal))


@pytest.mark.parametrize(
    ("penalty", "growth", "most"), [(0.5, 1.0, 0.5), (0.01, 1.5, 0.5), (1.0, 2.0, 100.0)]
)
def test_any_steps(kernels: Any, penalty: float, growth: float, most: float) -> None:
    compare(kernels, Setup(iterations=4, penalty=penalty, growth=growth, most=most))


@pytest.mark.parametrize("outside", [0.1, 1.0, 100.0, 1e6])
def test_weights_that_leave_rows_out_and_weights_that_do_not(kernels: Any, outside: float) -> None:
    compare(kernels, Setup(outside=outside, iterations=3))


@pytest.mark.parametrize("scales", [1, 5])
@pytest.mark.parametrize("newton", [0, 5])
def test_any_number_of_scales(kernels: Any, scales: int, newton: int) -> None:
    compare(kernels, Setup(scales=scales, newton=newton))


def test_three_groups(kernels: Any) -> None:
    compare(
        kernels,
        Setup(sizes=(24, 12, 6), channels=((8,), (5, 4), (20,)), scaled=((False,), (True, True), (True,))),
    )


def test_maps_need_not_be_contiguous(kernels: Any) -> None:
    """Central cells of larger maps, samples in another order, blocks that are channels of one array."""
    setup = Setup()
    maps = setup.maps(setup.scales, 0)
    views = []
    for m in maps:
        around = np.full((m.shape[0], m.shape[1] + 3, m.shape[2] + 2, m.shape[3] + 5), np.nan, np.float32)
        around[::-1, 1:-2, 1:-1, 2:-3] = m
        views.append(around[::-1, 1:-2, 1:-1, 2:-3])
    core, strided = setup.core(kernels), setup.core(kernels)
    core.learn([m[:1] for m in maps])
    strided.learn([v[:1] for v in views])
    assert core.detect(maps) == strided.detect(views)


def test_targets_do_not_share_anything(kernels: Any) -> None:
    setup = Setup()
    first, other = setup.core(kernels), setup.core(kernels)
    first.learn(setup.maps(1, 0))
    before = first.detect(setup.maps(3, 1))
    other.learn(setup.maps(1, 5))
    assert first.detect(setup.maps(3, 1)) == before != other.detect(setup.maps(3, 1))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e38, -1e38])
def test_what_is_not_a_number_is_survived(kernels: Any, bad: float) -> None:
    setup = Setup()
    core = setup.core(kernels)
    core.learn(setup.maps(1, 0))
    maps = setup.maps(3, 1)
    for m in maps:
        m[1, 2, 3] = bad
    for _ in range(2):
        down, across, _, psr, scale = core.detect(maps)
        assert max(abs(down), abs(across)) <= 10
        assert np.isfinite(psr)
        assert scale in range(3)
        core.learn([m[1:2] for m in maps])


def test_flat_maps_have_no_peak(kernels: Any) -> None:
    setup = Setup()
    core = setup.core(kernels)
    blank = [np.zeros_like(m) for m in setup.maps(3, 0)]
    core.learn([m[:1] for m in blank])
    assert core.detect(blank) == (0, 0, 0, 0, 0)


def test_wrong_use_is_refused(kernels: Any) -> None:
    setup = Setup()
    core = setup.core(kernels)
    maps = setup.maps(1, 0)
    with pytest.raises(ValueError, match="learn a target"):
        core.detect(setup.maps(3, 0))
    with pytest.raises(ValueError, match="one array per block"):
        core.learn(maps[:2])
    with pytest.raises(ValueError, match="of their group"):
        core.learn([maps[0], maps[0], maps[2]])
    with pytest.raises(ValueError, match="of their group"):
        core.learn(setup.maps(2, 0))
    with pytest.raises(ValueError, match="next to each other"):
        core.learn([*maps[:2], np.asfortranarray(maps[2])])
    with pytest.raises(TypeError):
        core.learn([m.astype(float) for m in maps])
    with pytest.raises(ValueError, match="groups come before"):
        Setup.core(setup, kernels=_Late(core))
    with pytest.raises(ValueError, match="positive"):
        dataclasses.replace(setup, iterations=0).core(kernels)
    with pytest.raises(ValueError, match="finest grid"):
        dataclasses.replace(setup, sizes=(7, 20)).core(kernels)


class _Late:
    """Hands out a core that has seen samples."""

    def __init__(self, core: Any) -> None:
        self.Strcf = lambda *_: core
