"""A clip with exact ground truth, composed from photos that scikit-image ships.

A cat's face moves, turns, and changes size over a picture of a coffee cup while the camera pans and
the light changes; an astronaut's face passes over it twice, once covering its lower part, once nearly all
of it. Photos: `chelsea` (CC0), `coffee` (CC0), `astronaut` (NASA, public domain).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from skimage import data

from edge_runtime.errors import StorageError
from edge_runtime.files import folder_atomic
from edge_runtime.types import Box, FloatArray, Frame

FRAMES = 300
SIZE = (640, 360)
RATE_HZ = 30.0
VIDEO_FILE = "clip.avi"
GROUNDTRUTH_FILE = "groundtruth.txt"
JPEG_QUALITY = 95
NOISE_LEVELS = 2.0


@dataclass(frozen=True)
class Ellipse:
    """Centre and half axes in pixels of a picture."""

    x: float
    y: float
    half_width: float
    half_height: float


@dataclass(frozen=True)
class Pose:
    """Where an object is in a frame: centre in pixels, size factor, turn in degrees."""

    x: float
    y: float
    scale: float
    angle_deg: float


@dataclass(frozen=True)
class Sprite:
    """A picture's ellipse with a soft edge: BGR and opacity, both float32, and its half axes in px."""

    colour: FloatArray
    opacity: FloatArray
    half_width: float
    half_height: float

    @classmethod
    def cut(cls, image: Frame, ellipse: Ellipse, width_px: float) -> Sprite:
        """Cut `ellipse` out of `image` and shrink it to `width_px`; opacity is 1/2 on the outline."""
        factor = width_px / (2 * ellipse.half_width)
        a, b = ellipse.half_width * factor, ellipse.half_height * factor
        rows, columns = 2 * math.ceil(1.1 * b) + 1, 2 * math.ceil(1.1 * a) + 1
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        centre = ((ellipse.x + 0.5) * factor - 0.5, (ellipse.y + 0.5) * factor - 0.5)
        colour = cv2.getRectSubPix(small, (columns, rows), centre).astype(np.float32)
        y, x = np.mgrid[:rows, :columns].astype(np.float32)
        radius = np.hypot((x - columns // 2) / a, (y - rows // 2) / b)
        opacity = np.clip((1.05 - radius) / 0.1, 0, 1).astype(np.float32)
        return cls(cast(FloatArray, colour), cast(FloatArray, opacity), a, b)

    def paste(self, canvas: FloatArray, pose: Pose) -> None:
        """Blend into `canvas`, float32 (rows, columns, 3), in place."""
        rows, columns = self.opacity.shape
        warp = cv2.getRotationMatrix2D((columns // 2, rows // 2), pose.angle_deg, pose.scale)
        warp[:, 2] += pose.x - columns // 2, pose.y - rows // 2
        size = (canvas.shape[1], canvas.shape[0])
        opacity = cv2.warpAffine(self.opacity, warp, size)[..., None]
        colour = cv2.warpAffine(self.colour, warp, size, borderMode=cv2.BORDER_REPLICATE)
        canvas += opacity * (colour - canvas)

    def box(self, pose: Pose) -> Box:
        """Bounds of the turned ellipse, exact."""
        cosine, sine = math.cos(math.radians(pose.angle_deg)), math.sin(math.radians(pose.angle_deg))
        half_width = pose.scale * math.hypot(self.half_width * cosine, self.half_height * sine)
        half_height = pose.scale * math.hypot(self.half_width * sine, self.half_height * cosine)
        return Box.from_centre(pose.y, pose.x, 2 * half_width, 2 * half_height)


class Scene:
    """The clip; frame and box of any index. Positions are those of pixel centres.

    Args:
        frames: length; the same motion is played slower or faster.
        size: (width, height) of the frames in pixels; objects keep their share of it.
    """

    def __init__(self, frames: int = FRAMES, size: tuple[int, int] = SIZE) -> None:
        self.frames, self.size = frames, size
        self.unit_px = size[0] / SIZE[0]
        cat, coffee, astronaut = (
            cast(Frame, cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))
            for photo in (data.chelsea(), data.coffee(), data.astronaut())
        )
        self.target = Sprite.cut(cat, Ellipse(238, 158, 138, 128), 90 * self.unit_px)
        self.occluder = Sprite.cut(astronaut, Ellipse(224, 110, 58, 72), 100 * self.unit_px)
        wall_size = (round(1.6 * size[0]), round(1.6 * size[0] * coffee.shape[0] / coffee.shape[1]))
        self._wall = cv2.resize(coffee, wall_size, interpolation=cv2.INTER_CUBIC).astype(np.float32)

    def pose(self, index: int) -> Pose:
        """Where the target is in a frame."""
        t = self._time(index)
        return Pose(
            x=self.size[0] / 2 + 190 * self.unit_px * math.sin(3 * math.pi * t - 0.6),
            y=self.size[1] / 2 + 70 * self.unit_px * math.sin(4 * math.pi * t + 1.0),
            scale=1.1 + 0.4 * math.sin(3.4 * math.pi * t - 0.25),
            angle_deg=25 * math.sin(5 * math.pi * t),
        )

    def box(self, index: int) -> Box:
        """Exact bounds of the target, seen or covered."""
        return self.target.box(self.pose(index))

    def image(self, index: int) -> Frame:
        """uint8 (height, width, 3), BGR."""
        canvas = self._background(index)
        pose = self.pose(index)
        self.target.paste(canvas, pose)
        for cover in self._covers(index, pose):
            self.occluder.paste(canvas, cover)
        noise = np.random.default_rng(index).standard_normal(canvas.shape, dtype=np.float32)
        canvas = canvas * self._gain(index) + NOISE_LEVELS * noise
        return cast(Frame, np.clip(canvas + 0.5, 0, 255).astype(np.uint8))

    def _time(self, index: int) -> float:
        return index / self.frames

    def _background(self, index: int) -> FloatArray:
        t = self._time(index)
        spare = np.array([self._wall.shape[1] - self.size[0], self._wall.shape[0] - self.size[1]])
        share = 0.5 + 0.48 * np.array([math.sin(4 * math.pi * t + 2), math.cos(3 * math.pi * t)])
        shift = np.hstack([np.eye(2), (-spare * share)[:, None]])
        return cast(FloatArray, cv2.warpAffine(self._wall, shift, self.size))

    def _covers(self, index: int, target: Pose) -> Iterator[Pose]:
        # (middle of the passage, offset downwards in target heights, size); of 300 frames, the two
        # overlap in about 15.
        for middle, below, scale in ((0.36, 0.75, 1.0), (0.7, 0.1, 1.25)):
            phase = (self._time(index) - middle) * FRAMES / 8
            if abs(phase) < 6:  # the face enters and leaves outside the frame
                reach = (self.target.half_width * target.scale + self.occluder.half_width * scale) * 1.1
                yield Pose(
                    target.x + phase * reach, target.y + below * 2 * self.target.half_height, scale, -8.0
                )

    def _gain(self, index: int) -> float:
        # Full light, a dark stretch, a bright one.
        times, gains = (0.1, 0.22, 0.42, 0.55, 0.8, 1), (1, 0.55, 0.55, 1.25, 1.25, 0.9)
        return float(np.interp(self._time(index), times, gains))


def compose(frames: int = FRAMES, size: tuple[int, int] = SIZE) -> Iterator[tuple[Frame, Box]]:
    """Frames, uint8 (height, width, 3) BGR, and exact target boxes, one after the other."""
    scene = Scene(frames, size)
    for index in range(frames):
        yield scene.image(index), scene.box(index)


def write_clip(folder: Path, frames: int = FRAMES, size: tuple[int, int] = SIZE) -> None:
    """Write `clip.avi` (Motion JPEG, quality 95) and `groundtruth.txt` (0-based x,y,w,h; as GOT-10k).

    Raises:
        StorageError: the folder cannot be written; nothing is left behind.
    """
    with folder_atomic(folder) as staging:
        path = staging / VIDEO_FILE
        video = cv2.VideoWriter(
            str(path),
            cv2.CAP_OPENCV_MJPEG,
            cv2.VideoWriter.fourcc(*"MJPG"),
            RATE_HZ,
            size,
            [cv2.VIDEOWRITER_PROP_QUALITY, JPEG_QUALITY],
        )
        lines = []
        for image, box in compose(frames, size):
            video.write(image)
            lines.append(",".join(f"{value:.3f}" for value in box))
        video.release()
        written = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if int(written.get(cv2.CAP_PROP_FRAME_COUNT)) != frames:
            raise StorageError("the video cannot be written", where=folder, fix="free space")
        (staging / GROUNDTRUTH_FILE).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where clip.avi and groundtruth.txt go")
    write_clip(parser.parse_args().folder)
