"""Feature blocks: sizes against brute-force search, maps against loops, what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edge_runtime.errors import ConfigError
from edge_runtime.manifest import LevelInfo
from edge_runtime.trackers.blocks import (
    BlockSpec,
    Cutter,
    SampleLayout,
    block_specs,
    cut_rounded,
    grown,
    hand_crafted_side,
    sample_side,
)
from edge_runtime.trackers.colour import colour_names, grey
from edge_runtime.trackers.hog import hog
from edge_runtime.trackers.sampling import decimated_patch, patch_of_size
from edge_runtime.types import FloatArray, Frame
from tests.oracle.blocks import central_cells
from tests.tracker.pixels import texture

FRAME = texture(200, 240, seed=1)
CENTRE = (90, 130)
TABLE = np.random.default_rng(0).random((32768, 4)).astype(np.float32)
SIDES_PX = np.arange(60.0, 140.0, 0.25)


class PlaceFeatures:
    """Every level's map holds its own rows and columns, then the patch's number; patches are kept.

    As in a network without padding, the first cells are lost: a level has (size - offset) // stride.
    """

    def __init__(self) -> None:
        self.levels = {"low": (2, 5), "high": (16, 23)}  # stride, offset
        self.seen: list[Frame] = []

    def level(self, name: str) -> LevelInfo:
        if name not in self.levels:
            raise ConfigError(f"no level {name!r}", fix=f"use {', '.join(self.levels)}")
        return LevelInfo(name, self.levels[name][0], 3, 0.0)

    def cells(self, name: str, size_px: int) -> int:
        stride, offset = self.levels[name]
        return max(0, (size_px - offset) // stride)

    def extract(self, patches: Frame, levels: tuple[str, ...]) -> tuple[FloatArray, ...]:
        self.seen.append(patches)
        maps = []
        for name in levels:
            n, cells = len(patches), self.cells(name, patches.shape[1])
            rows, columns = np.mgrid[:cells, :cells]
            numbers = np.broadcast_to(np.arange(n)[:, None, None], (n, cells, cells))
            planes = [np.broadcast_to(plane, numbers.shape) for plane in (rows, columns)]
            maps.append(np.stack([*planes, numbers], -1).astype(np.float32))
        return tuple(maps)


def layout(
    names: list[str], pooling: list[int], side_px: float, network: PlaceFeatures | None, **options: object
) -> SampleLayout:
    chosen = {"cells": "odd", "cut": decimated_patch, "table": TABLE, **options}
    specs = block_specs(names, pooling, 4, network, TABLE)
    return SampleLayout(specs, side_px, extractor=network, **chosen)


# Sizes


@pytest.mark.parametrize("offset", [0, 5, 23])
@pytest.mark.parametrize("stride", [4, 16])
@pytest.mark.parametrize("cells", ["more", "odd"])
def test_grown_is_the_smallest_side_with_the_wanted_cells(offset: int, stride: int, cells: str) -> None:
    def cells_of(px: int) -> int:
        return max(0, (px - offset) // stride)

    for side_px in SIDES_PX:
        start = int(np.floor(side_px + 0.5))
        good = (
            px
            for px in range(start, 1000)
            if cells_of(px) > cells_of(start) and (cells == "more" or cells_of(px) % 2 == 1)
        )
        px = next(good)
        assert grown(side_px, cells_of, cells) == (px, cells_of(px))
        assert cells_of(px) - cells_of(start) <= (1 if cells == "more" else 2)


@pytest.mark.parametrize("coarsest", [4, 6])
def test_more_without_a_network_is_the_nearest_whole_number_of_cells(coarsest: int) -> None:
    for side_px in SIDES_PX:
        sides = [n * coarsest for n in range(1, 60)]
        nearest = min(reversed(sides), key=lambda side: abs(side - side_px))  # of two, the larger
        assert hand_crafted_side(side_px, [coarsest, 2], "more") == nearest


@pytest.mark.parametrize("cells_px", [(4,), (4, 4), (6, 4), (4, 6), (8, 4, 2), (6, 4, 5)])
def test_odd_without_a_network_is_the_side_with_the_most_odd_blocks(cells_px: tuple[int, ...]) -> None:
    """From the odd number of coarsest cells that is nearest to one cell more than asked, upwards."""
    coarsest = max(cells_px)
    for side_px in SIDES_PX:
        wanted = side_px / coarsest + 1
        first = coarsest * min(range(61, 0, -2), key=lambda n: abs(n - wanted))

        def odd_blocks(side: int) -> int:
            return sum((side // cell) % 2 == 1 for cell in cells_px)

        sides = range(first, first + coarsest)
        best = max(sides, key=odd_blocks)  # the first of equals
        assert hand_crafted_side(side_px, cells_px, "odd") == best
        assert (best // coarsest) % 2 == 1


def test_a_sample_of_a_network_covers_whole_cells_of_its_deepest_level() -> None:
    network = PlaceFeatures()
    found = layout(["cnn:low", "cnn:high", "hog"], [2, 1, 1], 200.0, network)
    # 200 px have 11 cells of 16 px; 13 is the next odd number.
    assert found.input_px == 13 * 16 + 23
    assert found.support_px == 13 * 16
    assert found.cells == [52, 13, 52]
    more = layout(["cnn:low", "cnn:high", "hog"], [2, 1, 1], 200.0, network, cells="more")
    assert (more.input_px, more.support_px, more.cells) == (12 * 16 + 23, 12 * 16, [48, 12, 48])


def test_a_sample_without_a_network_is_its_own_support() -> None:
    found = layout(["hog", "gray", "cn"], [1, 1, 1], 150.0, None)
    assert found.input_px == found.support_px == hand_crafted_side(150.0, [4, 4, 4], "odd") == 156
    assert found.cells == [39, 39, 39]


def test_too_few_cells_are_refused_in_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        layout(["hog"], [1], 8.0, None, cells="more")
    assert str(caught.value) == "a sample of 8 px has too few cells; raise min_area_px"
    with pytest.raises(ConfigError, match="a sample of 32 px has too few cells"):
        layout(["cnn:high"], [1], 40.0, PlaceFeatures(), cells="more")


@pytest.mark.parametrize("target_px", [(48.0, 48.0), (4.0, 90.0), (10.0, 11.0), (300.0, 200.0), (45.0, 44.0)])
def test_the_samples_area_is_brought_within_its_limits_by_the_scale(target_px: tuple[float, float]) -> None:
    search, limits = 4.5, (40000.0, 62500.0)
    side, scale = sample_side(target_px, search, limits)
    in_frame = search * np.sqrt(target_px[0] * target_px[1])
    assert side * scale == pytest.approx(in_frame)
    assert 200 - 1e-9 <= side <= 250 + 1e-9
    if limits[0] <= in_frame**2 <= limits[1]:
        assert scale == 1.0
    else:
        assert side == pytest.approx(200 if in_frame < 200 else 250)


# Maps


@pytest.mark.parametrize("size", [11, 12, 13])
@pytest.mark.parametrize(("cells", "pooling"), [(3, 1), (4, 1), (11, 1), (3, 2), (5, 2), (2, 3), (3, 3)])
def test_central_cells_are_averaged_as_loops_do(size: int, cells: int, pooling: int) -> None:
    maps = np.random.default_rng(2).normal(size=(2, size, size + 1, 3)).astype(np.float32)
    found = central_cells(maps, cells, pooling)
    top, left = (size - cells * pooling) // 2, (size + 1 - cells * pooling) // 2
    assert found.shape == (2, cells, cells, 3)
    assert found.dtype == np.float32
    for n, r, c in np.ndindex(2, cells, cells):
        rows = slice(top + r * pooling, top + (r + 1) * pooling)
        columns = slice(left + c * pooling, left + (c + 1) * pooling)
        np.testing.assert_allclose(found[n, r, c], maps[n, rows, columns].mean((0, 1)), atol=1e-6)


CUTS: list[tuple[Cutter, Callable[[int, float], Frame]]] = [
    (decimated_patch, lambda px, scale: decimated_patch(FRAME, CENTRE, px * scale, px)),
    (
        cut_rounded,
        lambda px, scale: patch_of_size(
            FRAME, CENTRE, *(int(np.floor(px * scale + 0.5)),) * 2, output=(px, px)
        ),
    ),
]


@pytest.mark.parametrize(("cut", "expected"), CUTS, ids=["decimated", "rounded"])
def test_blocks_of_several_scales_come_from_the_middle_of_one_sample(
    cut: Cutter, expected: Callable[[int, float], Frame]
) -> None:
    network, scales = PlaceFeatures(), [0.9, 1.0, 1.37]
    found = layout(["cnn:low", "hog", "cnn:high", "gray", "cn"], [2, 1, 1, 1, 1], 150.0, network, cut=cut)
    low, hogs, high, greys, names = found.extract(FRAME, CENTRE, scales)
    # The network sees the whole sample, all scales at once.
    assert len(network.seen) == 1
    patches = np.stack([expected(found.input_px, scale) for scale in scales])
    np.testing.assert_array_equal(network.seen[0], patches)
    # Hand-crafted features see the square that the maps cover.
    support = np.stack([expected(found.support_px, scale) for scale in scales])
    np.testing.assert_array_equal(hogs, hog(support, 4))
    np.testing.assert_array_equal(greys, grey(support, 4))
    np.testing.assert_array_equal(names, colour_names(support, TABLE, 4))
    cells = [low, hogs, high, greys, names]
    assert [m.shape[1] for m in cells] == [m.shape[2] for m in cells] == found.cells
    # Of the network's maps the middle is taken; a cell of the low level stands for two by two.
    of_low, of_high = (network.cells(level, found.input_px) for level in ("low", "high"))
    first = (of_low - 2 * found.cells[0]) // 2
    np.testing.assert_array_equal(low[1, :, 0, 0], first + 0.5 + 2 * np.arange(found.cells[0]))
    np.testing.assert_array_equal(low[1, 0, :, 1], low[1, :, 0, 0])
    assert of_high == found.cells[2]
    np.testing.assert_array_equal(high[1, :, 0, 0], np.arange(of_high))
    for maps in (low, high):
        np.testing.assert_array_equal(maps[:, 0, 0, 2], [0, 1, 2])


def test_the_network_is_not_asked_for_hand_crafted_features() -> None:
    network = PlaceFeatures()
    (maps,) = layout(["gray"], [1], 100.0, network).extract(FRAME, CENTRE, [1.0])
    assert maps.shape == (1, 27, 27, 1)
    assert network.seen == []


def test_a_grey_frame_goes_through_the_network_as_three_equal_channels() -> None:
    network = PlaceFeatures()
    found = layout(["cnn:high", "hog", "gray"], [1, 1, 1], 150.0, network)
    _, hogs, greys = found.extract(FRAME[..., :1], CENTRE, [1.0, 1.1])
    (patches,) = network.seen
    assert patches.shape == (2, found.input_px, found.input_px, 3)
    for channel in range(3):
        expected = decimated_patch(FRAME[..., :1], CENTRE, found.input_px, found.input_px)
        np.testing.assert_array_equal(patches[0, ..., channel], expected[..., 0])
    support = decimated_patch(FRAME[..., :1], CENTRE, found.support_px, found.support_px)
    np.testing.assert_array_equal(hogs[0], hog(support[None], 4)[0])
    np.testing.assert_array_equal(greys[0], grey(support[None], 4)[0])


# Names


def test_specs_tell_cells_and_channels() -> None:
    found = block_specs(
        ["hog", "gray", "cn", "cnn:low", "cnn:high"], [1, 1, 1, 2, 1], 6, PlaceFeatures(), TABLE
    )
    assert found == [
        BlockSpec("hog", 6, 31),
        BlockSpec("gray", 6, 1),
        BlockSpec("cn", 6, 4),
        BlockSpec("cnn:low", 4, 3, 2),
        BlockSpec("cnn:high", 16, 3, 1),
    ]
    assert [spec.level for spec in found] == [None, None, None, "low", "high"]


@pytest.mark.parametrize(
    ("name", "network", "expected"),
    [
        ("sift", PlaceFeatures(), "unknown feature 'sift'; use hog, gray, cn, cnn:<level>"),
        ("HOG", None, "unknown feature 'HOG'; use hog, gray, cn, cnn:<level>"),
        ("cnn:low", None, "feature 'cnn:low' needs a network; set model.bundle or --bundle, or deploy one"),
        ("cnn:deep", PlaceFeatures(), "no level 'deep'; use low, high"),
        ("cnn:", PlaceFeatures(), "no level ''; use low, high"),
        ("cn", PlaceFeatures(), "feature 'cn' needs a table of colour names; set tracker.colour_names"),
    ],
)
def test_what_is_missing_or_unknown_is_said_in_one_line(
    name: str, network: PlaceFeatures | None, expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        block_specs(["hog", name], [1, 1], 4, network, None)
    assert str(caught.value) == expected


@pytest.mark.parametrize("name", ["hog", "gray", "cn"])
def test_what_is_not_the_networks_cannot_be_pooled(name: str) -> None:
    with pytest.raises(ConfigError, match=f"feature '{name}' cannot be pooled; use 1"):
        block_specs([name], [2], 4, None, TABLE)
