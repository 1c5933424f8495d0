"""Reads MatConvNet files of the VGG-M family: `CF_VGGM.mat`, `imagenet-vgg-m-2048.mat`.

Only the five convolutions with what lies between them are taken; fully connected layers are ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch
from numpy.typing import NDArray

from edge_runtime.errors import WeightsError
from export.checkpoints import Student
from export.student import CfVgg, LrnParams

LICENCE = "unknown (imported weights; ask their authors)"
CONVOLUTIONS = {  # name: kernel, stride, pads (top, bottom, left, right)
    "conv1": (7, 2, (0, 0, 0, 0)),
    "conv2": (5, 2, (1, 1, 1, 1)),
    "conv3": (3, 1, (1, 1, 1, 1)),
    "conv4": (3, 1, (1, 1, 1, 1)),
    "conv5": (3, 1, (1, 1, 1, 1)),
}
POOL_PADS = (0, 1, 0, 1)
LRN_TYPES = ("lrn", "normalize")  # the second is the older name
ORDER = tuple("conv relu lrn pool conv relu lrn pool conv relu conv relu conv relu".split(" "))  # noqa: SIM905


def load_matconvnet(path: Path) -> Student:
    """Read weights, LRN parameters and the mean image of a MatConvNet file.

    Weights are stored as (rows, columns, in, out); the mean is kept as float32, RGB: (rows, columns, 3)
    or, when the file has one value per channel, (3,).

    Raises:
        WeightsError: the file is missing, damaged, or a layer differs from VGG-M's geometry.
    """
    net = _read(path)
    layers = [_fields(layer) for layer in np.ravel(net["layers"])]
    layers = [layer for layer in layers if layer.get("type") != "dropout"][: len(ORDER)]
    kinds = ["lrn" if layer.get("type") in LRN_TYPES else str(layer.get("type")) for layer in layers]
    without_lrn = [kind for kind in ORDER if kind != "lrn"]
    if kinds != list(ORDER) and kinds[: len(without_lrn)] != without_lrn:
        raise WeightsError(
            f"layers are {' '.join(kinds)!r}", where=path, fix=f"a VGG-M network has {' '.join(ORDER)!r}"
        )
    weights = _convolutions([layer for layer in layers if layer["type"] == "conv"][:5], path)
    for number, layer in enumerate((layer for layer in layers if layer["type"] == "pool"), 1):
        _check_pool(layer, f"{path}: pool{number}")
    norms = [_lrn(layer, path) for layer in layers if layer["type"] in LRN_TYPES]
    if len(set(norms)) > 1:
        raise WeightsError(f"norm1 and norm2 differ ({norms[0]}, {norms[1]})", where=path)
    model = CfVgg(tuple(len(bias) for _, bias in weights), norms[0] if norms else None)
    for name, (kernel, bias) in zip(CONVOLUTIONS, weights, strict=True):
        convolution = model.get_submodule(name)
        convolution.load_state_dict({"weight": torch.from_numpy(kernel), "bias": torch.from_numpy(bias)})
    return Student(model.eval(), _mean(net, path), f"imported from {path.name} (MatConvNet)", LICENCE)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = scipy.io.loadmat(str(path), squeeze_me=True, struct_as_record=False, appendmat=False)
    except FileNotFoundError as error:
        raise WeightsError("does not exist", where=path) from error
    except NotImplementedError as error:  # what scipy raises for MATLAB 7.3 (HDF5) files
        raise WeightsError("is a MATLAB 7.3 file", where=path, fix="save it with -v7") from error
    except Exception as error:  # a damaged file raises a dozen types, zlib's and scipy's own among them
        raise WeightsError(
            f"cannot be read as a .mat file ({error})", where=path, fix="it may be truncated: fetch it again"
        ) from error
    net = _fields(content["net"]) if "net" in content else content
    if "layers" not in net:
        raise WeightsError("holds no MatConvNet network (no 'layers')", where=path)
    return net


def _fields(struct: Any) -> dict[str, Any]:
    return dict(vars(struct)) if hasattr(struct, "_fieldnames") else {}


def _convolutions(
    layers: list[dict[str, Any]], path: Path
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Kernels (out, in, rows, columns) and biases of conv1..conv5, geometry checked."""
    weights, inputs = [], 3
    for (name, (size, stride, pads)), layer in zip(CONVOLUTIONS.items(), layers, strict=True):
        where = f"{path}: {name}"
        try:
            kernel, bias = layer["weights"] if "weights" in layer else (layer["filters"], layer["biases"])
            kernel, bias = np.asarray(kernel, np.float32), np.asarray(bias, np.float32).reshape(-1)
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError("has no weights and biases", where=where) from error
        expected = (size, size, inputs, len(bias))
        if kernel.shape != expected:
            raise WeightsError(f"weights have shape {kernel.shape}, expected {expected}", where=where)
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise WeightsError("weights are not finite", where=where)
        _check_geometry(layer, "stride", (stride, stride), where)
        _check_geometry(layer, "pad", pads, where)
        _check_geometry(layer, "dilate", (1, 1), where)
        weights.append((np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)), bias))
        inputs = len(bias)
    return weights


def _check_pool(layer: dict[str, Any], where: str) -> None:
    if layer.get("method", "max") != "max":
        raise WeightsError(f"pools by {layer['method']!r}, expected 'max'", where=where)
    _check_geometry(layer, "pool", (3, 3), where)
    _check_geometry(layer, "stride", (2, 2), where)
    _check_geometry(layer, "pad", POOL_PADS, where)


def _check_geometry(layer: dict[str, Any], key: str, expected: tuple[int, ...], where: str) -> None:
    """Compare an entry that MatConvNet lets be a scalar, or be left out when it is 1 (pad: 0)."""
    value = np.ravel(layer.get(key, 0 if key == "pad" else 1)).astype(int)
    found = tuple(value.tolist()) if value.size > 1 else (int(value[0]),) * len(expected)
    if found != expected:
        raise WeightsError(f"{key} is {list(found)}, expected {list(expected)}", where=where)


def _lrn(layer: dict[str, Any], path: Path) -> LrnParams:
    values = np.ravel(layer.get("param", ())).astype(float)
    where = f"{path}: {layer.get('name', 'norm')}"
    if values.size != 4:
        raise WeightsError(f"has {values.size} LRN parameters, expected 4", where=where)
    params = LrnParams(int(values[0]), *(float(v) for v in values[1:]))
    if params.beta != 0.75:
        raise WeightsError(f"LRN exponent {params.beta:g} is not supported, only 0.75", where=where)
    return params


def _mean(net: dict[str, Any], path: Path) -> NDArray[np.float32]:
    meta = _fields(net.get("meta"))
    find: Callable[[dict[str, Any]], Any] = lambda holder: _fields(holder.get("normalization"))  # noqa: E731
    normalization = find(meta) or find(net)
    mean = np.asarray(normalization.get("averageImage", ()), np.float32)
    if mean.shape != (3,) and (mean.ndim != 3 or mean.shape[2] != 3):
        raise WeightsError(f"averageImage has shape {mean.shape}, expected (rows, columns, 3)", where=path)
    return mean
