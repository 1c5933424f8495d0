"""What all trackers share: starting, the order of a frame's steps, confidence, and what is refused."""

from __future__ import annotations

import abc
import time
from contextlib import AbstractContextManager

import numpy as np

from edge_runtime.confidence import ConfidenceConfig, ConfidenceModel, RunningLog, StateMachine
from edge_runtime.errors import SourceError
from edge_runtime.trackers.profile import StageTimes
from edge_runtime.trackers.sampling import is_grey, round_half_up
from edge_runtime.types import Box, Detection, Frame, Place, TrackResult, check_box

MIN_TARGET_PX = 4.0
USUAL_MOST = 7.0  # a usual ratio counts at most so many times that of confidence 0.5


class CorrelationTracker(abc.ABC):
    """A `Tracker`: locate, judge, learn.

    A subclass keeps `centre` (row, column, of pixel centres) and `scale` (frame pixels per pixel of the
    sample) up to date; the target's size is `base_px * scale`. `learned` tells whether the last `update`
    learned its frame.

    Args:
        confidence: when a target counts as uncertain and lost.
        model: from the response's peak-to-sidelobe ratio to a confidence.
    """

    def __init__(self, confidence: ConfidenceConfig, model: ConfidenceModel) -> None:
        self._confidence_config, self.confidence_model = confidence, model
        self._times = StageTimes()
        self._started = False
        self.learned = False

    @property
    def stage_ms(self) -> dict[str, float]:
        """Milliseconds spent so far, by stage; see `edge_runtime.trackers.profile`."""
        return self._times.total_ms

    def init(self, image: Frame, box: Box) -> None:
        """Start, or start again, on `box` in `image`.

        Raises:
            BoxError: the box is unusable.
            SourceError: the image is no uint8 array (rows, columns, 3).
        """
        check_picture(image)
        box = check_box(box, image.shape)
        self._frame_shape = image.shape
        self._grey = is_grey(image)
        self.centre = box.centre
        self._states = StateMachine(self._confidence_config)
        self._usual_psr = RunningLog(USUAL_MOST * self.confidence_model.psr_half)
        self._start(self._view(image), (max(box.h, MIN_TARGET_PX), max(box.w, MIN_TARGET_PX)))
        self._started = True

    def update(self, image: Frame) -> TrackResult:
        """Find the target in the next frame. Raises `SourceError` if the frame size changed."""
        start_s = time.perf_counter()
        self._check_frame(image)
        frame = self._view(image)
        centre_before, scale_before = self.centre, self.scale
        psr = self._locate(frame)
        score = self.confidence_model(psr, self._usual_psr.before(psr))
        state = self._states.update(score)
        if score < self._confidence_config.stay_below:
            self.centre = centre_before
        self._keep_inside()
        self.learned = False
        if not self._states.may_learn:
            self.scale = scale_before  # a target that is not there does not tell its size
        elif self._visible_share() >= self._confidence_config.learn_visible_share:
            self._usual_psr.add(psr)
            self._learn(frame)
            self.learned = True
        latency_ms = (time.perf_counter() - start_s) * 1e3
        return TrackResult(self._box(), score, psr, state, latency_ms)

    def relearn(self, image: Frame, centre: tuple[float, float], scale: float) -> None:
        """Learn a frame in which it is known where the target is, as `update` would have."""
        frame = self._view(image)
        self.centre, self.scale = centre, scale
        psr = self._locate(frame)
        self.centre, self.scale = centre, scale
        self._usual_psr.add(psr)
        self._learn(frame)

    @property
    def reacquired_above(self) -> float:
        """Confidence that a frame needs to end a loss."""
        return self._confidence_config.reacquired_above

    def look(self, image: Frame, centre: Place) -> Detection:
        """Ask the filter about the window around a place; the target stays where it is.

        Args:
            image: uint8 (rows, columns, 3), BGR.
            centre: (row, column), pixels.
        """
        kept = self.centre, self.scale
        self.centre = centre
        psr = self._locate(self._view(image))
        detection = Detection(self.centre, self.confidence_model(psr, self._usual_psr.before(psr)))
        self.centre, self.scale = kept
        return detection

    def close(self) -> None:  # noqa: B027 (of these, none works in the background)
        """Nothing works in the background."""

    def succeed(self, other: CorrelationTracker) -> None:
        """Go on where `other` is, which tracks the same target with other features."""
        self.centre, self.scale, self._states = other.centre, other.scale, other._states

    # What a tracker is made of. Frames are (rows, columns, 3) uint8 BGR, or (rows, columns, 1) if grey.

    base_px: tuple[float, float]
    scale: float

    @abc.abstractmethod
    def _start(self, frame: Frame, target_px: tuple[float, float]) -> None:
        """Set `base_px` and `scale` for a target of (h, w) at `centre`, and learn it."""

    @abc.abstractmethod
    def _locate(self, frame: Frame) -> float:
        """Move `centre` and `scale`; returns the response's peak-to-sidelobe ratio."""

    @abc.abstractmethod
    def _learn(self, frame: Frame) -> None:
        """Adapt to the target where it was found."""

    def _stage(self, name: str) -> AbstractContextManager[None]:
        return self._times.stage(name)

    def _view(self, image: Frame) -> Frame:
        return image[..., :1] if self._grey else image

    def _check_frame(self, image: Frame) -> None:
        if not self._started:
            raise SourceError("update() before init()", fix="start the tracker on a box first")
        check_picture(image)
        if image.shape != self._frame_shape:
            before, now = (f"{shape[1]}x{shape[0]}" for shape in (self._frame_shape, image.shape))
            raise SourceError(f"frame size changed from {before} to {now}", fix="start the tracker again")

    def _keep_inside(self) -> None:
        """A target that leaves is waited for where it left, and never becomes larger than the frame."""
        rows, columns = self._frame_shape[:2]
        row, column = self.centre
        self.centre = float(np.clip(row, 0, rows - 1)), float(np.clip(column, 0, columns - 1))

    def _pixel(self) -> tuple[int, int]:
        """The whole pixel that samples are centred on."""
        return round_half_up(self.centre[0]), round_half_up(self.centre[1])

    def _sidelobe_margin(self, support_px: int, cells: int) -> int:
        """Half side in cells of the square around a peak that is no sidelobe: a quarter of the target."""
        target_px = float(np.sqrt(self.base_px[0] * self.base_px[1]))
        return max(2, round(target_px / support_px * cells / 4))

    def _visible_share(self) -> float:
        """How much of the box lies inside the frame, 0 to 1."""
        x, y, w, h = self._box()
        rows, columns = self._frame_shape[:2]
        inside = max(min(x + w, columns) - max(x, 0), 0) * max(min(y + h, rows) - max(y, 0), 0)
        return inside / (w * h)

    def _box(self) -> Box:
        height, width = self.base_px[0] * self.scale, self.base_px[1] * self.scale
        return Box.from_centre(*self.centre, width, height)


def check_picture(image: Frame) -> None:
    """Raise `SourceError` unless `image` is a frame: uint8, (rows, columns, 3)."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise SourceError(f"frame is {image.dtype} {image.shape}, not uint8 (rows, columns, 3)")


def scale_limits(
    step: float, support_px: int, base_px: tuple[float, float], frame_shape: tuple[int, ...]
) -> tuple[float, float]:
    """Powers of `step` between which a scale stays: a sample of 5 px, and a target as large as the frame."""
    log_step = np.log(step)
    least = step ** np.ceil(np.log(5 / support_px) / log_step)
    fits = min(frame_shape[0] / base_px[0], frame_shape[1] / base_px[1])
    most = step ** np.floor(np.log(fits) / log_step)
    return float(least), float(max(most, least))
