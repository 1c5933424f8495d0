"""CF-VGG as an ONNX model, and ONNX models as a plain list of nodes for the TFLite writer."""

from __future__ import annotations

import copy
import logging
import warnings
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import onnx
import torch
from numpy.typing import NDArray

from export.checkpoints import Student
from export.student import LEVELS, CfVgg

INPUT = "image"
OPSET = 18
EXAMPLE_SHAPE = (2, 3, 224, 224)


@dataclass(frozen=True)
class Node:
    """One operation; `attributes` as in ONNX, plus what `fused` adds."""

    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """A network with one input and only dense constants; nodes in topological order."""

    input: str
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: dict[str, NDArray[Any]]

    def consumers(self) -> Counter[str]:
        """How often each value is read, being an output of the graph included."""
        return Counter([*(name for node in self.nodes for name in node.inputs), *self.outputs])


def folded(student: Student) -> CfVgg:
    """The network as it goes into a file.

    A channel mean goes into conv1's bias, exactly since conv1 has no padding, and the network takes
    RGB 0..255. With a mean image the network stays as it is and takes RGB minus that image.
    """
    model = copy.deepcopy(student.model).eval()
    if student.mean.shape == (3,):
        weight, bias = model.conv1.weight.data.double(), model.conv1.bias
        assert bias is not None  # CfVgg's convolutions have one
        shift = (weight.sum((2, 3)) * torch.from_numpy(student.mean).double()).sum(1)
        bias.data = (bias.data.double() - shift).float()
    return model


def to_onnx(model: CfVgg) -> onnx.ModelProto:
    """Export with dynamic batch, rows and columns: input `image` NCHW, outputs `LEVELS`."""
    dynamic = torch.export.Dim.DYNAMIC
    # The exporter reports progress and torchvision's absence; neither helps the user.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (torch.zeros(EXAMPLE_SHAPE),),
            dynamo=True,
            input_names=[INPUT],
            output_names=list(LEVELS),
            opset_version=OPSET,
            dynamic_shapes=({0: dynamic, 2: dynamic, 3: dynamic},),
            verbose=False,
        )
    assert program is not None  # dynamo=True always returns a program
    proto: onnx.ModelProto = program.model_proto
    onnx.checker.check_model(proto, full_check=True)
    return proto


def read_graph(model: onnx.ModelProto) -> Graph:
    """The nodes and constants of an ONNX model, `Constant` nodes among the latter."""
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    nodes = []
    for proto in model.graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}
        if proto.op_type == "Constant" and "value" in attributes:
            constants[proto.output[0]] = onnx.numpy_helper.to_array(attributes["value"])
        else:
            nodes.append(Node(proto.op_type, tuple(proto.input), proto.output[0], attributes))
    inputs = [value.name for value in model.graph.input if value.name not in constants]
    return Graph(inputs[0], tuple(v.name for v in model.graph.output), tuple(nodes), constants)


def fused(graph: Graph) -> Graph:
    """Merge Conv + Relu (attribute `relu`) and Sqrt + Reciprocal (`Rsqrt`), as TFLite has them."""
    merged = {("Conv", "Relu"): ("Conv", {"relu": 1}), ("Sqrt", "Reciprocal"): ("Rsqrt", {})}
    consumers, nodes = graph.consumers(), list[Node]()
    position: dict[str, int] = {}
    for node in graph.nodes:
        index = position.get(node.inputs[0], -1)
        pair = (nodes[index].op, node.op) if index >= 0 else ("", "")
        if pair in merged and consumers[node.inputs[0]] == 1:
            op, extra = merged[pair]
            first = nodes[index]
            nodes[index] = Node(op, first.inputs, node.output, first.attributes | extra)
        else:
            index = len(nodes)
            nodes.append(node)
        position[node.output] = index
    return replace(graph, nodes=tuple(nodes))
