"""Runs the files of a bundle and holds them against the torch network they came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.ranges import onnx_session
from calibration.report import Features, LevelReport, measure
from edge_runtime.fingerprint import fingerprint, probe_pattern
from edge_runtime.interpreter import Interpreter, dequantise
from edge_runtime.manifest import Fingerprint, Preprocessing, TensorInfo
from edge_runtime.preprocess import Preprocessor
from edge_runtime.types import FloatArray, Frame
from export.checkpoints import Student
from export.onnx_graph import INPUT
from export.student import LEVELS

FLOAT_INPUT = TensorInfo(INPUT, "float32", 0.0, 0)
FINGERPRINT_PX = 160
Levels = Sequence[FloatArray]


def preprocessing_of(student: Student) -> tuple[Preprocessing, FloatArray | None]:
    """How the exported network's input is made, and the mean image if there is one."""
    red, green, blue = (float(v) for v in student.mean.reshape(-1, 3).mean(0, dtype=np.float64))
    if student.mean.shape == (3,):
        return Preprocessing("RGB", "folded", (red, green, blue)), None
    return Preprocessing("RGB", "image", (red, green, blue)), student.mean


def torch_features(student: Student) -> Features:
    """The original network, its mean subtracted and not folded."""
    mean_image = student.mean if student.mean.ndim == 3 else student.mean[None, None]
    preprocess = Preprocessor(Preprocessing("RGB", "image", (0.0, 0.0, 0.0)), mean_image, FLOAT_INPUT)

    @torch.no_grad()
    def features(crops: Frame) -> Levels:
        return [
            to_nhwc(level.numpy()) for level in student.model(torch.from_numpy(to_nchw(preprocess(crops))))
        ]

    return features


def onnx_features(model: bytes, preprocess: Callable[[Frame], FloatArray]) -> Features:
    """The ONNX file in onnxruntime."""
    session = onnx_session(model)
    return lambda crops: [to_nhwc(v) for v in session.run(None, {INPUT: to_nchw(preprocess(crops))})]


def tflite_features(model: bytes, student: Student) -> Features:
    """A TFLite file through its interpreter and the device's preprocessing."""
    preprocessing, mean_image = preprocessing_of(student)
    interpreters: dict[tuple[int, ...], Interpreter] = {}

    def features(crops: Frame) -> Levels:
        rows, columns = crops.shape[1:3]
        if crops.shape not in interpreters:
            interpreters[crops.shape] = Interpreter(model, (len(crops), rows, columns, 3))
        interpreter = interpreters[crops.shape]
        raw = interpreter.invoke(Preprocessor(preprocessing, mean_image, interpreter.input)(crops))
        return [dequantise(r, info) for r, info in zip(raw, interpreter.outputs, strict=True)]

    return features


def compare(
    student: Student, onnx_file: Path, tflite: dict[str, Path], crops: Sequence[NDArray[np.uint8]]
) -> dict[str, list[LevelReport]]:
    """Figures of the ONNX file and every TFLite file, at the size of each crop set."""
    preprocessing, mean_image = preprocessing_of(student)
    preprocess = Preprocessor(preprocessing, mean_image, FLOAT_INPUT)
    original = torch_features(student)
    models = {"onnx": onnx_features(onnx_file.read_bytes(), preprocess)}
    models |= {dtype: tflite_features(path.read_bytes(), student) for dtype, path in tflite.items()}
    return {
        name: [report for batch in crops for report in measure(original, features, batch, LEVELS)]
        for name, features in models.items()
    }


def fingerprint_of(model: bytes, student: Student) -> Fingerprint:
    """What the model answers to the fixed test pattern."""
    outputs = tflite_features(model, student)(probe_pattern(FINGERPRINT_PX))
    return Fingerprint(FINGERPRINT_PX, fingerprint(outputs))


def to_nchw(x: FloatArray) -> FloatArray:
    """(n, rows, columns, channels) to torch's and ONNX's order, contiguous."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def to_nhwc(x: FloatArray) -> FloatArray:
    """(n, channels, rows, columns) to TFLite's order."""
    return x.transpose(0, 2, 3, 1)
