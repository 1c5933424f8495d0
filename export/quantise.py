"""Affine int8 quantisation: activations per tensor and asymmetric, weights per channel and symmetric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from calibration.ranges import Range
from export.onnx_graph import Graph, Node

FLOAT_OPS = ("Mul", "Sqrt", "Rsqrt")
SAME_QUANTISATION_OPS = ("Pad", "MaxPool")  # TFLite wants their output on the input's scale
FLOAT_SUFFIX = "_float32"

SMALLEST_SCALE = 1e-30


@dataclass(frozen=True)
class Affine:
    """real = scale * (stored - zero_point)."""

    scale: float
    zero_point: int


def affine_for_range(values: Range) -> Affine:
    """int8 quantisation that covers the range and represents zero exactly."""
    low, high = min(values.low, 0.0), max(values.high, 0.0)
    scale = float(np.float32((high - low) / 255))
    if scale < SMALLEST_SCALE:  # nothing but zeros
        return Affine(1.0, -128)
    return Affine(scale, int(np.clip(np.rint(-128 - low / scale), -128, 127)))


def quantised_graph(graph: Graph, ranges: Mapping[str, Range]) -> tuple[Graph, dict[str, Affine]]:
    """Decide for every value whether an int8 model computes it in int8 or float32.

    Convolutions, pads and pools are int8. Normalisation (`FLOAT_OPS` and the convolutions between
    them) is float32, because squares need more than eight bits.

    Returns:
        The graph with `Quantize` and `Dequantize` nodes where the two meet; float32 values are called
        `<name>_float32`. And the quantisation of every int8 value.
    """
    in_float = _float_values(graph)
    affine = {graph.input: affine_for_range(ranges[graph.input])}
    nodes, defined = list[Node](), {graph.input}

    def as_type(name: str, is_float: bool) -> str:
        wanted, other = (name + FLOAT_SUFFIX, name) if is_float else (name, name + FLOAT_SUFFIX)
        if wanted not in defined:
            nodes.append(Node("Dequantize" if is_float else "Quantize", (other,), wanted))
            defined.add(wanted)
        return wanted

    for node in graph.nodes:
        is_float = node.output in in_float
        inputs = [n if n in graph.constants or not n else as_type(n, is_float) for n in node.inputs]
        output = node.output + FLOAT_SUFFIX if is_float else node.output
        nodes.append(replace(node, inputs=tuple(inputs), output=output))
        defined.add(output)
        if node.op in SAME_QUANTISATION_OPS:
            affine[node.output] = affine[node.inputs[0]]
        else:
            affine[node.output] = affine_for_range(ranges[node.output])
    for name in graph.outputs:
        as_type(name, is_float=False)
    return replace(graph, nodes=tuple(nodes)), affine


def _float_values(graph: Graph) -> set[str]:
    producers = {node.output: node.op for node in graph.nodes}
    values = {node.output for node in graph.nodes if node.op in FLOAT_OPS}
    for node in graph.nodes:
        readers = [reader.op for reader in graph.nodes if node.output in reader.inputs]
        neighbours = [producers.get(node.inputs[0]), *readers]
        if node.op == "Conv" and readers and all(op in FLOAT_OPS for op in neighbours):
            values.add(node.output)
    return values
