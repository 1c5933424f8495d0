"""VGG-M (Chatfield 2014), the paper's teacher, and any CF-VGG as a teacher of another."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from edge_runtime.errors import WeightsError
from edge_runtime.preprocess import MOST_MEAN_IMAGES, imresize_bicubic
from export.checkpoints import Student, load_student
from export.matconvnet import load_matconvnet
from export.student import (
    FIRST_CENTRES_PX,
    LEVEL_STRIDES,
    TEACHER_CHANNELS,
    TEACHER_LEVELS,
    CfVgg,
    Levels,
)
from export.teachers.base import Teacher, TeacherLevel

LOADERS = {".mat": load_matconvnet, ".safetensors": load_student}


class CfVggTeacher(Teacher):
    """A CF-VGG of any width, VGG-M itself included: conv1, conv2 (after their LRN, if any) and conv5.

    Its cells are the student's. It computes in float32 under autocast too, because of its LRN. Its mean
    image, if it has one, is resized to the input as `edge_runtime.preprocess` does.

    Args:
        student: the network and its mean; the network is frozen.
    """

    def __init__(self, student: Student, name: str, source: str) -> None:
        channels = student.model.level_channels
        levels = {
            level: TeacherLevel(channels[level], LEVEL_STRIDES[level], FIRST_CENTRES_PX[level])
            for level in TEACHER_LEVELS
        }
        super().__init__(name, source, levels)
        self.model: CfVgg = student.model
        self.mean_image = student.mean if student.mean.ndim == 3 else student.mean[None, None]
        self._resized: dict[tuple[int, int, torch.device], Tensor] = {}
        self.freeze()

    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        """Features, see `Teacher.forward`."""
        with torch.autocast(rgb.device.type, enabled=False):
            maps: Levels = self.model(rgb.float() - self._mean(rgb))
        return maps.distilled

    def _mean(self, rgb: Tensor) -> Tensor:
        key = (rgb.shape[2], rgb.shape[3], rgb.device)
        if key not in self._resized:
            if len(self._resized) >= MOST_MEAN_IMAGES:
                del self._resized[next(iter(self._resized))]  # the oldest
            mean = torch.from_numpy(imresize_bicubic(self.mean_image, rgb.shape[2], rgb.shape[3]))
            self._resized[key] = mean.permute(2, 0, 1).contiguous().to(rgb.device)
        return self._resized[key]


def load_cf_vgg(path: Path) -> CfVggTeacher:
    """A student (.safetensors, or .mat as MatConvNet writes it) of any width as a teacher.

    Raises:
        WeightsError: the file is missing, damaged or of another kind.
    """
    if path.suffix not in LOADERS:
        raise WeightsError("has an unknown suffix", where=path, fix=f"give a {' or '.join(LOADERS)} file")
    return CfVggTeacher(LOADERS[path.suffix](path), "cf-vgg", path.name)


def load_vgg_m(path: Path) -> CfVggTeacher:
    """VGG-M from a MatConvNet file, `imagenet-vgg-m-2048.mat`.

    Raises:
        WeightsError: the file is missing or damaged, or its layers have other widths than VGG-M's.
    """
    student = load_matconvnet(path)
    if student.model.channels != TEACHER_CHANNELS:
        raise WeightsError(
            f"is no VGG-M: its layers have {student.model.channels} filters, VGG-M's {TEACHER_CHANNELS}",
            where=path,
            fix=f"give imagenet-vgg-m-2048.mat, or cf-vgg={path} for a network of other widths",
        )
    return CfVggTeacher(student, "vgg-m", path.name)
