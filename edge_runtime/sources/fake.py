"""A camera without a camera: a textured square moves over a textured wall, and faults come on cue."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Self, cast
from urllib.parse import parse_qsl

import cv2
import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.sources.base import RecordedSource
from edge_runtime.structure import structure
from edge_runtime.types import Box, Frame

TURN_FRAMES = 90  # the target's path closes after this many frames


@dataclass(frozen=True)
class FakeScript:
    """What the fake camera shows; the same script gives the same frames.

    Attributes:
        frames: how many there are.
        width, height: of the frame, in pixels.
        target_px: side of the square target.
        rate_hz: nominal frame rate; frames come as fast as they are asked for.
        seed: of the textures.
        fault: what happens at `fault_frame`: "none", "corrupt" (that frame cannot be decoded), "end"
            (the stream stops early), or "resize" (frames are half as wide from there on).
        fault_frame: index of the frame concerned.
    """

    frames: int = 60
    width: int = 320
    height: int = 240
    target_px: int = 40
    rate_hz: float = 30.0
    seed: int = 0
    fault: Literal["none", "corrupt", "end", "resize"] = "none"
    fault_frame: int = 0

    def __post_init__(self) -> None:
        checks = {
            "frames": self.frames >= 1,
            "width": 64 <= self.width <= 7680,
            "height": 64 <= self.height <= 4320,
            "target_px": 8 <= self.target_px <= min(self.width, self.height) // 2,
            "rate_hz": 0 < self.rate_hz <= 1000,
            "seed": self.seed >= 0,
            "fault_frame": self.fault_frame >= 0,
        }
        for name, in_range in checks.items():
            if not in_range:
                raise ValueError(f"{name} = {getattr(self, name)} is out of range")


class Scene:
    """The pictures of a fake camera.

    Args:
        script: its size, target and seed are used.
    """

    def __init__(self, script: FakeScript) -> None:
        self._script = script
        noise = np.random.default_rng(script.seed)
        self._wall = _texture(noise, (script.height, script.width), 9, 140)
        self._target = _texture(noise, (script.target_px, script.target_px), 3, 255)

    def box(self, step: int) -> Box:
        """Where the target is, exactly, at a step along its path."""
        script, side = self._script, self._script.target_px
        turn = 2 * math.pi * step / TURN_FRAMES
        x = (script.width - side) * (0.5 + 0.4 * math.sin(turn))
        y = (script.height - side) * (0.5 + 0.4 * math.sin(2 * turn))
        return Box(float(round(x)), float(round(y)), float(side), float(side))

    def image(self, box: Box | None) -> Frame:
        """The wall with the target in a box, or without it: uint8 (height, width, 3), BGR."""
        image = self._wall.copy()
        if box is not None:
            x, y, w, h = (int(v) for v in box)
            image[y : y + h, x : x + w] = self._target
        return image


class FakeSource(RecordedSource):
    """A recording of a `Scene`, which knows what time it is."""

    _tells_time = True

    def __init__(self, script: FakeScript | None = None, uri: str = "fake:") -> None:
        self.uri, self.script = uri, script or FakeScript()
        self.frame_size = (self.script.width, self.script.height)
        self.frame_rate_hz = self.script.rate_hz
        self.frame_count = self.script.frames
        self._scene = Scene(self.script)

    @classmethod
    def from_uri(cls, uri: str) -> Self:
        """From `fake:` or `fake:name=value&name=value`, with the names of `FakeScript`.

        Raises:
            SourceError: an unknown name, or a value of the wrong type or out of range.
        """
        settings = uri_settings(uri)
        if settings.get("live") is False:
            del settings["live"]
        return cls(structure(FakeScript, settings, uri, SourceError), uri)

    def box(self, index: int) -> Box:
        """Where the target is, exactly, in frame `index`."""
        return self._scene.box(index)

    def images(self) -> Iterator[Frame]:
        """The frames, up to the fault."""
        for index in range(self.script.frames):
            fault = self.script.fault if index >= self.script.fault_frame else "none"
            if fault == "end":
                return
            if fault == "corrupt":
                raise SourceError(f"frame {index} cannot be decoded", where=self.uri)
            image = self.image(index)
            yield image[:, ::2].copy() if fault == "resize" else image

    def image(self, index: int) -> Frame:
        """Frame `index`: uint8 (height, width, 3), BGR."""
        return self._scene.image(self.box(index))


def uri_settings(uri: str) -> dict[str, Any]:
    """What stands behind `fake:`, numbers and truth values as such.

    Raises:
        SourceError: a name is given twice.
    """
    pairs = parse_qsl(uri.removeprefix("fake:").removeprefix("?"), keep_blank_values=True)
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SourceError(f"{twice} is given twice", where=uri, fix="give it once")
    return {name: _value(text) for name, text in pairs}


def _texture(noise: np.random.Generator, size: tuple[int, int], grain_px: int, high: int) -> Frame:
    """Smooth coloured noise of a given grain, uint8 of shape (*size, 3) in 40..high."""
    rows, columns = size
    coarse = noise.random((rows // grain_px + 2, columns // grain_px + 2, 3), dtype=np.float32)
    fine = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return cast(Frame, (40 + fine * (high - 40)).astype(np.uint8))


def _value(text: str) -> Any:
    if text in {"true", "false"}:
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
