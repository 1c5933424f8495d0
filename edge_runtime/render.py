"""Pictures of a run for people: an annotated video and a contact sheet."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import cv2
import numpy as np

from edge_runtime.errors import StorageError
from edge_runtime.files import storage_errors, write_atomic
from edge_runtime.types import Box, Frame, TrackResult, TrackState

Colour = tuple[int, int, int]

# BGR, told apart by the colour-blind too (Okabe and Ito).
COLOURS: dict[TrackState, Colour] = {
    TrackState.SEARCHING: (200, 200, 200),
    TrackState.TRACKING: (115, 158, 0),
    TrackState.UNCERTAIN: (0, 159, 230),
    TrackState.LOST: (0, 94, 213),
    TrackState.REACQUIRED: (233, 180, 86),
}
TRUTH_COLOUR: Colour = (255, 255, 255)
FONT = cv2.FONT_HERSHEY_SIMPLEX
TILE_WIDTH_PX = 320
CAPTION_PX = 24
DEFAULT_RATE_HZ = 25.0
CODEC = "mp4v"


@dataclass(frozen=True)
class View:
    """What there is to see of one frame: any number of targets, and the truth about the first, if known."""

    image: Frame
    index: int
    results: tuple[TrackResult, ...]
    truth: Box | None
    fps: float | None

    @property
    def result(self) -> TrackResult | None:
        """The first target's."""
        return self.results[0] if self.results else None

    @property
    def state(self) -> TrackState:
        """The first target's state; searching without one."""
        return self.result.state if self.result else TrackState.SEARCHING

    def caption(self) -> str:
        """Frame number, state, confidence and tracker frames per second in one line."""
        parts = [f"{self.index}", self.state.value]
        if self.result is not None and math.isfinite(self.result.score):
            parts.append(f"{self.result.score:.2f}")
        if self.fps is not None:
            parts.append(f"{self.fps:.0f} fps")
        return "  ".join(parts)


class Renderer(Protocol):
    """Something that turns the frames of a run into a file."""

    def add(self, view: View) -> None:
        """Take one frame."""

    def save(self) -> None:
        """Finish the file and put it in its place. Raises `StorageError`."""

    def discard(self) -> None:
        """Leave nothing behind; does nothing after `save`."""


def draw(view: View) -> Frame:
    """A copy of the frame with the boxes; thin white for the truth, dashed while not tracking."""
    image = view.image.copy()
    thickness = max(2, round(min(image.shape[:2]) / 180))
    if view.truth is not None:
        cv2.rectangle(image, *_corners(view.truth), TRUTH_COLOUR, thickness // 2)
    for result in view.results:
        if all(math.isfinite(v) for v in result.box):
            solid = result.state in (TrackState.TRACKING, TrackState.REACQUIRED)
            _rectangle(image, result.box, COLOURS[result.state], thickness, solid)
    return image


def write_caption(image: Frame, text: str, colour: Colour) -> None:
    """Write `text` into the top left corner of `image`, in place, over a dark ground."""
    scale = max(0.4, min(1.5, image.shape[0] / 600))
    (width, height), below = cv2.getTextSize(text, FONT, scale, 1)
    image[: height + below + 8, : width + 12] //= 3
    cv2.putText(image, text, (6, height + 5), FONT, scale, colour, 1, cv2.LINE_AA)


class VideoRenderer:
    """An annotated MP4 (MPEG-4 part 2), written under a temporary name until `save`.

    Args:
        path: where it goes.
        frame_size: (width, height) in pixels.
        rate_hz: frames per second; None takes 25.

    Raises:
        StorageError: the folder cannot be written or OpenCV cannot encode.
    """

    def __init__(self, path: Path, frame_size: tuple[int, int], rate_hz: float | None) -> None:
        self.path = path
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent)
        self._part = Path(self._folder.name) / "part.mp4"
        fourcc = cv2.VideoWriter.fourcc(*CODEC)
        self._writer = cv2.VideoWriter(str(self._part), fourcc, rate_hz or DEFAULT_RATE_HZ, frame_size)
        self._frames = 0
        if not self._writer.isOpened():
            self.discard()
            raise StorageError("OpenCV cannot write this video", where=path, fix="free space or leave it out")

    def add(self, view: View) -> None:
        """Draw and encode one frame."""
        image = draw(view)
        write_caption(image, view.caption(), COLOURS[view.state])
        self._writer.write(image)
        self._frames += 1

    def save(self) -> None:
        """Finish the file and move it into place.

        Raises:
            StorageError: not every frame reached the disk.
        """
        self._writer.release()
        # OpenCV does not report a full disk; a cut-off file has no index and does not open.
        written = cv2.VideoCapture(str(self._part), cv2.CAP_FFMPEG)
        frames = int(written.get(cv2.CAP_PROP_FRAME_COUNT)) if written.isOpened() else 0
        written.release()
        if frames != self._frames:
            self.discard()
            raise StorageError(
                f"cannot be written ({frames} of {self._frames} frames fitted)",
                where=self.path,
                fix="free space or choose another place",
            )
        with storage_errors(self.path):
            self._part.chmod(0o644)
            self._part.replace(self.path)
        self.discard()

    def discard(self) -> None:
        """Remove what is left under the temporary name."""
        self._writer.release()
        self._folder.cleanup()


class ContactSheet:
    """A PNG with a grid of evenly spaced frames and captions.

    The length of a live stream is unknown, so thumbnails of every `step`-th frame are kept and every
    other one dropped whenever twice as many are there as will be shown.

    Args:
        path: where it goes.
        frames: how many are shown at most.
    """

    def __init__(self, path: Path, frames: int = 12) -> None:
        self.path, self.frames = path, frames
        self._tiles: list[Frame] = []
        self._step = 1
        self._seen = 0

    def add(self, view: View) -> None:
        """Keep a thumbnail of the frame if its turn has come; frames before the target do not count."""
        if view.result is None:
            return
        if self._seen % self._step == 0:
            self._tiles.append(tile(view))
        self._seen += 1
        if len(self._tiles) > 2 * self.frames:
            self._tiles = self._tiles[::2]
            self._step *= 2

    def save(self) -> None:
        """Write the sheet; without a tracked frame there is none. Raises `StorageError`."""
        if not self._tiles:
            return
        chosen = np.linspace(0, len(self._tiles) - 1, min(self.frames, len(self._tiles))).round()
        sheet = grid([self._tiles[int(i)] for i in chosen])
        write_atomic(self.path, cv2.imencode(".png", sheet)[1].tobytes())

    def discard(self) -> None:
        """Nothing is on the disk before `save`."""


def tile(view: View) -> Frame:
    """A thumbnail 320 px wide with its caption below."""
    image = draw(view)
    height = max(1, round(image.shape[0] * TILE_WIDTH_PX / image.shape[1]))
    small = cv2.resize(image, (TILE_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    caption = np.full((CAPTION_PX, TILE_WIDTH_PX, 3), 32, np.uint8)
    cv2.putText(caption, view.caption(), (6, 17), FONT, 0.5, COLOURS[view.state], 1, cv2.LINE_AA)
    return np.vstack([small, caption])


def grid(tiles: list[Frame]) -> Frame:
    """Tiles of one size, row by row, about as wide as high in tiles; empty places are dark."""
    columns = math.ceil(math.sqrt(len(tiles)))
    blank = np.full_like(tiles[0], 32)
    padded = tiles + [blank] * (-len(tiles) % columns)
    rows = [np.hstack(padded[i : i + columns]) for i in range(0, len(padded), columns)]
    return cast(Frame, np.vstack(rows))


def _corners(box: Box) -> tuple[tuple[int, int], tuple[int, int]]:
    # OpenCV takes 32-bit coordinates, and dashes far outside would be drawn one by one.
    edges = (box.x, box.y, box.x + box.w - 1, box.y + box.h - 1)
    left, top, right, bottom = (round(min(max(edge, -8192.0), 8192.0)) for edge in edges)
    return (left, top), (right, bottom)


def _rectangle(image: Frame, box: Box, colour: Colour, thickness: int, solid: bool) -> None:
    (left, top), (right, bottom) = _corners(box)
    if solid:
        cv2.rectangle(image, (left, top), (right, bottom), colour, thickness)
        return
    dash = max(4, (right - left + bottom - top) // 24)
    for x in range(left, right, 2 * dash):
        for y in (top, bottom):
            cv2.line(image, (x, y), (min(x + dash, right), y), colour, thickness)
    for y in range(top, bottom, 2 * dash):
        for x in (left, right):
            cv2.line(image, (x, y), (x, min(y + dash, bottom)), colour, thickness)
