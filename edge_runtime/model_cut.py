"""A TFLite model without what only leads to outputs that nobody reads, cut in memory.

The levels are outputs of one graph, and a runtime computes all of them on every call: asked for the low
level only, it would spend half of its time on the others.

Only two vectors of the flatbuffer change, in place: the graph's outputs and its operators get shorter.
Tensors, weights and operators that nothing refers to any more stay in the buffer; a runtime skips them.
"""

from __future__ import annotations

from edge_runtime.errors import BundleError
from edge_runtime.flatbuffer import (
    MODEL_SUBGRAPHS,
    OPERATOR_INPUTS,
    OPERATOR_OUTPUTS,
    SUBGRAPH_OPERATORS,
    SUBGRAPH_OUTPUTS,
    elements,
    model_table,
    numbers,
    tables,
    vector,
)


def cut(model: bytes, outputs: tuple[int, ...]) -> bytes:
    """The same model with only some of its outputs, and only the operators that these need.

    Args:
        model: a TFLite flatbuffer; its operators are in topological order, as the format demands.
        outputs: positions among the graph's outputs, all different; the result has them in this order.

    Raises:
        BundleError: not a TFLite model, or it has no such outputs.
    """
    buffer = bytearray(model)
    try:
        _cut(buffer, outputs)
    except ValueError as error:  # what numpy raises for a position outside the buffer
        raise BundleError(f"model is damaged ({error})", fix="export the bundle again") from error
    return bytes(buffer)


def _cut(buffer: bytearray, outputs: tuple[int, ...]) -> None:
    graph = tables(buffer, vector(buffer, model_table(buffer), MODEL_SUBGRAPHS))[0]
    outputs_at = vector(buffer, graph, SUBGRAPH_OUTPUTS)
    operators_at = vector(buffer, graph, SUBGRAPH_OPERATORS)
    tensors = elements(buffer, outputs_at).tolist()
    if not outputs or len(set(outputs)) < len(outputs) or not set(outputs) <= set(range(len(tensors))):
        raise BundleError(f"model has outputs 0 to {len(tensors) - 1}, not {outputs}")
    kept_tensors = [tensors[index] for index in outputs]
    kept = _leading_to(buffer, tables(buffer, operators_at), set(kept_tensors))
    _replace(buffer, outputs_at, kept_tensors)
    # Elements of a vector of tables are distances from the element's own place to the table.
    _replace(buffer, operators_at, [at - (operators_at + 4 + 4 * i) for i, at in enumerate(kept)])


def _leading_to(buffer: bytearray, operators: list[int], wanted: set[int]) -> list[int]:
    """The operators (positions of their tables) that the `wanted` tensors depend on, in their order."""
    kept = []
    for operator in reversed(operators):
        if not wanted.isdisjoint(elements(buffer, vector(buffer, operator, OPERATOR_OUTPUTS)).tolist()):
            wanted |= set(elements(buffer, vector(buffer, operator, OPERATOR_INPUTS)).tolist())
            kept.append(operator)
    return kept[::-1]


def _replace(buffer: bytearray, at: int, values: list[int]) -> None:
    """Put in fewer elements, or as many."""
    elements(buffer, at)[: len(values)] = values
    numbers(buffer, "<u4", at)[0] = len(values)
