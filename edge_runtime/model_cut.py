"""A TFLite model without what only leads to outputs that nobody reads, cut in memory.

The levels are outputs of one graph, and a runtime computes all of them on every call: asked for the low
level only, it would spend half of its time on the others.

Only two vectors of the flatbuffer change, in place: the graph's outputs and its operators get shorter.
Tensors, weights and operators that nothing refers to any more stay in the buffer; a runtime skips them.
The layout is the public one (flatbuffers "Internals", TFLite `schema.fbs`); all numbers are little-endian.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import BundleError

FILE_IDENTIFIER = b"TFL3"
# Numbers of the fields in TFLite's schema.
MODEL_SUBGRAPHS = 2
SUBGRAPH_OUTPUTS, SUBGRAPH_OPERATORS = 2, 3
OPERATOR_INPUTS, OPERATOR_OUTPUTS = 1, 2


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
    if buffer[4:8] != FILE_IDENTIFIER:
        raise ValueError("no TFLite file")
    graph = _tables(buffer, _vector(buffer, _target(buffer, 0), MODEL_SUBGRAPHS))[0]
    outputs_at = _vector(buffer, graph, SUBGRAPH_OUTPUTS)
    operators_at = _vector(buffer, graph, SUBGRAPH_OPERATORS)
    tensors = _elements(buffer, outputs_at).tolist()
    if not outputs or len(set(outputs)) < len(outputs) or not set(outputs) <= set(range(len(tensors))):
        raise BundleError(f"model has outputs 0 to {len(tensors) - 1}, not {outputs}")
    kept_tensors = [tensors[index] for index in outputs]
    kept = _leading_to(buffer, _tables(buffer, operators_at), set(kept_tensors))
    _replace(buffer, outputs_at, kept_tensors)
    # Elements of a vector of tables are distances from the element's own place to the table.
    _replace(buffer, operators_at, [at - (operators_at + 4 + 4 * i) for i, at in enumerate(kept)])


def _leading_to(buffer: bytearray, operators: list[int], wanted: set[int]) -> list[int]:
    """The operators (positions of their tables) that the `wanted` tensors depend on, in their order."""
    kept = []
    for operator in reversed(operators):
        if not wanted.isdisjoint(_elements(buffer, _vector(buffer, operator, OPERATOR_OUTPUTS)).tolist()):
            wanted |= set(_elements(buffer, _vector(buffer, operator, OPERATOR_INPUTS)).tolist())
            kept.append(operator)
    return kept[::-1]


def _numbers(buffer: bytearray, dtype: str, at: int, count: int = 1) -> NDArray[Any]:
    """A view of the buffer. Raises `ValueError` when it would leave the buffer."""
    return np.frombuffer(buffer, dtype, count, at)


def _target(buffer: bytearray, at: int) -> int:
    """Where the offset at `at` points to."""
    return at + int(_numbers(buffer, "<u4", at)[0])


def _vector(buffer: bytearray, table: int, field: int) -> int:
    """Position of the vector (of its length, which the elements follow) in a field of a table."""
    layout = table - int(_numbers(buffer, "<i4", table)[0])  # the table's "vtable"
    size, entry = int(_numbers(buffer, "<u2", layout)[0]), 4 + 2 * field
    offset = int(_numbers(buffer, "<u2", layout + entry)[0]) if entry < size else 0
    if offset == 0:
        raise ValueError(f"no field {field} at byte {table}")
    return _target(buffer, table + offset)


def _elements(buffer: bytearray, vector: int, dtype: str = "<i4") -> NDArray[Any]:
    """A view of a vector's elements."""
    return _numbers(buffer, dtype, vector + 4, int(_numbers(buffer, "<u4", vector)[0]))


def _tables(buffer: bytearray, vector: int) -> list[int]:
    """Positions of the tables that a vector refers to."""
    offsets = _elements(buffer, vector, "<u4").tolist()
    if not offsets:
        raise ValueError(f"nothing in the vector at byte {vector}")
    return [vector + 4 + 4 * i + offset for i, offset in enumerate(offsets)]


def _replace(buffer: bytearray, vector: int, values: list[int]) -> None:
    """Put in fewer elements, or as many."""
    _elements(buffer, vector)[: len(values)] = values
    _numbers(buffer, "<u4", vector)[0] = len(values)
