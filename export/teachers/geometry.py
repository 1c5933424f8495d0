"""Where the cells of a network's feature maps lie, measured from the outside."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from edge_runtime.errors import ConfigError
from export.teachers.base import TeacherLevel

Forward = Callable[[Tensor], dict[str, Tensor]]

SMALL_PX, LARGE_PX = 192, 384  # their difference has the usual strides as divisors, 3, 6 and 12 among them
SUPPORT_PX = (384, 768, 1152)  # the smallest that holds a cell's whole support is taken
GREY = 128.0
INPUTS = 4  # of noise: what a ReLU or a maximum hides in one is seen in another
SEED = 0
POOLING = (functional.adaptive_avg_pool2d, torch.mean, Tensor.mean)
OTHER = "choose another submodule"


def measured_levels(forward: Forward, levels: Iterable[str], where: str) -> dict[str, TeacherLevel]:
    """Channels, stride and first centre of each level of a frozen network.

    The stride is how many px more give a cell more. A cell's centre is the middle of the pixels that its
    gradients reach, over several noise inputs and both axes. Averages over the whole picture
    (squeeze-and-excitation) do not count: they scale a cell's channels and have no place.

    Args:
        forward: RGB 0..255 (n, 3, rows, columns) to maps by level; must let gradients through.
        levels: whose geometry to measure.
        where: what the network is called in messages.

    Raises:
        ConfigError: the network fails on some input size, or a map does not grow evenly with the input, has
            other strides for rows than for columns, or cells that see the whole picture otherwise.
    """
    wide = _checked(forward, torch.full((1, 3, SMALL_PX, LARGE_PX), GREY), where)
    tall = _checked(forward, torch.full((1, 3, LARGE_PX, SMALL_PX), GREY), where)
    found = {}
    for level in levels:
        place = f"{where}: {level} level"
        stride = _stride(wide[level], tall[level], place)
        first_px = _first_centre_px(functools.partial(_level, forward, level), stride, place)
        found[level] = TeacherLevel(wide[level].shape[1], stride, first_px)
    return found


def _stride(wide: Tensor, tall: Tensor, where: str) -> int:
    more = (tall.shape[2] - wide.shape[2], wide.shape[3] - tall.shape[3])
    if more[0] != more[1] or more[0] < 1 or (LARGE_PX - SMALL_PX) % more[0]:
        raise ConfigError(
            f"its map has {tuple(wide.shape[2:])} cells of {SMALL_PX} x {LARGE_PX} px and "
            f"{tuple(tall.shape[2:])} of {LARGE_PX} x {SMALL_PX} px, no whole stride",
            where=where,
            fix="choose a submodule whose map grows evenly with the picture",
        )
    return (LARGE_PX - SMALL_PX) // more[0]


def _first_centre_px(level: Callable[[Tensor], Tensor], stride: int, where: str) -> float:
    generator = torch.Generator().manual_seed(SEED)
    for size_px in SUPPORT_PX:
        lines = torch.zeros(size_px, dtype=torch.bool)  # rows or columns that the cell sees
        for _ in range(INPUTS):
            rgb = 255 * torch.rand(1, 3, size_px, size_px, generator=generator)
            cell, seen = _support(level, rgb, where, generator)
            lines |= seen.any(0) | seen.any(1)
            if lines[0] or lines[-1]:
                break  # the border may have cut it off
        else:
            reached = torch.nonzero(lines)
            if len(reached) == 0:
                raise ConfigError("does not depend on the picture", where=where, fix=OTHER)
            return (int(reached[0]) + int(reached[-1])) / 2 - stride * cell
    raise ConfigError(
        f"its cells see more than {SUPPORT_PX[-1]} px (attention, or normalisation over the picture?), so "
        "that their centres cannot be measured",
        where=where,
        fix=OTHER,
    )


def _support(
    level: Callable[[Tensor], Tensor], rgb: Tensor, where: str, generator: torch.Generator
) -> tuple[int, Tensor]:
    """Row and column of the middle cell, and which pixels it sees, bool (rows, columns)."""
    with torch.enable_grad(), _NoGlobalPooling():
        maps = level(rgb.requires_grad_())
        cell = maps.shape[2] // 2
        channels = maps[0, :, cell, cell]
        if not channels.requires_grad:
            raise ConfigError(
                "has no gradient by the picture, so that its cells' centres cannot be measured",
                where=where,
                fix="take torch.no_grad out of the network",
            )
        # Random weights, lest channels cancel.
        (gradient,) = torch.autograd.grad(channels @ torch.randn(len(channels), generator=generator), rgb)
    return cell, (gradient != 0).any(1)[0]


class _NoGlobalPooling(TorchFunctionMode):
    """Lets no gradient through averages over all pixels of a map."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in POOLING and isinstance(result, Tensor) and args:
            maps = args[0]
            if maps.ndim == 4 and result.numel() == maps.shape[0] * maps.shape[1]:
                return result.detach()
        return result


def _level(forward: Forward, level: str, rgb: Tensor) -> Tensor:
    return forward(rgb)[level]


@torch.no_grad()
def _checked(forward: Forward, rgb: Tensor, where: str) -> dict[str, Tensor]:
    try:
        return forward(rgb)
    except ConfigError:
        raise
    except Exception as error:  # a network may raise anything
        rows, columns = rgb.shape[2:]
        raise ConfigError(
            f"fails on a picture of {rows} x {columns} px ({type(error).__name__}: {error})",
            where=where,
            fix="a teacher must take pictures of any size",
        ) from error
