"""What every tensor of an ONNX model holds over a set of inputs: smallest, largest and mean values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray


@dataclass(frozen=True)
class Range:
    """Values of one tensor; `channel_means` is float64 (channels,)."""

    low: float
    high: float
    channel_means: NDArray[np.float64]


def onnx_session(model: bytes, optimise: bool = True) -> Any:
    """An onnxruntime session on one CPU thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def tensor_ranges(model: onnx.ModelProto, inputs: Iterable[NDArray[np.float32]]) -> dict[str, Range]:
    """Run `model` in onnxruntime with every intermediate tensor as an output.

    Args:
        model: a network with one input.
        inputs: batches for it, NCHW, all of one shape.

    Returns:
        Values per tensor name, the model's input among them.
    """
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    input_name = watched.graph.input[0].name
    known = {value.name for value in watched.graph.output}
    produced = [output for node in watched.graph.node for output in node.output if node.op_type != "Constant"]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in produced if name not in known)
    session = onnx_session(watched.SerializeToString(), optimise=False)  # so that nothing is fused away
    names = [output.name for output in session.get_outputs()]
    found: dict[str, list[Range]] = {name: [] for name in (input_name, *names)}
    for x in inputs:
        for name, value in zip(found, [x, *session.run(names, {input_name: x})], strict=True):
            means = value.mean((0, 2, 3), dtype=np.float64)
            found[name].append(Range(float(value.min()), float(value.max()), means))
    return {name: _union(parts) for name, parts in found.items()}


def _union(parts: list[Range]) -> Range:
    means = np.mean([part.channel_means for part in parts], axis=0)
    return Range(min(part.low for part in parts), max(part.high for part in parts), means)
