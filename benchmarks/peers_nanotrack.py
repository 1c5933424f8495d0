"""NanoTrack v2 and v3 (SiamTrackers, Apache-2.0) on one thread of onnxruntime.

A Siamese tracker: backbone features of the target are correlated in the head with those of a window around
it, which scores and places a box at each cell of a grid (Li et al., CVPR 2018, section 4.3: penalties, cosine
window, smoothing).
"""

# mypy: disable-error-code="import-not-found,import-untyped"
# (onnx and onnxruntime live in the peers' environment)

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime

TARGET_PX, SEARCH_PX, STRIDE_PX = 127, 255, 16
CONTEXT = 0.5  # of width + height, added to both
MIN_BOX_PX = 10.0


@dataclass(frozen=True)
class Settings:
    """The authors' settings of a version, and its files.

    Attributes:
        cells: side of the head's grid.
        window: share of the cosine window in the score.
        penalty: exponent of the penalty for a change of size and shape.
        rate: share of the new size, times penalty and score.
        backbone, head: file names.
    """

    cells: int
    window: float
    penalty: float
    rate: float
    backbone: str
    head: str


VERSIONS = {
    "v2": Settings(16, 0.490, 0.150, 0.385, "nanotrack_backbone_sim.onnx", "nanotrack_head_sim.onnx"),
    "v3": Settings(15, 0.455, 0.138, 0.348, "nanotrack_backbone.onnx", "nanotrack_head.onnx"),
}


class NanoTrack:
    """`init(image, box)`, `update(image)`: BGR uint8 images, boxes x, y, w, h in 0-based pixels.

    Args:
        version: a key of `VERSIONS`.
        models: folder that holds `nanotrack<version>/`.
    """

    def __init__(self, version: str, models: Path) -> None:
        self.settings = VERSIONS[version]
        folder = models / f"nanotrack{version}"
        backbone = onnx.load(folder / self.settings.backbone)
        self._search = _session(backbone)
        # The file has the search window's size; the target goes through the same layers.
        for tensor in (backbone.graph.input[0], backbone.graph.output[0]):
            for axis in (2, 3):
                tensor.type.tensor_type.shape.dim[axis].dim_param = f"{tensor.name}_{axis}"
        del backbone.graph.value_info[:]
        self._target = _session(backbone)
        self._head = _session(onnx.load(folder / self.settings.head))
        cells = self.settings.cells
        hann = np.hanning(cells)
        self._window = np.outer(hann, hann).ravel()
        offsets = STRIDE_PX * (np.arange(cells) - cells // 2)
        self._points = np.stack(np.meshgrid(offsets, offsets)).reshape(2, -1)  # x, y from the centre, px

    def init(self, image: Any, box: Sequence[float]) -> None:
        """Start."""
        x, y, w, h = box
        self._centre, self._size = np.array([x + (w - 1) / 2, y + (h - 1) / 2]), np.array([w, h], float)
        self._fill = image.mean((0, 1))
        patch = _crop(image, self._centre, round(_context_px(self._size)), TARGET_PX, self._fill)
        self._kernel = self._target.run(None, {"input": patch})[0]

    def update(self, image: Any) -> tuple[float, ...]:
        """x, y, w, h in the next image."""
        settings, side_px = self.settings, float(_context_px(self._size))
        scale = TARGET_PX / side_px
        patch = _crop(image, self._centre, round(side_px * SEARCH_PX / TARGET_PX), SEARCH_PX, self._fill)
        features = self._search.run(None, {"input": patch})[0]
        logits, reach = self._head.run(["output1", "output2"], {"input1": self._kernel, "input2": features})
        logits, reach = logits.reshape(2, -1), reach.reshape(4, -1)
        scores = 1 / (1 + np.exp(logits[0] - logits[1]))
        low, high = self._points - reach[:2], self._points + reach[2:]
        sizes = high - low
        change = _ratio(_context_px(sizes) / _context_px(self._size * scale))
        change = change * _ratio(self._size[0] / self._size[1] / (sizes[0] / sizes[1]))
        penalties = np.exp((1 - change) * settings.penalty)
        best = int(np.argmax(penalties * scores * (1 - settings.window) + self._window * settings.window))
        rate = penalties[best] * scores[best] * settings.rate
        frame_size = np.array([image.shape[1], image.shape[0]], float)
        moved = self._centre + (low + high)[:, best] / 2 / scale
        resized = self._size * (1 - rate) + sizes[:, best] / scale * rate
        self._centre = np.clip(moved, 0, frame_size)
        self._size = np.clip(resized, MIN_BOX_PX, frame_size)
        return tuple(float(v) for v in (*(self._centre - self._size / 2), *self._size))


def _session(model: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _context_px(sizes: Any) -> Any:
    """Side of the square around boxes of (w, h) px with their context."""
    padding = CONTEXT * (sizes[0] + sizes[1])
    return np.sqrt((sizes[0] + padding) * (sizes[1] + padding))


def _ratio(values: Any) -> Any:
    return np.maximum(values, 1 / values)


def _crop(image: Any, centre: Any, side_px: int, out_px: int, fill: Any) -> Any:
    """The square around `centre` (x, y), outside of the image `fill`, as float32 (1, 3, out_px, out_px)."""
    left, top = (math.floor(c - (side_px + 1) / 2 + 0.5) for c in centre)
    rows, columns = image.shape[:2]
    above, before = max(-top, 0), max(-left, 0)
    below, after = max(top + side_px - rows, 0), max(left + side_px - columns, 0)
    inside = image[max(top, 0) : top + side_px, max(left, 0) : left + side_px]
    if above or before or below or after:
        inside = cv2.copyMakeBorder(
            inside, above, below, before, after, cv2.BORDER_CONSTANT, value=fill.tolist()
        )
    if side_px != out_px:
        inside = cv2.resize(inside, (out_px, out_px))
    return np.ascontiguousarray(inside.transpose(2, 0, 1)[None], dtype=np.float32)
