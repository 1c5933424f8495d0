"""Feature maps straight from torch, on the workstation: any tracker runs on a network without a bundle.

That is how a teacher is evaluated as a tracker's network, and how a bundle is held against its original.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch

from calibration.report import Features
from edge_runtime.errors import ConfigError
from edge_runtime.features import check_patches
from edge_runtime.manifest import LevelInfo
from edge_runtime.types import FloatArray, Frame
from export.checkpoints import Student
from export.student import level_cells, level_infos, level_sizes
from export.teachers.base import Teacher, aligned
from export.verify import to_nchw, to_nhwc, torch_features


class TorchFeatures:
    """A `FeatureExtractor` (`edge_runtime.features`) over a torch network; see `of_student`, `of_teacher`.

    torch is set to one thread, for the whole process, so that timings and sums are those of one core.

    Args:
        features: maps of every level, (n, rows, columns, channels), of BGR uint8 patches.
        levels: what they are, in the same order; their cells are CF-VGG's, in number and place.
    """

    def __init__(self, features: Features, levels: tuple[LevelInfo, ...]) -> None:
        torch.set_num_threads(1)
        self._features, self._levels = features, {level.name: level for level in levels}

    @classmethod
    def of_student(cls, student: Student) -> TorchFeatures:
        """A student of any compression, VGG-M itself included: its mean subtracted, not folded."""
        return cls(torch_features(student), level_infos(student.model.level_channels))

    @classmethod
    def of_teacher(cls, teacher: Teacher) -> TorchFeatures:
        """The teacher's levels as a student is taught them: at CF-VGG's cells (`aligned`)."""

        @torch.no_grad()
        def features(patches: Frame) -> list[FloatArray]:
            n, rows, columns, _ = patches.shape
            stacked = np.ascontiguousarray(patches).reshape(n * rows, columns, 3)
            rgb = cv2.cvtColor(stacked, cv2.COLOR_BGR2RGB).reshape(patches.shape).astype(np.float32)
            maps = aligned(teacher(torch.from_numpy(to_nchw(rgb))), teacher, level_sizes(rows, columns))
            return [to_nhwc(level.numpy()) for level in maps.values()]

        return cls(features, level_infos({name: level.channels for name, level in teacher.levels.items()}))

    def level(self, name: str) -> LevelInfo:
        """The level's stride, channels and geometry. Raises `ConfigError` on an unknown name."""
        if name not in self._levels:
            names = ", ".join(self._levels)
            raise ConfigError(f"the network has no feature level {name!r}", fix=f"use one of {names}")
        return self._levels[name]

    def cells(self, name: str, size_px: int) -> int:
        """Rows (columns) of a level's map of patches of so many rows (columns); 0 if there are none."""
        self.level(name)
        return level_cells(name, size_px)

    def extract(self, patches: Frame, levels: tuple[str, ...]) -> tuple[FloatArray, ...]:
        """Maps (n, rows, columns, channels), float32, one per level in the order asked.

        Args:
            patches: BGR uint8 (n, rows, columns, 3).
            levels: their names.

        Raises:
            ConfigError: an unknown level, or a teacher whose map of such patches is smaller than CF-VGG's.
            InterpreterError: no patch, or patches under 33 px.
        """
        check_patches(patches.shape)
        names = [self.level(name).name for name in levels]
        maps = dict(zip(self._levels, self._features(patches), strict=True))
        return tuple(np.ascontiguousarray(maps[name], np.float32) for name in names)
