"""Reads networks that were trained in Caffe: .npz files with OIHW weights under Caffe's layer names."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_runtime.errors import WeightsError

MEAN_BGR = (104.0, 117.0, 123.0)  # of ILSVRC-2012, what Caffe's networks subtract
Shape = tuple[int, int, int, int]


def tensor_names(path: Path) -> list[str]:
    """Names of the tensors in an .npz, without reading them.

    Raises:
        WeightsError: the file is missing or no .npz.
    """
    try:
        with np.load(path) as archive:
            return list(archive.files)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error


def read_layers(path: Path, network: str, shapes: dict[str, Shape]) -> dict[str, Tensor]:
    """Weights and biases of convolutions, float32, under `LAYER.weight` and `LAYER.bias`.

    Args:
        network: what the file should hold, for the error's line.
        shapes: of each layer's weights: outputs, inputs, rows, columns.

    Raises:
        WeightsError: the file is missing or unreadable, or a layer is missing, has another shape, or is
            not finite.
    """
    expected: dict[str, tuple[int, ...]] = {f"{name}.weight": shape for name, shape in shapes.items()}
    expected |= {f"{name}.bias": shape[:1] for name, shape in shapes.items()}
    fix = f"give {network} weights, by Caffe's layer names"
    present = tensor_names(path)
    for name in expected:
        if name not in present:
            raise WeightsError(f"has no tensor {name!r}", where=path, fix=fix)
    try:
        with np.load(path) as archive:
            arrays = {name: np.asarray(archive[name], np.float32) for name in expected}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            what = f"{name} has shape {arrays[name].shape}, expected {shape}"
            raise WeightsError(what, where=path, fix=fix)
        if not np.isfinite(arrays[name]).all():
            raise WeightsError(f"{name} is not finite", where=path, fix="fetch the file again")
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class CaffeLayers(nn.Module):
    """Convolutions with ReLU by Caffe's layer names, and Caffe's input and pooling.

    Args:
        weights: what `read_layers` gives.
    """

    mean: Tensor

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.weights = nn.ParameterDict({name.replace(".", ":"): tensor for name, tensor in weights.items()})
        self.register_buffer("mean", torch.tensor(MEAN_BGR)[:, None, None], persistent=False)

    def input(self, rgb: Tensor) -> Tensor:
        """BGR minus the mean, of RGB 0..255."""
        return rgb.flip(1) - self.mean

    def conv(self, name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        """A convolution and its ReLU."""
        weight, bias = self.weights[f"{name}:weight"], self.weights[f"{name}:bias"]
        return functional.relu(functional.conv2d(x, weight, bias, stride, padding))


def pool(x: Tensor) -> Tensor:
    """Caffe's 3x3/2 maximum: rounds up, so that the last window may look over the edge."""
    return functional.max_pool2d(x, 3, 2, ceil_mode=True)


def _unreadable(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"cannot be read as .npz ({error})", where=path)
