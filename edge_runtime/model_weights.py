"""The convolutions inside a TFLite model: read, and replaced in memory (never in the file).

A convolution's weight tensor is called "conv1.weight" and so on, that of the sums in the normalisation after
it "norm1.band". New weights have the old ones' shapes, so
that they are written over them, and with int8 their scales too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import BundleError
from edge_runtime.flatbuffer import (
    BUFFER_DATA,
    MODEL_BUFFERS,
    MODEL_SUBGRAPHS,
    OPERATOR_INPUTS,
    OPERATOR_OUTPUTS,
    QUANTISATION_SCALE,
    SUBGRAPH_OPERATORS,
    SUBGRAPH_TENSORS,
    TENSOR_BUFFER,
    TENSOR_NAME,
    TENSOR_QUANTISATION,
    TENSOR_SHAPE,
    elements,
    model_table,
    scalar,
    tables,
    vector,
)
from edge_runtime.quantise import quantise_convolution
from edge_runtime.types import FloatArray

SUFFIX, NORM_SUFFIX = ".weight", ".band"


@dataclass(frozen=True)
class Weights:
    """Of one convolution, real values.

    Attributes:
        weight: float32 (out, rows, columns, in).
        bias: float32 (out,).
    """

    weight: FloatArray
    bias: FloatArray


def read_weights(model: bytes) -> dict[str, Weights]:
    """Every convolution's weights by its name ("conv1"); those of an int8 model are what it computes with.

    Raises:
        BundleError: not a TFLite model, or damaged.
    """
    return _read(model, SUFFIX)


def read_norms(model: bytes) -> dict[str, Weights]:
    """The band and shift of every normalisation by its name ("norm1"), as `read_weights` does."""
    return _read(model, NORM_SUFFIX)


def _read(model: bytes, suffix: str) -> dict[str, Weights]:
    buffer = bytearray(model)
    try:
        return {name: _real(tensors) for name, tensors in _convolutions(buffer, suffix)}
    except ValueError as error:
        raise _damaged(error) from error


def with_weights(
    model: bytes, layers: Mapping[str, Weights], input_means: Mapping[str, NDArray[np.float64]]
) -> bytes:
    """The same model with other weights.

    Args:
        model: float32 or int8.
        layers: new weights by the convolution's name; the others stay.
        input_means: of an int8 model's convolutions, see `quantise.quantise_convolution`.

    Raises:
        BundleError: the model is damaged, or has no such convolution of that shape.
    """
    buffer = bytearray(model)
    try:
        found = dict(_convolutions(buffer))
        for name, weights in layers.items():
            if name not in found or found[name].weight.shape != weights.weight.shape:
                raise BundleError(f"model has no convolution {name!r} of shape {weights.weight.shape}")
            _write(found[name], weights, input_means.get(name))
    except ValueError as error:
        raise _damaged(error) from error
    return bytes(buffer)


@dataclass(frozen=True)
class _Tensors:
    """Views of one convolution's numbers in the buffer; scales are empty in a float32 model."""

    weight: NDArray[Any]
    bias: NDArray[Any]
    weight_scales: NDArray[np.float32]
    bias_scales: NDArray[np.float32]
    input_scale: NDArray[np.float32]
    output_scale: NDArray[np.float32]


def _convolutions(buffer: bytearray, suffix: str = SUFFIX) -> Iterator[tuple[str, _Tensors]]:
    model = model_table(buffer)
    graph = tables(buffer, vector(buffer, model, MODEL_SUBGRAPHS))[0]
    tensors = tables(buffer, vector(buffer, graph, SUBGRAPH_TENSORS))
    buffers = tables(buffer, vector(buffer, model, MODEL_BUFFERS))
    for operator in tables(buffer, vector(buffer, graph, SUBGRAPH_OPERATORS)):
        inputs = elements(buffer, vector(buffer, operator, OPERATOR_INPUTS)).tolist()
        if len(inputs) != 3:
            continue
        source, weight, bias = (tensors[index] for index in inputs)
        name = elements(buffer, vector(buffer, weight, TENSOR_NAME), "u1").tobytes().decode(errors="replace")
        if name.endswith(suffix):
            target = tensors[elements(buffer, vector(buffer, operator, OPERATOR_OUTPUTS))[0]]
            weight_scales = _scales(buffer, weight)
            dtypes = ("i1", "<i4") if len(weight_scales) else ("<f4", "<f4")
            yield (
                name.removesuffix(suffix),
                _Tensors(
                    _data(buffer, buffers, weight, dtypes[0]),
                    _data(buffer, buffers, bias, dtypes[1]),
                    weight_scales,
                    _scales(buffer, bias),
                    _scales(buffer, source),
                    _scales(buffer, target),
                ),
            )


def _data(buffer: bytearray, buffers: list[int], tensor: int, dtype: str) -> NDArray[Any]:
    """A view of a constant tensor's values."""
    data = buffers[scalar(buffer, tensor, TENSOR_BUFFER, "<u4")]
    shape = elements(buffer, vector(buffer, tensor, TENSOR_SHAPE)).tolist()
    return elements(buffer, vector(buffer, data, BUFFER_DATA), "u1").view(dtype).reshape(shape)


def _scales(buffer: bytearray, tensor: int) -> NDArray[np.float32]:
    try:
        quantisation = vector(buffer, tensor, TENSOR_QUANTISATION)
        return elements(buffer, vector(buffer, quantisation, QUANTISATION_SCALE), "<f4")
    except ValueError:
        return np.empty(0, np.float32)


def _real(tensors: _Tensors) -> Weights:
    weight, bias = (part.astype(np.float32) for part in (tensors.weight, tensors.bias))
    if len(tensors.weight_scales):
        weight *= tensors.weight_scales[:, None, None, None]
        bias *= tensors.bias_scales
    return Weights(weight, bias)


def _write(tensors: _Tensors, weights: Weights, input_means: NDArray[np.float64] | None) -> None:
    if not len(tensors.weight_scales):
        tensors.weight[...], tensors.bias[...] = weights.weight, weights.bias
        return
    if input_means is None:
        raise BundleError("does not tell its calibration's means", fix="export the bundle again")
    input_scale, output_scale = float(tensors.input_scale[0]), float(tensors.output_scale[0])
    weight, bias, scales = quantise_convolution(
        weights.weight, weights.bias, input_scale, output_scale, input_means
    )
    tensors.weight[...], tensors.bias[...] = weight, bias
    tensors.weight_scales[...] = scales
    tensors.bias_scales[...] = scales * np.float32(input_scale)


def _damaged(error: ValueError) -> BundleError:
    return BundleError(f"model is damaged ({error})", fix="export the bundle again")
