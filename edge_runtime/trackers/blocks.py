"""From a frame to a tracker's feature blocks: hand-crafted and network features on one code path."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from edge_runtime.core import kernels
from edge_runtime.errors import ConfigError
from edge_runtime.features import FeatureExtractor
from edge_runtime.trackers.colour import colour_names, grey
from edge_runtime.trackers.hog import CHANNELS as HOG_CHANNELS
from edge_runtime.trackers.hog import hog
from edge_runtime.trackers.presets import CNN_PREFIX
from edge_runtime.trackers.sampling import patch_of_size, round_half_up
from edge_runtime.types import FloatArray, Frame

HAND_CRAFTED = {"hog": HOG_CHANNELS, "gray": 1}


class Cutter(Protocol):
    """How a sample is cut from the frame."""

    def __call__(
        self, frame: Frame, centre: tuple[int, int], side_px: float, output_px: int, *, out: Frame | None
    ) -> Frame:
        """The square of `side_px` frame pixels, (output_px, output_px, channels), written into `out`."""


@dataclass(frozen=True)
class BlockSpec:
    """One feature block.

    Attributes:
        name: "hog", "gray", "cn" or "cnn:<level>".
        cell_px: of the map that comes out, in pixels of the sample.
        channels: of the map.
        pooling: network maps are averaged over so many cells a side.
    """

    name: str
    cell_px: int
    channels: int
    pooling: int = 1

    @property
    def level(self) -> str | None:
        """The network's level, or None for hand-crafted features."""
        return self.name.removeprefix(CNN_PREFIX) if self.name.startswith(CNN_PREFIX) else None


def block_specs(
    names: Sequence[str],
    pooling: Sequence[int],
    cell_px: int,
    extractor: FeatureExtractor | None,
    table: FloatArray | None = None,
) -> list[BlockSpec]:
    """Blocks for a tracker's `features` setting.

    Raises:
        ConfigError: an unknown name, a level that the network has not, no network for one, no table for
            colour names, or pooling of what is not the network's.
    """
    return [_block_spec(n, p, cell_px, extractor, table) for n, p in zip(names, pooling, strict=True)]


def _block_spec(
    name: str, pooling: int, cell_px: int, extractor: FeatureExtractor | None, table: FloatArray | None
) -> BlockSpec:
    if pooling != 1 and not name.startswith(CNN_PREFIX):
        raise ConfigError(f"feature {name!r} cannot be pooled", fix="use 1, and set hand_crafted_cell_px")
    if name == "cn":
        if table is None:
            raise ConfigError("feature 'cn' needs a table of colour names", fix="set tracker.colour_names")
        return BlockSpec(name, cell_px, table.shape[1])
    if name in HAND_CRAFTED:
        return BlockSpec(name, cell_px, HAND_CRAFTED[name])
    if not name.startswith(CNN_PREFIX):
        options = ", ".join((*HAND_CRAFTED, "cn", f"{CNN_PREFIX}<level>"))
        raise ConfigError(f"unknown feature {name!r}", fix=f"use {options}")
    if extractor is None:
        raise ConfigError(
            f"feature {name!r} needs a network", fix="set model.bundle or --bundle, or deploy one"
        )
    level = extractor.level(name.removeprefix(CNN_PREFIX))
    return BlockSpec(name, level.stride * pooling, level.channels, pooling)


class SampleLayout:
    """Sizes of a target's sample, and the features of samples of those sizes.

    The sample is a square of `input_px` that the network sees. Maps cover the square of `support_px` in its
    middle, stride times cells of the deepest level; hand-crafted features are taken from that square.

    Args:
        specs: the blocks.
        side_px: wanted side of the sample at a scale of 1.
        cells: how the sample grows from that: until the deepest map has one cell more ("more"), or one or
            two more and an odd number ("odd").
        cut: `sampling.decimated_patch` (ECO) or `cut_rounded` (STRCF).
        table: colour names, see `colour.load_colour_names`.
    """

    def __init__(
        self,
        specs: Sequence[BlockSpec],
        side_px: float,
        *,
        cells: Literal["more", "odd"],
        cut: Cutter,
        extractor: FeatureExtractor | None,
        table: FloatArray | None = None,
    ) -> None:
        self.specs, self._cut, self._extractor, self._table = list(specs), cut, extractor, table
        self._patch_rooms: dict[tuple[int, int, int, int], Frame] = {}
        self._map_rooms: dict[tuple[int, int], FloatArray] = {}
        self._levels = tuple(level for spec in specs if (level := spec.level) is not None)
        if self._levels:
            assert extractor is not None  # block_specs saw to it
            deepest = max(self._levels, key=lambda level: extractor.level(level).stride)
            self.input_px, cells_deep = grown(side_px, lambda px: extractor.cells(deepest, px), cells)
            self.support_px = extractor.level(deepest).stride * cells_deep
        else:
            self.input_px = self.support_px = hand_crafted_side(side_px, [s.cell_px for s in specs], cells)
        self.cells = [self.support_px // spec.cell_px for spec in specs]
        if min(self.cells) < 3:
            raise ConfigError(f"a sample of {self.support_px} px has too few cells", fix="raise min_area_px")

    def extract(self, frame: Frame, centre: tuple[int, int], scales: Sequence[float]) -> list[FloatArray]:
        """Maps (scales, cells, cells, channels), float32, one per block, of samples around a pixel.

        Args:
            frame: (rows, columns, 3), or (rows, columns, 1) for a grey sequence.
            scales: frame pixels per sample pixel.
        """
        maps: dict[str, FloatArray] = {}
        if self._levels:
            assert self._extractor is not None
            patches = self._patches(frame, centre, scales, self.input_px)
            if patches.shape[3] == 1:
                patches = np.repeat(patches, 3, axis=3)
            found = self._extractor.extract(patches, self._levels)
            maps = dict(zip(self._levels, found, strict=True))
        if any(spec.level is None for spec in self.specs):
            support = self._patches(frame, centre, scales, self.support_px)
        return [
            self._central(maps[spec.level], block)
            if spec.level is not None
            else self._hand_crafted(block, support)
            for block, spec in enumerate(self.specs)
        ]

    def _patches(self, frame: Frame, centre: tuple[int, int], scales: Sequence[float], px: int) -> Frame:
        shape = len(scales), px, px, frame.shape[2]
        if shape not in self._patch_rooms:
            self._patch_rooms[shape] = np.empty(shape, np.uint8)
        patches = self._patch_rooms[shape]
        for patch, scale in zip(patches, scales, strict=True):
            self._cut(frame, centre, px * scale, px, out=patch)
        return patches

    def _hand_crafted(self, block: int, patches: Frame) -> FloatArray:
        return hand_crafted_map(self.specs[block], patches, self._table, self._room(block, len(patches)))

    def _room(self, block: int, samples: int) -> FloatArray:
        """The array that a block's maps of so many samples are written into, frame after frame."""
        cells, channels = self.cells[block], self.specs[block].channels
        if (block, samples) not in self._map_rooms:
            self._map_rooms[block, samples] = np.empty((samples, cells, cells, channels), np.float32)
        return self._map_rooms[block, samples]

    def _central(self, maps: FloatArray, block: int) -> FloatArray:
        """The cells of (n, rows, columns, channels) that cover the support; means if the block is pooled."""
        pooling = self.specs[block].pooling
        wanted = self.cells[block] * pooling
        top, left = ((size - wanted) // 2 for size in maps.shape[1:3])
        cut = maps[:, top : top + wanted, left : left + wanted]
        if pooling == 1:
            return cut
        room = self._room(block, len(maps))
        for sample, out in zip(cut, room, strict=True):
            kernels.pool(channels_innermost(sample), out)
        return room


def hand_crafted_map(
    spec: BlockSpec, patches: Frame, table: FloatArray | None, out: FloatArray | None = None
) -> FloatArray:
    """The map of "hog", "gray" or "cn" of patches (n, rows, columns, channels), into `out` if it is given."""
    if spec.name == "hog":
        return hog(patches, spec.cell_px, out=out)
    if spec.name == "gray":
        return grey(patches, spec.cell_px, out=out)
    assert table is not None  # block_specs saw to it
    return colour_names(patches, table, spec.cell_px)


def channels_innermost(maps: FloatArray) -> FloatArray:
    """Maps as they are, or a copy if a cell's channels do not lie together."""
    return maps if maps.strides[-1] == maps.itemsize else np.ascontiguousarray(maps)


def cut_rounded(
    frame: Frame, centre: tuple[int, int], side_px: float, output_px: int, *, out: Frame | None = None
) -> Frame:
    """STRCF's way, see `sampling.patch_of_size`."""
    side = max(round_half_up(side_px), 2)
    return patch_of_size(frame, centre, side, side, (output_px, output_px), out=out)


def grown(side_px: float, cells_of: Callable[[int], int], cells: Literal["more", "odd"]) -> tuple[int, int]:
    """The smallest side from `side_px` upwards, in steps of 1 px, with the wanted cells: (px, cells)."""
    now = cells_of(round_half_up(side_px))
    wanted = now + 1 if cells == "more" else now + 1 + now % 2
    while cells_of(round_half_up(side_px)) < wanted:
        side_px += 1
    return round_half_up(side_px), cells_of(round_half_up(side_px))


def hand_crafted_side(side_px: float, cells_px: Sequence[int], cells: Literal["more", "odd"]) -> int:
    """Side of the sample without a network: whole cells of the coarsest block ("odd": an odd number)."""
    coarsest = max(cells_px)
    if cells == "more":
        return round_half_up(side_px / coarsest) * coarsest
    side = (1 + 2 * round_half_up(side_px / (2 * coarsest))) * coarsest
    odd_blocks = [sum((side + extra) // cell % 2 for cell in cells_px) for extra in range(coarsest)]
    return side + int(np.argmax(odd_blocks))


def sample_side(
    target_px: tuple[float, float], search_scale: float, area_px: tuple[float, float]
) -> tuple[float, float]:
    """Side of the square sample in its own pixels, and the frame pixels per sample pixel.

    The area search_scale^2 h w is brought into [least, most] by the scale.

    Args:
        target_px: (h, w).
        area_px: (least, most).
    """
    # In this order: later, sizes times scale are rounded down, and golden tracks hang on the last bit.
    area = (target_px[0] * search_scale) * (target_px[1] * search_scale)
    scale = math.sqrt(area / min(max(area, area_px[0]), area_px[1]))
    return math.sqrt(area) / scale, scale
