"""SqueezeNet 1.0 (Iandola 2016, Caffe geometry) as a frozen teacher with three feature levels.

Its cells lie on the same input pixels as CF-VGG's (7x7/2 convolution and 3x3/2 pools with Caffe's
rounding up), so features are compared cell by cell without resampling.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_runtime.errors import WeightsError
from export.student import TeacherLevels

MEAN_BGR = (104.0, 117.0, 123.0)
FIRES = range(2, 10)
TEACHER_LEVEL_CHANNELS = (96, 256, 512)  # conv1, fire5, fire9, in the order of `TEACHER_LEVELS`


class SqueezeNet(nn.Module):
    """Levels: conv1 (96 channels, stride 2), fire5 (256, stride 8), fire9 (512, stride 16).

    fire5 and not the deeper fire8 is the middle level because the student has only two convolutions
    there: its receptive field is 27 px, fire5's 59 px, fire8's 107 px.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.weights = nn.ParameterDict(
            {k.replace(".", ":"): nn.Parameter(v, requires_grad=False) for k, v in weights.items()}
        )

    def _conv(self, name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        weight, bias = self.weights[f"{name}:weight"], self.weights[f"{name}:bias"]
        return functional.relu(functional.conv2d(x, weight, bias, stride, padding))

    def _fire(self, number: int, x: Tensor) -> Tensor:
        squeezed = self._conv(f"fire{number}/conv1x1_1", x)
        expanded = (
            self._conv(f"fire{number}/conv1x1_2", squeezed),
            self._conv(f"fire{number}/conv3x3_2", squeezed, padding=1),
        )
        return torch.cat(expanded, 1)

    def forward(self, rgb: Tensor) -> TeacherLevels:
        """Features of (n, 3, rows, columns) RGB pictures, 0..255, mean not yet subtracted."""
        mean = torch.tensor(MEAN_BGR, device=rgb.device)[None, :, None, None]
        low = self._conv("conv1", rgb.flip(1) - mean, stride=2)
        x = functional.max_pool2d(low, 3, 2, ceil_mode=True)
        for number in (2, 3, 4):
            x = self._fire(number, x)
        middle = self._fire(5, functional.max_pool2d(x, 3, 2, ceil_mode=True))
        x = middle
        for number in (6, 7, 8):
            x = self._fire(number, x)
        return TeacherLevels(low, middle, self._fire(9, functional.max_pool2d(x, 3, 2, ceil_mode=True)))


def load_squeezenet(path: Path) -> SqueezeNet:
    """Read the teacher from an .npz with OIHW weights under their Caffe layer names.

    Raises:
        WeightsError: the file is missing, unreadable, or lacks a layer.
    """
    try:
        with np.load(path) as archive:
            arrays = {key: archive[key] for key in archive.files if not key.startswith("conv_final")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(f"cannot be read as .npz ({error})", where=path) from error
    parts = ("conv1x1_1", "conv1x1_2", "conv3x3_2")
    layers = ["conv1", *(f"fire{n}/{part}" for n in FIRES for part in parts)]
    missing = [f"{layer}.weight" for layer in layers if f"{layer}.weight" not in arrays]
    if missing:
        raise WeightsError(f"no tensor {missing[0]!r}", where=path, fix="give SqueezeNet 1.0 weights")
    return SqueezeNet({k: torch.from_numpy(np.asarray(v, np.float32)) for k, v in arrays.items()}).eval()
