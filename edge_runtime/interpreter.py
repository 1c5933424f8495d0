"""One TFLite interpreter for one input shape, on one thread, over whichever runtime is installed."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InterpreterError
from edge_runtime.manifest import TensorInfo
from edge_runtime.types import FloatArray

# The first that imports is used. ai-edge-litert runs everywhere; tflite-runtime is the light
# alternative for Python 3.11 with numpy < 2 (docs/decisions.md).
RUNTIMES = ("ai_edge_litert", "tflite_runtime")


def find_runtime() -> tuple[str, ModuleType]:
    """Name and `interpreter` module of the first TFLite runtime that imports.

    Raises:
        InterpreterError: none is installed.
    """
    for name in RUNTIMES:
        try:
            return name, importlib.import_module(f"{name}.interpreter")
        except ImportError:
            continue
    raise InterpreterError("no TFLite runtime is installed", fix="pip install 'cfvgg[edge]'")


class Interpreter:
    """A model at one fixed input shape.

    Resizing an interpreter back and forth costs 0.8 to 2 ms, so every input size gets its own.

    Args:
        model: the flatbuffer's bytes.
        shape: (batch, rows, columns, channels) of the input.

    Attributes:
        runtime: name of the package that runs the model.
        delegated: whether one delegate (XNNPACK) took the whole graph.
        input: the input tensor.
        outputs: the output tensors, in the model's order.

    Raises:
        InterpreterError: no runtime, a damaged model, or a shape that it does not accept.
    """

    def __init__(self, model: bytes, shape: tuple[int, int, int, int]) -> None:
        self.runtime, module = find_runtime()
        self.shape = shape
        try:
            with _native_stderr_closed():
                self._tflite = module.Interpreter(model_content=model, num_threads=1)
                index = self._tflite.get_input_details()[0]["index"]
                self._tflite.resize_tensor_input(index, list(shape))
                self._tflite.allocate_tensors()
                # A damaged model may have names that are no text, which show here.
                details, outputs = self._tflite.get_input_details()[0], self._tflite.get_output_details()
                self.delegated = _whole_graph_delegated(self._tflite)
        except (ValueError, RuntimeError, LookupError) as error:
            reason = str(error).strip().split("\n")[0]
            raise InterpreterError(f"{self.runtime} refuses the model at {shape} ({reason})") from error
        self._input_index, self.input = details["index"], _tensor_info(details)
        self._output_indices = [detail["index"] for detail in outputs]
        self.outputs = tuple(_tensor_info(detail) for detail in outputs)
        self.output_shapes = tuple(tuple(int(v) for v in detail["shape"]) for detail in outputs)

    def invoke(self, x: NDArray[Any], wanted: tuple[int, ...] | None = None) -> tuple[NDArray[Any], ...]:
        """Raw outputs (copies, in the tensors' dtypes) for an input of the interpreter's shape.

        Args:
            x: array of shape `shape`, in the input tensor's dtype.
            wanted: positions in `outputs` to return; None for all. Copying a large map that nobody
                reads costs as much as a small convolution.

        Raises:
            InterpreterError: `x` has another shape or dtype.
        """
        if x.shape != self.shape or x.dtype != self.input.dtype:
            raise InterpreterError(
                f"input is {x.dtype} {x.shape}, the model takes {self.input.dtype} {self.shape}"
            )
        self._tflite.set_tensor(self._input_index, x)
        self._tflite.invoke()
        indices = self._output_indices if wanted is None else [self._output_indices[i] for i in wanted]
        return tuple(self._tflite.get_tensor(index) for index in indices)

    def features(self, fill: Callable[[NDArray[Any]], object]) -> tuple[FloatArray, ...]:
        """Real values of all outputs, float32, the caller's own.

        Args:
            fill: writes the input into the array it is given, of shape `shape` in the input tensor's
                dtype. That is the runtime's own memory, which it must not keep: the runtime refuses to
                run while someone holds it.
        """
        fill(self._tflite.tensor(self._input_index)())
        self._tflite.invoke()
        return tuple(map(self._real_values, self._output_indices, self.outputs))

    def _real_values(self, index: int, tensor: TensorInfo) -> FloatArray:
        if tensor.dtype == "float32":
            return cast(FloatArray, self._tflite.get_tensor(index))
        # A view of the runtime's memory as well, gone when this returns.
        return dequantise(self._tflite.tensor(index)(), tensor)


def dequantise(raw: NDArray[Any], tensor: TensorInfo) -> FloatArray:
    """Real values of a raw output: (raw - zero point) * scale; float32 passes through."""
    if tensor.dtype == "float32":
        return cast(FloatArray, raw)
    real = raw.astype(np.float32)
    real -= np.float32(tensor.zero_point)
    real *= np.float32(tensor.scale)
    return real


@contextlib.contextmanager
def _native_stderr_closed() -> Iterator[None]:
    """Keep the runtime's own lines ("INFO: Created TensorFlow Lite XNNPACK delegate") from the user.

    It writes them from C++ to file descriptor 2 and has no switch; what goes wrong is raised as well.
    """
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _tensor_info(detail: dict[str, Any]) -> TensorInfo:
    name = str(detail["name"]).split(":")[0]
    dtype = np.dtype(detail["dtype"]).name
    if dtype not in ("float32", "int8"):
        raise InterpreterError(f"tensor {name!r} is {dtype}, only float32 and int8 are supported")
    scale, zero_point = detail["quantization"]
    return TensorInfo(name, cast(Literal["float32", "int8"], dtype), float(scale), int(zero_point))


def _whole_graph_delegated(tflite: Any) -> bool:
    # The only way to ask from Python; both runtimes have it. Without it the answer is "no", which
    # `doctor` and the tests would notice.
    list_ops = getattr(tflite, "_get_ops_details", None)
    if list_ops is None:
        return False
    ops = list_ops()
    delegates = [op for op in ops if op["op_name"] == "DELEGATE"]
    outputs = {detail["index"] for detail in tflite.get_output_details()}
    return len(delegates) == 1 and outputs <= {int(i) for i in delegates[0]["outputs"]}
