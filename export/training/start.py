"""The student before training, and its form in training: its input has a deviation of about one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_runtime.errors import ConfigError, WeightsError
from export.checkpoints import load_student
from export.pruning import random_pruning
from export.student import IMAGENET_MEAN_RGB, TEACHER_CHANNELS, CfVgg, LrnParams, channels_for_ratio
from export.teachers.base import Teacher
from export.teachers.vgg_m import CfVggTeacher
from export.training.config import StudentConfig

M = TypeVar("M", bound=nn.Module)

INPUT_STD = 58.0  # the optimiser sees inputs of order one; folded into conv1 when saving

# VGG-M's normalisation, for activations of inputs that are so much smaller.
LRN_ALPHA = LrnParams().alpha * INPUT_STD**2


def normalise(rgb: Tensor) -> Tensor:
    """What the network sees in training: (x - mean) / `INPUT_STD` of RGB 0..255."""
    mean = torch.tensor(IMAGENET_MEAN_RGB, device=rgb.device)[None, :, None, None]
    return (rgb - mean) / INPUT_STD


def make_student(config: StudentConfig, teachers: Sequence[Teacher], seed: int) -> CfVgg:
    """The network that training starts from, acting on `normalise`d pictures.

    Raises:
        WeightsError: the student to start from cannot be read or has other layers.
        ConfigError: pruning, and the first teacher is not VGG-M.
    """
    if config.start == "random":
        channels = config.channels or channels_for_ratio(config.ratio)
        return CfVgg(channels, LrnParams(alpha=LRN_ALPHA) if config.lrn else None)
    if config.start == "pruned":
        first = teachers[0] if teachers else None
        if not isinstance(first, CfVggTeacher) or first.model.channels != TEACHER_CHANNELS:
            raise ConfigError("only VGG-M can be pruned", fix="give --teacher vgg-m=FILE first")
        pruned = random_pruning(first.model, config.ratio, np.random.default_rng(seed))
        return scaled(pruned, first.mean_image)
    student = load_student(Path(config.start))
    wanted = config.channels or channels_for_ratio(config.ratio)
    if student.model.channels != wanted or (student.model.lrn is not None) != config.lrn:
        raise WeightsError(
            f"has {student.model.channels} filters and {'no ' * (student.model.lrn is None)}LRN",
            where=config.start,
            fix="set student.channels and student.lrn to what it has",
        )
    return scaled(student.model, student.mean)


def scaled(model: CfVgg, mean: NDArray[np.float32]) -> CfVgg:
    """A copy that gives for `normalise`d pictures what `model` gives for 0..255 RGB minus `mean`.

    Of a mean image only the channels' means are kept.
    """
    copy = _copy(model)
    channel_mean = mean.reshape(-1, 3).mean(0, dtype=np.float64)
    apart = torch.from_numpy(np.asarray(IMAGENET_MEAN_RGB) - channel_mean).float()
    with torch.no_grad():
        assert copy.conv1.bias is not None  # every convolution here has one
        copy.conv1.bias += (copy.conv1.weight.sum((2, 3)) * apart).sum(1)
        copy.conv1.weight *= INPUT_STD
    return copy


def unscaled(model: CfVgg) -> CfVgg:
    """A copy on the CPU that takes 0..255 RGB minus `IMAGENET_MEAN_RGB`; the inverse of `scaled`."""
    copy = _copy(model).eval()
    copy.conv1.weight.data /= INPUT_STD
    return copy


def channels_last(module: M) -> M:
    """The module with its weights laid out so: a third faster on the CPU."""
    changed: M = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's types
    return changed


def _copy(model: CfVgg) -> CfVgg:
    copy = CfVgg(model.channels, model.lrn)
    copy.load_state_dict({name: tensor.detach().cpu() for name, tensor in model.state_dict().items()})
    return copy
