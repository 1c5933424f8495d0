"""GoogLeNet (Szegedy 2015, the BVLC Caffe model) as a teacher.

Caffe pads conv1 by 3 px, which puts its cells 3 px before CF-VGG's on every level, at 2i, 6 + 8i and
14 + 16i. Without that padding they lie exactly on CF-VGG's pixels, 3 + 2i, 9 + 8i and 17 + 16i, and
away from the border hold the same values: so conv1 is not padded here, and nothing is resampled. What
the padded network says is found by padding the picture by 3 px of the mean colour.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from export.student import CrossChannelNorm, LrnParams
from export.teachers.base import Teacher, TeacherLevel
from export.teachers.caffe import CaffeLayers, Shape, pool, read_layers

# Inception module: 1x1; 3x3 reduce and 3x3; 5x5 reduce and 5x5; pool projection.
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
}
# Caffe divides alpha by the window's size, `LrnParams` does not.
LRN = LrnParams(n=5, k=1.0, alpha=1e-4 / 5, beta=0.75)
LEVELS = {
    "low": TeacherLevel(64, 2, 3.0),
    "middle": TeacherLevel(256, 8, 9.0),
    "high": TeacherLevel(512, 16, 17.0),
}


class GoogLeNet(Teacher):
    """Levels: conv1 (64 channels, stride 2), inception_3a (256, stride 8), inception_4c (512, stride 16).

    Receptive fields, along the chain of 3x3 convolutions and at most, are 43 and 59 px for 3a, 59 and 91 px
    for 3b; 139 and 235 px for 4b, 171 and 299 px for 4c, 235 and 427 px for 4e. The student sees 27 px on its
    middle level and 139 px on its high one: hence 3a, not the deeper 3b, and 4c, not 4e. fKCF on five dev
    sequences agrees (mean AUC: 3a 0.731, 3b 0.713; 4a 0.710, 4b 0.725, 4c 0.722, 4e 0.671); of 4b and 4c,
    which are equal there, the deeper one says more about what is seen.
    """

    def __init__(self, weights: dict[str, Tensor], source: str) -> None:
        super().__init__("googlenet", source, LEVELS)
        self.layers = CaffeLayers(weights)
        self.norm1, self.norm2 = CrossChannelNorm(64, LRN), CrossChannelNorm(192, LRN)
        self.freeze()

    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        """Features, see `Teacher.forward`."""
        conv = self.layers.conv
        low = conv("conv1/7x7_s2", self.layers.input(rgb), stride=2)
        x = conv("conv2/3x3_reduce", _normalised(self.norm1, pool(low)))
        x = _normalised(self.norm2, conv("conv2/3x3", x, padding=1))
        middle = self._inception("3a", pool(x))
        x = pool(self._inception("3b", middle))
        for module in ("4a", "4b", "4c"):
            x = self._inception(module, x)
        return {"low": low.float(), "middle": middle.float(), "high": x.float()}

    def _inception(self, module: str, x: Tensor) -> Tensor:
        conv, name = self.layers.conv, f"inception_{module}"
        branches = (
            conv(f"{name}/1x1", x),
            conv(f"{name}/3x3", conv(f"{name}/3x3_reduce", x), padding=1),
            conv(f"{name}/5x5", conv(f"{name}/5x5_reduce", x), padding=2),
            conv(f"{name}/pool_proj", functional.max_pool2d(x, 3, 1, padding=1)),
        )
        return torch.cat(branches, 1)


def _normalised(norm: CrossChannelNorm, x: Tensor) -> Tensor:
    # Its squares overflow float16.
    with torch.autocast(x.device.type, enabled=False):
        result: Tensor = norm(x.float())
    return result


def layer_shapes() -> dict[str, Shape]:
    """Weights of every layer up to the high level."""
    shapes: dict[str, Shape] = {
        "conv1/7x7_s2": (64, 3, 7, 7),
        "conv2/3x3_reduce": (64, 64, 1, 1),
        "conv2/3x3": (192, 64, 3, 3),
    }
    channels = 192
    for module, (ones, reduce3, threes, reduce5, fives, projected) in INCEPTIONS.items():
        name = f"inception_{module}"
        shapes[f"{name}/1x1"] = (ones, channels, 1, 1)
        shapes[f"{name}/3x3_reduce"] = (reduce3, channels, 1, 1)
        shapes[f"{name}/3x3"] = (threes, reduce3, 3, 3)
        shapes[f"{name}/5x5_reduce"] = (reduce5, channels, 1, 1)
        shapes[f"{name}/5x5"] = (fives, reduce5, 5, 5)
        shapes[f"{name}/pool_proj"] = (projected, channels, 1, 1)
        channels = ones + threes + fives + projected
    return shapes


def load_googlenet(path: Path) -> GoogLeNet:
    """Read the teacher from an .npz with OIHW weights (float16 will do) under their Caffe layer names.

    Raises:
        WeightsError: the file is missing or unreadable, or a layer is missing or has another shape.
    """
    return GoogLeNet(read_layers(path, "Caffe GoogLeNet", layer_shapes()), path.name)
