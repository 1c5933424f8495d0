"""What every teacher is: a frozen network with feature levels whose cells lie at known pixels."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from edge_runtime.errors import ConfigError
from export.student import FIRST_CENTRES_PX, LEVEL_STRIDES


@dataclass(frozen=True)
class TeacherLevel:
    """One feature map of a teacher.

    Attributes:
        stride: input px from cell to cell.
        first_centre_px: input pixel on which cell 0 is centred, in rows and columns alike.
    """

    channels: int
    stride: int
    first_centre_px: float


class Teacher(nn.Module, abc.ABC):
    """Base class. Subclasses end their constructor with `freeze`.

    Args:
        name: "squeezenet", "googlenet", "vgg-m", "cf-vgg" or an import path.
        source: file name or import path, for provenance and model cards.
        levels: a non-empty subset of `export.student.TEACHER_LEVELS`, in that order.
    """

    def __init__(self, name: str, source: str, levels: dict[str, TeacherLevel]) -> None:
        super().__init__()
        self.name, self.source, self.levels = name, source, levels

    @abc.abstractmethod
    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        """Features of a batch of pictures.

        Args:
            rgb: float32 (n, 3, rows, columns), 0..255, nothing subtracted.

        Returns:
            For each of `levels`, in their order, float32 (n, channels, rows, columns) of that level.
        """

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode, whatever the module that holds it is set to."""
        return super().train(False)

    def freeze(self) -> None:
        """Evaluation mode, and no parameter requires a gradient."""
        self.eval().requires_grad_(False)


def aligned(
    features: dict[str, Tensor], teacher: Teacher, sizes: dict[str, tuple[int, int]]
) -> dict[str, Tensor]:
    """The teacher's maps at the centres of the student's cells (`FIRST_CENTRES_PX`, `LEVEL_STRIDES`).

    Where the student's centres are teacher's centres, cells are taken as they are; otherwise they are
    interpolated, bilinearly. A student's cell up to one teacher's cell outside the teacher's map takes
    the values at its edge.

    Args:
        features: what `teacher` gave.
        sizes: rows and columns of the student's maps, by level; levels that it lacks are left out.

    Returns:
        Tensors (n, channels, rows, columns), by level, with `sizes`' rows and columns.

    Raises:
        ConfigError: the teacher's map of a level ends before the student's.
    """
    found = {}
    for level, maps in features.items():
        if level not in sizes:
            continue
        rows, columns = (
            _places(teacher, level, available, cells)
            for available, cells in zip(maps.shape[2:], sizes[level], strict=True)
        )
        found[level] = _sampled(_sampled(maps, 2, rows), 3, columns)
    return found


def _places(teacher: Teacher, level: str, available: int, cells: int) -> list[float]:
    """Where along an axis the student's cells are, in the teacher's cells."""
    geometry, stride, first = teacher.levels[level], LEVEL_STRIDES[level], FIRST_CENTRES_PX[level]
    places = [(first + stride * i - geometry.first_centre_px) / geometry.stride for i in range(cells)]
    if places and (available == 0 or places[0] < -1 or places[-1] > available):
        last_px = geometry.first_centre_px + geometry.stride * (available - 1)
        raise ConfigError(
            f"the teacher's {level} level has {available} cells, centred on "
            f"{geometry.first_centre_px:g} to {last_px:g} px; the student's are on {first:g} to "
            f"{first + stride * (cells - 1):g} px",
            where=teacher.name,
            fix="use larger crops, or another submodule for the level",
        )
    return [min(max(place, 0.0), available - 1.0) for place in places]


def _sampled(maps: Tensor, axis: int, places: Sequence[float]) -> Tensor:
    steps = {b - a for a, b in itertools.pairwise(places)} or {1.0}
    if len(steps) == 1 and all(value >= 0 and value == int(value) for value in (*steps, *places)):
        (step,) = steps
        if step:
            start, stop = (int(places[0]), int(places[-1]) + 1) if places else (0, 0)
            return maps[(slice(None),) * axis + (slice(start, stop, int(step)),)]
    place = torch.tensor(places, dtype=torch.float64)
    below = place.floor()
    weight = (place - below).to(maps.device, maps.dtype).reshape(-1, *[1] * (maps.ndim - axis - 1))
    index = below.long().to(maps.device)
    above = (index + 1).clamp_max(maps.shape[axis] - 1)
    return torch.lerp(maps.index_select(axis, index), maps.index_select(axis, above), weight)
