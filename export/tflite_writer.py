"""From an ONNX graph to a TFLite file: NCHW to NHWC, float32 or int8.

Every operator that comes out is one that XNNPACK takes, so that the graph stays in one piece.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from ai_edge_litert.schema_py_generated import ActivationFunctionType, Padding

from calibration.ranges import Range
from edge_runtime.model_weights import SUFFIX as WEIGHT_SUFFIX
from edge_runtime.quantise import quantise_convolution
from export.onnx_graph import Graph, Node, fused, read_graph
from export.quantise import Affine, quantised_graph
from export.tflite_builder import Shape, TfliteBuilder

DEFAULT_INPUT_SHAPE: Shape = (1, 224, 224, 3)
ELEMENTWISE = {
    "Mul": "MUL",
    "Sqrt": "SQRT",
    "Rsqrt": "RSQRT",
    "Quantize": "QUANTIZE",
    "Dequantize": "DEQUANTIZE",
}


def write_tflite(model: onnx.ModelProto, ranges: Mapping[str, Range] | None = None) -> bytes:
    """Convert `model`; the file can be resized to any batch, rows and columns.

    Args:
        model: an ONNX network of Conv (+ Relu), Pad, MaxPool, Mul, Sqrt and Reciprocal.
        ranges: what every tensor holds, for an int8 model; None for float32.

    Raises:
        ValueError: an operator, attribute or constant that the writer does not support.
    """
    graph = fused(read_graph(model))
    if ranges is None:
        return _Writer(graph, {}, {}).write()
    return _Writer(*quantised_graph(graph, ranges), ranges).write()


def input_means(model: onnx.ModelProto, ranges: Mapping[str, Range]) -> dict[str, tuple[float, ...]]:
    """What the int8 writer takes as the mean of each convolution's input channels, by its name ("conv1")."""
    nodes = [node for node in fused(read_graph(model)).nodes if node.op == "Conv"]
    means = {node.inputs[1]: ranges[node.inputs[0]].channel_means for node in nodes}
    return {
        name.removesuffix(WEIGHT_SUFFIX): tuple(value.tolist())
        for name, value in means.items()
        if name.endswith(WEIGHT_SUFFIX)
    }


class _Writer:
    """One conversion; values without an entry in `affine` are float32."""

    def __init__(self, graph: Graph, affine: Mapping[str, Affine], ranges: Mapping[str, Range]) -> None:
        self.graph, self.affine, self.ranges = graph, affine, ranges
        self.builder = TfliteBuilder()
        self.tensors: dict[str, int] = {}
        self.shapes: dict[str, Shape] = {}  # NHWC, at the default input shape

    def write(self) -> bytes:
        self.define(self.graph.input, DEFAULT_INPUT_SHAPE)
        writers = {"Conv": self.conv, "Pad": self.pad, "MaxPool": self.pool}
        writers |= dict.fromkeys(ELEMENTWISE, self.elementwise)
        for node in self.graph.nodes:
            if node.op not in writers:
                raise ValueError(f"operator {node.op} ({node.output}) is not supported")
            writers[node.op](node)
        outputs = [self.tensors[name] for name in self.graph.outputs]
        return self.builder.pack([self.tensors[self.graph.input]], outputs, "CF-VGG features")

    def define(self, name: str, shape: Shape) -> int:
        self.shapes[name] = shape
        self.tensors[name] = self.builder.activation(name, shape, self.affine.get(name))
        return self.tensors[name]

    def conv(self, node: Node) -> None:
        _require(node, group=1, dilations=[1, 1], auto_pad=b"NOTSET")
        weight = self.graph.constants[node.inputs[1]].transpose(0, 2, 3, 1)
        # torch's exporter drops a bias of zeros.
        zeros = np.zeros(len(weight), np.float32)
        bias = self.graph.constants[node.inputs[2]] if len(node.inputs) > 2 else zeros
        source, kernel = node.inputs[0], weight.shape[1:3]
        strides, pads = node.attributes["strides"], list(node.attributes["pads"])
        same = list(strides) == [1, 1] and pads == [(size - 1) / 2 for size in kernel] * 2
        if any(pads) and not same:
            source = self.explicit_pad(source, pads, f"{node.output}_pad")
        rows, columns = self.shapes[source][1:3] if same else _sliding(self.shapes[source], kernel, strides)
        output = self.define(node.output, (1, rows, columns, len(weight)))
        scales = bias_scales = None
        if node.output in self.affine:
            input_scale, output_scale = self.affine[source].scale, self.affine[node.output].scale
            means = self.ranges[node.inputs[0]].channel_means
            weight, bias, scales = quantise_convolution(weight, bias, input_scale, output_scale, means)
            bias_scales = scales * np.float32(input_scale)
        inputs = [
            self.tensors[source],
            self.builder.constant(node.inputs[1], weight, scales),
            self.builder.constant(f"{node.output}_bias", bias, bias_scales),
        ]
        relu, none = ActivationFunctionType.RELU, ActivationFunctionType.NONE
        options = {
            "padding": Padding.SAME if same else Padding.VALID,
            "strideH": strides[0],
            "strideW": strides[1],
            "fusedActivationFunction": relu if node.attributes.get("relu") else none,
        }
        self.builder.operator("CONV_2D", inputs, output, options)

    def pad(self, node: Node) -> None:
        _require(node, mode=b"constant")
        pads = [int(v) for v in self.graph.constants[node.inputs[1]]]
        value = self.graph.constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else 0
        if len(pads) != 8 or pads[:2] != [0, 0] or pads[4:6] != [0, 0] or np.any(value != 0):
            raise ValueError(f"Pad {node.output}: only rows and columns can be padded, with zeros")
        self.explicit_pad(node.inputs[0], pads[2:4] + pads[6:8], node.output)

    def explicit_pad(self, source: str, pads: Sequence[int], output: str) -> str:
        """Pad by (top, left, bottom, right) with zeros into a new value called `output`."""
        top, left, bottom, right = pads
        batch, rows, columns, channels = self.shapes[source]
        table = np.asarray([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        inputs = [self.tensors[source], self.builder.constant(f"{output}_widths", table)]
        if source in self.affine:
            self.affine = {**self.affine, output: self.affine[source]}
        shape = (batch, rows + top + bottom, columns + left + right, channels)
        self.builder.operator("PAD", inputs, self.define(output, shape), {})
        return output

    def pool(self, node: Node) -> None:
        _require(node, pads=[0, 0, 0, 0], dilations=[1, 1], ceil_mode=0, auto_pad=b"NOTSET")
        source, kernel, strides = node.inputs[0], node.attributes["kernel_shape"], node.attributes["strides"]
        shape = self.shapes[source]
        output = self.define(node.output, (shape[0], *_sliding(shape, kernel, strides), shape[3]))
        options = {
            "padding": Padding.VALID,
            "strideH": strides[0],
            "strideW": strides[1],
            "filterHeight": kernel[0],
            "filterWidth": kernel[1],
        }
        self.builder.operator("MAX_POOL_2D", [self.tensors[source]], output, options)

    def elementwise(self, node: Node) -> None:
        shapes = {self.shapes.get(name) for name in node.inputs}
        if len(shapes) != 1 or None in shapes:
            raise ValueError(f"{node.op} {node.output}: operands must be feature maps of one shape")
        inputs = [self.tensors[name] for name in node.inputs]
        output = self.define(node.output, self.shapes[node.inputs[0]])
        self.builder.operator(ELEMENTWISE[node.op], inputs, output, {})


def _require(node: Node, **expected: Any) -> None:
    """Refuse attributes that are given and differ."""
    for key, value in expected.items():
        found = node.attributes.get(key, value)
        if found != value:
            raise ValueError(f"{node.op} {node.output}: {key} = {found} is not supported, only {value}")


def _sliding(shape: Shape, kernel: Sequence[int], strides: Sequence[int]) -> tuple[int, int]:
    rows, columns = ((shape[i + 1] - kernel[i]) // strides[i] + 1 for i in range(2))
    return rows, columns
