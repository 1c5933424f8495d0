"""CF-VGG, the student network (and its uncompressed form, VGG-M), in torch.

Geometry: MatConvNet's VGG-M as a fully convolutional extractor. Feature cell `i` of the four levels
is centred on input pixel 3 + 2i (low), 9 + 8i (middle) and 17 + 16i (conv3 and high).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_runtime.manifest import LevelInfo

TEACHER_CHANNELS = (96, 256, 512, 512, 512)
COMPRESSION_RATIOS = (1, 16, 32, 64, 96)
LEVELS = ("low", "middle", "conv3", "high")
TEACHER_LEVELS = ("low", "middle", "high")
LEVEL_STRIDES = {"low": 2, "middle": 8, "conv3": 16, "high": 16}
FIRST_CENTRES_PX = {"low": 3.0, "middle": 9.0, "conv3": 17.0, "high": 17.0}
IMAGENET_MEAN_RGB = (123.0, 117.0, 104.0)


class Levels(NamedTuple):
    """Feature maps of one batch, each float32 of shape (n, channels, rows, columns)."""

    low: Tensor
    middle: Tensor
    conv3: Tensor
    high: Tensor

    @property
    def distilled(self) -> dict[str, Tensor]:
        """Those that a teacher has too, by name."""
        return {"low": self.low, "middle": self.middle, "high": self.high}


@dataclass(frozen=True)
class LrnParams:
    """Cross-channel normalisation x / (k + alpha * sum(x^2 over n channels))^beta.

    `alpha` is per element as in MatConvNet, not divided by `n` as in torch, ONNX and Caffe.
    """

    n: int = 5
    k: float = 2.0
    alpha: float = 1e-4
    beta: float = 0.75


def channels_for_ratio(ratio: int, teacher: tuple[int, ...] = TEACHER_CHANNELS) -> tuple[int, ...]:
    """Filters per layer when 1/sqrt(ratio) of the teacher's are kept (method, section 1).

    Raises:
        ValueError: `ratio` is not one of `COMPRESSION_RATIOS`.
    """
    if ratio not in COMPRESSION_RATIOS:
        raise ValueError(f"compression ratio {ratio} is not one of {COMPRESSION_RATIOS}")
    return tuple(max(1, round(c / math.sqrt(ratio))) for c in teacher)


def level_infos(channels: dict[str, int]) -> tuple[LevelInfo, ...]:
    """Levels, by name, of a network whose cells lie where CF-VGG's do."""
    return tuple(LevelInfo(n, LEVEL_STRIDES[n], c, FIRST_CENTRES_PX[n]) for n, c in channels.items())


def map_sizes(size_px: int) -> tuple[int, int, int, int, int]:
    """Rows (columns) of the maps of conv1..conv5, for an input of so many rows (columns)."""
    conv1 = (size_px - 7) // 2 + 1
    conv2 = (_pooled(conv1) + 2 - 5) // 2 + 1
    deep = _pooled(conv2)
    return conv1, conv2, deep, deep, deep


def level_cells(level: str, size_px: int) -> int:
    """Rows (columns) of a level's map, for an input of so many rows (columns); 0 if there are none."""
    conv1, conv2, conv3, _, conv5 = map_sizes(size_px)
    return max(0, dict(zip(LEVELS, (conv1, conv2, conv3, conv5), strict=True))[level])


def level_sizes(rows: int, columns: int) -> dict[str, tuple[int, int]]:
    """Rows and columns of every level's map, for an input of so many."""
    return {level: (level_cells(level, rows), level_cells(level, columns)) for level in LEVELS}


def _pooled(size: int) -> int:
    return (size + 1 - 3) // 2 + 1


class CrossChannelNorm(nn.Module):
    """LRN from operations that every runtime delegates: a 1x1 band convolution over the squares.

    beta = 3/4 is computed as rsqrt(s) * sqrt(rsqrt(s)), without a power.
    """

    band: Tensor

    def __init__(self, channels: int, params: LrnParams) -> None:
        super().__init__()
        if params.beta != 0.75:
            raise ValueError(f"LRN exponent {params.beta} is not supported, only 0.75")
        index = torch.arange(channels)
        below, above = (params.n - 1) // 2, params.n // 2
        offset = index[None, :] - index[:, None]
        band = ((offset >= -below) & (offset <= above)).float() * params.alpha
        self.params = params
        self.register_buffer("band", band[:, :, None, None], persistent=False)
        self.register_buffer("shift", torch.full((channels,), float(params.k)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (n, channels, rows, columns) across channels."""
        energy = functional.conv2d(x * x, self.band, self.get_buffer("shift"))
        inverse_root = torch.reciprocal(torch.sqrt(energy))
        return x * (inverse_root * torch.sqrt(inverse_root))


class CfVgg(nn.Module):
    """Five convolutions, four feature levels.

    Input: (n, 3, rows, columns), float32 RGB minus the mean. Output: `Levels` after ReLU (and after
    LRN on the low and middle levels where the network has it), before pooling.

    Args:
        channels: filters of conv1..conv5; the student is (12, 32, 64, 64, 64).
        lrn: normalisation after conv1 and conv2, or None.
    """

    def __init__(self, channels: tuple[int, ...] | None = None, lrn: LrnParams | None = None) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = channels = channels or channels_for_ratio(64)
        self.channels, self.lrn = tuple(channels), lrn
        self.conv1 = nn.Conv2d(3, c1, 7, stride=2)
        self.conv2 = nn.Conv2d(c1, c2, 5, stride=2, padding=1)
        self.conv3 = nn.Conv2d(c2, c3, 3, padding=1)
        self.conv4 = nn.Conv2d(c3, c4, 3, padding=1)
        self.conv5 = nn.Conv2d(c4, c5, 3, padding=1)
        self.norm1 = CrossChannelNorm(c1, lrn) if lrn else nn.Identity()
        self.norm2 = CrossChannelNorm(c2, lrn) if lrn else nn.Identity()
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # bias=True, so it is a tensor

    @property
    def level_channels(self) -> dict[str, int]:
        """Channels of every level, in the order of `LEVELS`."""
        c1, c2, c3, _, c5 = self.channels
        return dict(zip(LEVELS, (c1, c2, c3, c5), strict=True))

    def forward(self, x: Tensor) -> Levels:
        """Feature maps of a batch of mean-free pictures."""
        low = self.norm1(functional.relu(self.conv1(x)))
        middle = self.norm2(functional.relu(self.conv2(_pool(low))))
        conv3 = functional.relu(self.conv3(_pool(middle)))
        x = functional.relu(self.conv4(conv3))
        return Levels(low, middle, conv3, functional.relu(self.conv5(x)))


def _pool(x: Tensor) -> Tensor:
    # MatConvNet pads this pool at the bottom and right only. Inputs are non-negative, so padding
    # with zeros equals padding with -inf, and an explicit pad stays right under resizing, where
    # exported `ceil_mode` does not.
    return functional.max_pool2d(functional.pad(x, (0, 1, 0, 1)), 3, stride=2)
