"""SqueezeNet 1.0 (Iandola 2016, Caffe geometry) as a teacher.

Its cells lie on the same input pixels as CF-VGG's (7x7/2 convolution and 3x3/2 pools with Caffe's
rounding up), so features are compared cell by cell without resampling.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from export.teachers.base import Teacher, TeacherLevel
from export.teachers.caffe import CaffeLayers, Shape, pool, read_layers

SQUEEZED = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}  # fire module: channels inside
EXPANDED = {2: 128, 3: 128, 4: 256, 5: 256, 6: 384, 7: 384, 8: 512, 9: 512}  # and out of it
LEVELS = {
    "low": TeacherLevel(96, 2, 3.0),
    "middle": TeacherLevel(256, 8, 9.0),
    "high": TeacherLevel(512, 16, 17.0),
}


class SqueezeNet(Teacher):
    """Levels: conv1 (96 channels, stride 2), fire5 (256, stride 8), fire9 (512, stride 16).

    fire5 and not the deeper fire8 is the middle level because the student has only two convolutions
    there: its receptive field is 27 px, fire5's 59 px, fire8's 107 px.
    """

    def __init__(self, weights: dict[str, Tensor], source: str) -> None:
        super().__init__("squeezenet", source, LEVELS)
        self.layers = CaffeLayers(weights)
        self.freeze()

    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        """Features, see `Teacher.forward`."""
        low = self.layers.conv("conv1", self.layers.input(rgb), stride=2)
        x = pool(low)
        for number in (2, 3, 4):
            x = self._fire(number, x)
        x = middle = self._fire(5, pool(x))
        for number in (6, 7, 8):
            x = self._fire(number, x)
        high = self._fire(9, pool(x))
        return {"low": low.float(), "middle": middle.float(), "high": high.float()}

    def _fire(self, number: int, x: Tensor) -> Tensor:
        conv = self.layers.conv
        squeezed = conv(f"fire{number}/conv1x1_1", x)
        expanded = (
            conv(f"fire{number}/conv1x1_2", squeezed),
            conv(f"fire{number}/conv3x3_2", squeezed, padding=1),
        )
        return torch.cat(expanded, 1)


def layer_shapes() -> dict[str, Shape]:
    """Weights of every layer up to fire9."""
    shapes: dict[str, Shape] = {"conv1": (96, 3, 7, 7)}
    channels = 96
    for number, expanded in EXPANDED.items():
        squeezed, half = SQUEEZED[number], expanded // 2
        shapes[f"fire{number}/conv1x1_1"] = (squeezed, channels, 1, 1)
        shapes[f"fire{number}/conv1x1_2"] = (half, squeezed, 1, 1)
        shapes[f"fire{number}/conv3x3_2"] = (half, squeezed, 3, 3)
        channels = expanded
    return shapes


def load_squeezenet(path: Path) -> SqueezeNet:
    """Read the teacher from an .npz with OIHW weights under their Caffe layer names.

    Raises:
        WeightsError: the file is missing or unreadable, or a layer is missing or has another shape.
    """
    return SqueezeNet(read_layers(path, "SqueezeNet 1.0", layer_shapes()), path.name)
