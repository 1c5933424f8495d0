"""TFLite flatbuffers, tensor by tensor, with the official schema bindings."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import DTypeLike, NDArray

from export.quantise import Affine

SCHEMA_VERSION = 3
FILE_IDENTIFIER = b"TFL3"
Shape = tuple[int, int, int, int]
TENSOR_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int32): schema.TensorType.INT32,
}
# The lowest version of each operator that has the types used here, for the oldest runtimes.
OPERATOR_VERSIONS = {
    "CONV_2D": 3,
    "PAD": 2,
    "MAX_POOL_2D": 2,
    "MUL": 1,
    "SQRT": 1,
    "RSQRT": 1,
    "QUANTIZE": 1,
    "DEQUANTIZE": 2,
}


class TfliteBuilder:
    """Collects tensors and operators of one graph, then packs them. Tensors are named by their index."""

    def __init__(self) -> None:
        self._tensors: list[Any] = []
        self._buffers: list[Any] = [schema.BufferT()]  # buffer 0 is the empty one
        self._operators: list[Any] = []
        self._codes: list[str] = []

    def activation(self, name: str, shape: Shape, affine: Affine | None) -> int:
        """Add a tensor that the graph computes: int8 when `affine` is given, else float32.

        Batch, rows and columns of `shape` are only defaults; the tensor can be resized.
        """
        tensor = self._tensor(name, np.float32 if affine is None else np.int8, shape)
        tensor.shapeSignature = [-1, -1, -1, shape[3]]
        if affine is not None:
            tensor.quantization = _quantisation(np.asarray([affine.scale], np.float32), affine.zero_point)
        return len(self._tensors) - 1

    def constant(self, name: str, value: NDArray[Any], scales: NDArray[np.float32] | None = None) -> int:
        """Add a constant; `scales` holds one value per index of its first axis."""
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
        self._buffers.append(buffer)
        tensor = self._tensor(name, value.dtype, value.shape)
        tensor.buffer = len(self._buffers) - 1
        if scales is not None:
            tensor.quantization = _quantisation(scales, 0)
        return len(self._tensors) - 1

    def operator(self, name: str, inputs: list[int], output: int, options: dict[str, int]) -> None:
        """Add an operator; `options` are the fields of its option table in the schema."""
        if name not in self._codes:
            self._codes.append(name)
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.index(name)
        operator.inputs, operator.outputs = inputs, [output]
        table = {"CONV_2D": "Conv2D", "MAX_POOL_2D": "Pool2D", "MUL": "Mul", "PAD": "Pad"}.get(name)
        if table is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{table}Options")
            operator.builtinOptions = getattr(schema, f"{table}OptionsT")()
            for key, value in options.items():
                setattr(operator.builtinOptions, key, value)
        self._operators.append(operator)

    def pack(self, inputs: list[int], outputs: list[int], description: str) -> bytes:
        """The finished file."""
        graph = schema.SubGraphT()
        graph.name, graph.inputs, graph.outputs = "main", inputs, outputs
        graph.tensors, graph.operators = self._tensors, self._operators
        model = schema.ModelT()
        model.version, model.description = SCHEMA_VERSION, description
        model.operatorCodes = [_operator_code(name) for name in self._codes]
        model.subgraphs, model.buffers = [graph], self._buffers
        packer = flatbuffers.Builder(1 << 20)
        packer.Finish(model.Pack(packer), FILE_IDENTIFIER)
        return bytes(packer.Output())

    def _tensor(self, name: str, dtype: DTypeLike, shape: tuple[int, ...]) -> Any:
        tensor = schema.TensorT()
        tensor.name, tensor.type = name, TENSOR_TYPES[np.dtype(dtype)]
        tensor.shape = [int(size) for size in shape]
        self._tensors.append(tensor)
        return tensor


def _quantisation(scales: NDArray[np.float32], zero_point: int) -> Any:
    parameters = schema.QuantizationParametersT()
    parameters.scale = scales
    parameters.zeroPoint = np.full(len(scales), zero_point, np.int64)
    return parameters


def _operator_code(name: str) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = code.builtinCode  # what runtimes before 2.4 read; same below 127
    code.version = OPERATOR_VERSIONS[name]
    return code
