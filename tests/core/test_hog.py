"""Histograms of gradients, grey and colour names of the compiled core against NumPy's (tests/oracle)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.trackers import colour, hog
from tests.core.levels import every_level
from tests.oracle import colour as oracle_colour
from tests.oracle.hog import hog as oracle_hog

every = pytest.mark.parametrize("core", every_level())


def pictures(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Noise, smooth, or of few grey levels (ties between channels, exact diagonals); perhaps a view."""
    count, rows, columns, channels = shape
    noise = rng.integers(0, 256, (count, rows + 3, columns + 5, 3), dtype=np.uint8)
    kind = rng.integers(3)
    if kind == 0:
        noise = noise // 64 * 64
    if kind == 1:
        noise = np.stack([cv2.GaussianBlur(picture, (0, 0), 2) for picture in noise])
    view = noise[:, 2 : rows + 2, 1 : columns + 1, :channels]
    return view.copy() if rng.random() < 0.5 else view


@every
@pytest.mark.parametrize("seed", range(4))
def test_hog_is_the_oracle_s(core: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(60):
        cell = int(rng.integers(1, 9))
        shape = (
            int(rng.integers(1, 4)),
            *(int(n) for n in rng.integers(cell, 60, 2)),
            int(rng.choice([1, 3])),
        )
        patches = pictures(rng, shape)
        expected = oracle_hog(patches, cell)
        found = np.full((*expected.shape[:3], 35), 7, np.float32)
        core.hog(patches, cell, found, 2)
        np.testing.assert_allclose(found[..., 2:33], expected, atol=1e-6, err_msg=str((shape, cell)))
        assert (found[..., :2] == 7).all()
        assert (found[..., 33:] == 7).all()


@every
def test_every_orientation_is_the_oracle_s(core: Any) -> None:
    """All gradients of -255 to 255 at pixel (1, 1) of 3x3, whose cell is all of it."""
    y, x = (g.ravel() for g in np.mgrid[-255:256:3, -255:256:2])
    patches = np.zeros((x.size, 3, 3, 1), np.uint8)
    patches[:, 1, 2, 0], patches[:, 1, 0, 0] = np.maximum(x, 0), np.maximum(-x, 0)
    patches[:, 2, 1, 0], patches[:, 0, 1, 0] = np.maximum(y, 0), np.maximum(-y, 0)
    found = np.empty((x.size, 1, 1, 31), np.float32)
    core.hog(patches, 3, found)
    np.testing.assert_allclose(found, oracle_hog(patches, 3), atol=1e-6)


@every
@pytest.mark.parametrize("seed", range(3))
def test_grey_and_colour_names_are_the_oracle_s(core: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(32768, 11)).astype(np.float32)
    for _ in range(30):
        cell = int(rng.integers(1, 9))
        shape = (
            int(rng.integers(1, 4)),
            *(int(n) for n in rng.integers(cell, 60, 2)),
            int(rng.choice([1, 3])),
        )
        patches = pictures(rng, shape)
        expected = oracle_colour.grey(patches, cell)
        maps = np.full((*expected.shape[:3], 13), 7, np.float32)
        core.grey(patches, cell, maps, 12)
        np.testing.assert_allclose(maps[..., 12:], expected, atol=5e-7)
        assert (maps[..., :12] == 7).all()
        if shape[3] == 3:
            core.colour_names(patches, table, cell, maps, 1)
            np.testing.assert_allclose(
                maps[..., 1:12], oracle_colour.colour_names(patches, table, cell), atol=2e-6
            )
            assert (maps[..., 0] == 7).all()


def test_into_the_channels_of_one_array() -> None:
    patches = pictures(np.random.default_rng(0), (2, 30, 34, 3))
    both = np.empty((2, 7, 8, 32), np.float32)
    assert hog.hog(patches, 4, out=both) is both
    assert colour.grey(patches, 4, out=both, first_channel=31) is both
    np.testing.assert_array_equal(both[..., :31], hog.hog(patches))
    np.testing.assert_array_equal(both[..., 31:], colour.grey(patches, 4))


@every
@pytest.mark.parametrize("kernel", ["hog", "grey"])
def test_what_is_refused(core: Any, kernel: str) -> None:
    patches, channels = np.zeros((2, 16, 20, 3), np.uint8), 31 if kernel == "hog" else 1
    run = getattr(core, kernel)
    good = np.empty((2, 4, 5, channels), np.float32)
    run(patches, 4, good)
    for bad in (good[:1].copy(), good[:, :3].copy(), good[:, :, :4].copy(), good[..., :-1].copy()):
        with pytest.raises(ValueError, match="maps are"):
            run(patches, 4, bad)
    for first in (1, -1, 2**62):
        with pytest.raises(ValueError, match="maps are"):
            run(patches, 4, good, first)
    for cell in (0, -4):
        with pytest.raises(ValueError, match="cell"):
            run(patches, cell, good)
    with pytest.raises(ValueError, match="patches are"):
        run(patches[..., :2], 4, good)
    with pytest.raises(TypeError):
        run(patches.astype(np.float32), 4, good)
    with pytest.raises(TypeError):
        run(patches, 4, good.astype(np.float64))


@every
def test_colour_names_want_their_table(core: Any) -> None:
    patches, out = np.zeros((1, 8, 8, 3), np.uint8), np.empty((1, 2, 2, 4), np.float32)
    with pytest.raises(ValueError, match="32768"):
        core.colour_names(patches, np.zeros((100, 4), np.float32), 4, out)
    with pytest.raises(ValueError, match="three channels"):
        core.colour_names(patches[..., :1], np.zeros((32768, 4), np.float32), 4, out)


@every
@pytest.mark.parametrize("shape", [(0, 16, 16, 3), (2, 3, 16, 3), (2, 16, 2, 1)])
def test_without_a_whole_cell_nothing_is_written(core: Any, shape: tuple[int, ...]) -> None:
    for kernel in (core.hog, core.grey):
        kernel(
            np.zeros(shape, np.uint8), 4, np.empty((shape[0], shape[1] // 4, shape[2] // 4, 31), np.float32)
        )
