"""A small real tracker and small clips, for tests of everything around a tracker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_runtime.config import SourceConfig
from edge_runtime.errors import SourceError
from edge_runtime.sources import FakeSource, FrameSource, open_source
from edge_runtime.types import Box, Frame, TrackResult, TrackState, check_box

SHA256 = "ab" * 32


class TemplateTracker:
    """Normalised cross-correlation with the first patch, over the whole frame."""

    def __init__(self, latency_s: float = 0.0) -> None:
        self.latency_s = latency_s

    def init(self, image: Frame, box: Box) -> None:
        x, y, w, h = (round(v) for v in check_box(box, image.shape))
        self._template = image[y : y + h, x : x + w].copy()

    def update(self, image: Frame) -> TrackResult:
        start_s = time.perf_counter()
        time.sleep(self.latency_s)
        h, w = self._template.shape[:2]
        if image.shape[0] < h or image.shape[1] < w:
            raise SourceError("frame size changed")
        response = cv2.matchTemplate(image, self._template, cv2.TM_CCOEFF_NORMED)
        _, score, _, (x, y) = cv2.minMaxLoc(response)
        psr = (score - response.mean()) / max(float(response.std()), 1e-9)
        state = TrackState.TRACKING if score > 0.5 else TrackState.LOST
        box = Box(float(x), float(y), float(w), float(h))
        return TrackResult(box, score, float(psr), state, (time.perf_counter() - start_s) * 1e3)

    def close(self) -> None:
        pass


def opened(uri: str, **settings: Any) -> FrameSource:
    """The source that a URI names, with other settings of `[source]`."""
    return open_source(SourceConfig(uri=uri, **settings))


def pictures(folder: Path, images: Sequence[Any], suffix: str = ".png") -> Path:
    """Write images as 1.png, 2.png, … into a new folder."""
    folder.mkdir()
    for number, image in enumerate(images, 1):
        assert cv2.imwrite(str(folder / f"{number}{suffix}"), image)
    return folder


def video(path: Path, images: Sequence[Any], rate_hz: float = 30.0) -> Path:
    """Write images as a Motion-JPEG AVI."""
    size = (images[0].shape[1], images[0].shape[0])
    quality = [cv2.VIDEOWRITER_PROP_QUALITY, 95]
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), rate_hz, size, quality
    )
    for image in images:
        writer.write(image)
    writer.release()
    return path


def fake_images(count: int) -> list[Frame]:
    """The first frames of the default fake source."""
    source = FakeSource()
    return [source.image(index) for index in range(count)]


def otb_truth(path: Path, boxes: Sequence[Box]) -> Path:
    """Write boxes as OTB's 1-based ground truth."""
    path.write_text("".join(f"{b.x + 1:g},{b.y + 1:g},{b.w:g},{b.h:g}\n" for b in boxes))
    return path


def decoded(path: Path) -> list[Frame]:
    """Every frame of a video."""
    capture = cv2.VideoCapture(str(path))
    frames: list[Frame] = []
    while True:
        good, image = capture.read()
        if not good:
            capture.release()
            return frames
        frames.append(np.asarray(image, np.uint8))
