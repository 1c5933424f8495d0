"""Writes teachers' .npz files: true shapes by Caffe's layer names, random values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from export.teachers import googlenet, squeezenet
from export.teachers.caffe import Shape

Tensors = dict[str, NDArray[Any]]


def tensors(shapes: dict[str, Shape], dtype: DTypeLike, seed: int = 0) -> Tensors:
    rng = np.random.default_rng(seed)
    found: Tensors = {}
    for name, shape in shapes.items():
        weight = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        found[f"{name}.weight"] = weight.astype(dtype)
        found[f"{name}.bias"] = rng.normal(0, 0.1, shape[0]).astype(dtype)
    return found


def save_squeezenet(path: Path) -> Path:
    np.savez(path, **tensors(squeezenet.layer_shapes(), np.float32))
    return path


def save_googlenet(path: Path) -> Path:
    np.savez(path, **tensors(googlenet.layer_shapes(), np.float16))
    return path
