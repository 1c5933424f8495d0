"""Affine int8 quantisation: activations per tensor and asymmetric, weights per channel and symmetric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.ranges import Range
from export.onnx_graph import Graph, Node

FLOAT_OPS = ("Mul", "Sqrt", "Rsqrt")
SAME_QUANTISATION_OPS = ("Pad", "MaxPool")  # TFLite wants their output on the input's scale
FLOAT_SUFFIX = "_float32"

# A dead channel (weights of 1e-15 in some pruned networks) would get a weight scale so small that its
# bias overflows int32 or its multiplier underflows. These bounds cost less than half an output step.
LARGEST_BIAS = 2.0**30
SMALLEST_MULTIPLIER = 2.0**-24
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


def quantise_convolution(
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    input_scale: float,
    output_scale: float,
    input_means: NDArray[np.float64],
) -> tuple[NDArray[np.int8], NDArray[np.int32], NDArray[np.float32]]:
    """Weights to int8, biases to int32, such that the mean of every output stays what it was.

    The errors of rounding the weights, times the mean input, would shift the outputs: by most of the
    whole quantisation error where the input is RGB 0..255. The bias takes that shift back (Nagel et
    al. 2019, "Data-free quantization", section 4.2).

    Args:
        weight: (out, rows, columns, in).
        bias: (out,).
        input_scale: of the layer's input.
        output_scale: of the layer's output.
        input_means: (in,), over the calibration crops.

    Returns:
        Weights, biases, and the weights' scale per output channel; a bias's scale is its product with
        `input_scale`.
    """
    smallest = np.maximum(np.abs(bias) / LARGEST_BIAS, SMALLEST_MULTIPLIER * output_scale) / input_scale
    scales = np.maximum(np.abs(weight).max((1, 2, 3)) / 127, smallest).astype(np.float32)
    per_channel = scales[:, None, None, None].astype(np.float64)
    quantised = np.clip(np.rint(weight / per_channel), -127, 127)
    shift = ((quantised * per_channel - weight).sum((1, 2)) * input_means).sum(1)
    stored_bias = np.rint((bias - shift) / (per_channel.ravel() * input_scale))
    return quantised.astype(np.int8), stored_bias.astype(np.int32), scales


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
