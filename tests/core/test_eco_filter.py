"""The compiled ECO filter against the one in NumPy, frame by frame on the same maps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime.trackers.eco_filter import EcoFilter
from edge_runtime.trackers.settings import EcoConfig
from edge_runtime.types import FloatArray
from tests.oracle import eco_filter as oracle

HOG_ONLY = EcoConfig(features=("hog",), pooling=(1,), channels=(3,), samples=1)
HAND_CRAFTED = replace(HOG_ONLY, features=("hog", "gray"), pooling=(1, 1), channels=(10, 1), samples=7)
CASES = {
    "feco": (EcoConfig(), (36, 9, 36), (12, 64, 31)),
    "eco-hc": (HAND_CRAFTED, (35, 35), (31, 1)),
    "even number of channels": (
        replace(HOG_ONLY, channels=(4,), samples=5, learning_rate=0.2),
        (24,),
        (31,),
    ),
    "one sample": (HOG_ONLY, (20,), (31,)),
    "replaces samples": (replace(HOG_ONLY, samples=2, learning_rate=0.6), (20,), (31,)),
}


def smooth_maps(rng: np.random.Generator, cells: int, channels: int) -> FloatArray:
    """Random maps with more energy in low frequencies, as features have."""
    spectrum = np.fft.rfft2(rng.standard_normal((cells, cells, channels)), axes=(0, 1))
    falloff = 1 / (
        1 + np.hypot(*np.meshgrid(np.fft.fftfreq(cells) * cells, np.arange(cells // 2 + 1), indexing="ij"))
    )
    return np.ascontiguousarray(
        np.fft.irfft2(spectrum * falloff[..., None], s=(cells, cells), axes=(0, 1)), np.float32
    )


def moved(maps: list[FloatArray], rng: np.random.Generator, strength: float) -> list[FloatArray]:
    return [m + np.float32(strength) * smooth_maps(rng, *m.shape[1:]) for m in maps]


def read(core: object, name: str, grid: oracle.Grid) -> NDArray[np.complex64]:
    out = np.empty((*grid.shape, 2), np.float32)
    getattr(core, name)(grid_index(core, grid), out)
    return out[..., 0] + 1j * out[..., 1]


GRIDS: dict[int, list[int]] = {}


def grid_index(core: object, grid: oracle.Grid) -> int:
    return GRIDS[id(core)].index(grid.size)


def relative(a: NDArray[np.complex64], b: NDArray[np.complex64]) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.mark.parametrize("case", CASES)
def test_filter_follows_the_oracle(case: str) -> None:
    config, cells, channels_in = CASES[case]
    config = replace(config, first_gauss_newton=3, first_iterations=6)
    rng = np.random.default_rng(5)
    maps = [smooth_maps(rng, n, c) for n, c in zip(cells, channels_in, strict=True)]
    ours = EcoFilter(config, cells, channels_in, max(cells) * 4, (30.0, 40.0))
    theirs = oracle.EcoFilter(config, cells, max(cells) * 4, (30.0, 40.0))
    GRIDS[id(ours.core)] = [grid.size for grid in theirs.grids]
    normalised = [oracle.normalised(m[None])[0] for m in maps]
    ours.learn_first(maps, (0.05, -0.02))
    theirs.learn_first(normalised, (0.05, -0.02))
    for grid, f in zip(theirs.grids, theirs.filters, strict=True):
        assert relative(read(ours.core, "copy_filter", grid), f) < 2e-3
    for frame in range(20):
        now = moved(maps, rng, 0.3)
        shift = tuple(rng.uniform(-0.1, 0.1, 2))
        ours.core.series(now)
        sample = theirs.series([oracle.normalised(m[None])[0] for m in now])
        for grid, x in zip(theirs.grids, sample, strict=True):
            assert relative(read(ours.core, "copy_sample", grid), x) < 2e-3
        ours.core.remember(*shift)
        theirs.remember(sample, shift)
        weights = ours.core.weights()
        np.testing.assert_allclose(weights, theirs.space.weights, rtol=1e-4, atol=1e-7)
        if frame % 3 == 0:
            ours.core.train()
            theirs.train()
    for grid, f in zip(theirs.grids, theirs.filters, strict=True):
        assert relative(read(ours.core, "copy_filter", grid), f) < 5e-3
