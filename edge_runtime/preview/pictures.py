"""Frames as the preview's pictures: scaled down, with the boxes if asked for, as JPEG."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import cv2

from edge_runtime.errors import ConfigError
from edge_runtime.preview.settings import LEAST_RATE_HZ, LEAST_WIDTH_PX, MOST_WIDTH_PX, PreviewConfig
from edge_runtime.preview.stream import jpeg_part
from edge_runtime.records import TrackRecord, rounded
from edge_runtime.render import COLOURS, View, draw, write_caption
from edge_runtime.structure import structure
from edge_runtime.types import Box, Frame, TrackResult, TrackState

OF_EACH_TARGET = ("track_id", "state", "box", "confidence")


@dataclass(frozen=True)
class Rendition:
    """How a watcher wants its pictures; watchers that want the same share them.

    Attributes:
        width: in pixels; pictures are never wider than the camera's.
        quality: of the JPEG.
        max_rate_hz: most pictures a second.
        overlay: whether box and state are drawn into the picture.
    """

    width: int
    quality: int
    max_rate_hz: float
    overlay: bool = False

    def __post_init__(self) -> None:
        checks = {
            "width": LEAST_WIDTH_PX <= self.width <= MOST_WIDTH_PX,
            "quality": 10 <= self.quality <= 95,
            "max_rate_hz": LEAST_RATE_HZ <= self.max_rate_hz <= 1000,
        }
        for name, in_range in checks.items():
            if not in_range:
                raise ValueError(f"{name} = {getattr(self, name)} is out of range")


def asked_rendition(asked: Mapping[str, Any], config: PreviewConfig) -> Rendition:
    """What a watcher asked for, with the service's settings for the rest, at most at the service's rate.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type or out of range.
    """
    usual = {"width": config.width_px, "quality": config.quality, "max_rate_hz": config.max_rate_hz}
    wanted = structure(Rendition, usual | dict(asked), "preview request", ConfigError)
    return dataclasses.replace(wanted, max_rate_hz=min(wanted.max_rate_hz, config.max_rate_hz))


@dataclass(frozen=True, slots=True)
class Offer:
    """One frame of the loop: image, a record for each target, and the tracker's frames a second if known."""

    image: Frame
    records: Sequence[TrackRecord]
    fps: float | None

    @property
    def record(self) -> TrackRecord:
        """The first target's."""
        return self.records[0]


def encoded_part(offer: Offer, rendition: Rendition) -> bytes:
    """A frame as a part of the stream. Raises `cv2.error` if it cannot be encoded."""
    targets = [{name: getattr(target, name) for name in OF_EACH_TARGET} for target in offer.records]
    record = dataclasses.asdict(offer.record) | {"fps": rounded(offer.fps, 1), "targets": targets}
    image = scaled(offer.image, rendition.width)
    if rendition.overlay:
        image = annotated(image, record)
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, rendition.quality])
    age_ms = (time.monotonic_ns() - offer.record.t_monotonic_ns) / 1e6
    return jpeg_part(record | {"age_ms": rounded(age_ms, 1)}, jpeg.tobytes())


def scaled(image: Frame, width_px: int) -> Frame:
    """`image` at most `width_px` wide, in its own proportions; itself if it is no wider."""
    rows, columns = image.shape[:2]
    if columns <= width_px:
        return image
    size = (width_px, max(1, round(rows * width_px / columns)))
    return cast(Frame, cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def annotated(image: Frame, record: Mapping[str, Any], caption: bool = True) -> Frame:
    """A copy of `image`, of any size, with the boxes and, if wanted, the state of a part's record."""
    columns, rows = record["frame_size"]
    across, down = image.shape[1] / columns, image.shape[0] / rows
    results = tuple(_result(target, across, down) for target in record["targets"] if target["box"])
    view = View(image, record["frame"], results, None, record["fps"])
    picture = draw(view)
    if caption:
        write_caption(picture, view.caption(), COLOURS[view.state])
    return picture


def _result(target: Mapping[str, Any], across: float, down: float) -> TrackResult:
    x, y, w, h = target["box"]
    confidence = math.nan if target["confidence"] is None else target["confidence"]
    box = Box(x * across, y * down, w * across, h * down)
    return TrackResult(box, confidence, math.nan, TrackState(target["state"]), math.nan)
