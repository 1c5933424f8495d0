"""Reading flatbuffers in place: tables, vectors and numbers at byte positions, without a schema compiler.

The layout is the public one (flatbuffers "Internals", TFLite `schema.fbs`); all numbers are little-endian.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TFLITE_IDENTIFIER = b"TFL3"
# Numbers of the fields in TFLite's schema.
MODEL_SUBGRAPHS, MODEL_BUFFERS = 2, 4
SUBGRAPH_TENSORS, SUBGRAPH_OUTPUTS, SUBGRAPH_OPERATORS = 0, 2, 3
OPERATOR_INPUTS, OPERATOR_OUTPUTS = 1, 2
TENSOR_SHAPE, TENSOR_BUFFER, TENSOR_NAME, TENSOR_QUANTISATION = 0, 2, 3, 4
QUANTISATION_SCALE = 2
BUFFER_DATA = 0


def model_table(buffer: bytearray) -> int:
    """Position of a TFLite file's root table. Raises `ValueError` if it is none."""
    if buffer[4:8] != TFLITE_IDENTIFIER:
        raise ValueError("no TFLite file")
    return target(buffer, 0)


def numbers(buffer: bytearray, dtype: str, at: int, count: int = 1) -> NDArray[Any]:
    """A view of the buffer. Raises `ValueError` when it would leave the buffer."""
    return np.frombuffer(buffer, dtype, count, at)


def target(buffer: bytearray, at: int) -> int:
    """Where the offset at `at` points to."""
    return at + int(numbers(buffer, "<u4", at)[0])


def vector(buffer: bytearray, table: int, field: int) -> int:
    """Position of the vector, string (of its length, which the elements follow) or table in a field."""
    at = _field(buffer, table, field)
    if at is None:
        raise ValueError(f"no field {field} at byte {table}")
    return target(buffer, at)


def scalar(buffer: bytearray, table: int, field: int, dtype: str) -> int:
    """A number in a table's field; 0, the default, if it is not written."""
    at = _field(buffer, table, field)
    return 0 if at is None else int(numbers(buffer, dtype, at)[0])


def elements(buffer: bytearray, at: int, dtype: str = "<i4") -> NDArray[Any]:
    """A view of the elements of the vector at `at`."""
    return numbers(buffer, dtype, at + 4, int(numbers(buffer, "<u4", at)[0]))


def tables(buffer: bytearray, at: int) -> list[int]:
    """Positions of the tables that the vector at `at` refers to."""
    offsets = elements(buffer, at, "<u4").tolist()
    if not offsets:
        raise ValueError(f"nothing in the vector at byte {at}")
    return [at + 4 + 4 * i + offset for i, offset in enumerate(offsets)]


def _field(buffer: bytearray, table: int, field: int) -> int | None:
    """Position of a table's field; None if the table has it not."""
    layout = table - int(numbers(buffer, "<i4", table)[0])  # the table's "vtable"
    size, entry = int(numbers(buffer, "<u2", layout)[0]), 4 + 2 * field
    offset = int(numbers(buffer, "<u2", layout + entry)[0]) if entry < size else 0
    return table + offset if offset else None
