"""A tracker whose network is adapted to its target; the filter is refitted beside it, and swapped in.

In the background, tracking starts at once with the network as it was exported. When the new one is there, a
second tracker is started with it on the first frame and learns the frames that were kept since, all in the
background; then it takes over at a frame's boundary, where the first tracker is.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from edge_runtime import trackers
from edge_runtime.adaptation.background import (
    Adapted,
    BackgroundTask,
    Request,
    Worker,
    WorkerError,
    train,
)
from edge_runtime.adaptation.model import AdaptableNetwork
from edge_runtime.adaptation.settings import AdaptConfig
from edge_runtime.config import Config
from edge_runtime.errors import CfvggError, ConfigError
from edge_runtime.features import FeatureExtractor, NetworkFeatures
from edge_runtime.trackers.base import CorrelationTracker
from edge_runtime.trackers.presets import network_levels
from edge_runtime.types import Box, Detection, Frame, Place, Tracker, TrackResult

MOST_KEPT_BYTES = 24_000_000  # of frames to refit with
MOST_KEPT = 12
CLOSING_S = 5.0

MakeTracker = Callable[[NetworkFeatures], CorrelationTracker]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Learned:
    """A frame that was learned, and where the target was in it."""

    image: Frame
    centre: tuple[float, float]
    scale: float


class AdaptiveTracker:
    """A `Tracker`.

    Args:
        make: makes a tracker on a network's features.
        features: of the network as it was exported.
        config: how to adapt; not "off".
        levels: that the tracker takes of the network.
        worker: what trains; importable by another process.

    Attributes:
        last: what came of the adaptation to this target; None while it goes on.

    Raises:
        ConfigError: nothing that the tracker takes would change.
    """

    def __init__(
        self,
        make: MakeTracker,
        features: NetworkFeatures,
        config: AdaptConfig,
        levels: tuple[str, ...],
        worker: Worker = train,
    ) -> None:
        self._make, self._offline, self._config, self._levels = make, features, config, levels
        self.worker = worker
        AdaptableNetwork(features.bundle, features.dtype, config.layers, levels)  # refuses here, not later
        self._tracker = make(features)
        self._task: BackgroundTask | None = None
        self._lock = threading.Lock()  # of what the task's thread hands over
        self._target = 0  # counts them, so that what comes late is known to be for another one
        self._pending = False
        self._successor: CorrelationTracker | None = None
        self._kept: list[_Learned] = []
        self._keep_every, self._frames = 1, 0
        self.last: Adapted | WorkerError | None = None

    @property
    def stage_ms(self) -> dict[str, float]:
        """Of the tracker that runs now."""
        return self._tracker.stage_ms

    @property
    def adapting(self) -> bool:
        """Whether a new network may still come, or has come and takes over in the next frame."""
        return self._pending or self._successor is not None

    @property
    def worker_pid(self) -> int | None:
        """Of the process that trains, if there is one."""
        return self._task.pid if self._task is not None else None

    def init(self, image: Frame, box: Box) -> None:
        """Start, or start again, on `box` in `image`; what was being adapted is given up.

        Raises:
            BoxError: the box is unusable.
        """
        tracker = self._make(self._offline)
        tracker.init(image, box)
        self._give_up()
        self._tracker, self._frames, self.last = tracker, 0, None
        box = Box(*box)
        if self._config.mode == "blocking":
            self._adapt_now(image, box)
        else:
            self._keep_every, self._pending = 1, True
            request = self._request(image.copy(), box)  # the source may use its memory again
            self._task = BackgroundTask(
                request, functools.partial(self._refit, self._target, request), self.worker
            )

    def update(self, image: Frame) -> TrackResult:
        """Find the target in the next frame. Raises `SourceError` if the frame size changed."""
        self._take_over()
        result = self._tracker.update(image)
        self._frames += 1
        if self._pending and self._tracker.learned:
            self._keep(image)
        return result

    @property
    def centre(self) -> Place:
        """Of the target, (row, column)."""
        return self._tracker.centre

    @centre.setter
    def centre(self, centre: Place) -> None:
        self._tracker.centre = centre

    @property
    def reacquired_above(self) -> float:
        """Confidence that a frame needs to end a loss."""
        return self._tracker.reacquired_above

    def look(self, image: Frame, centre: Place) -> Detection:
        """Ask the filter about the window around a place; the target stays where it is.

        Args:
            image: uint8 (rows, columns, 3), BGR.
            centre: (row, column), pixels.
        """
        return self._tracker.look(image, centre)

    def close(self) -> None:
        """Give up what is being adapted, if anything, and wait for its thread to end."""
        task = self._task
        self._give_up()
        if task is not None and not task.wait(CLOSING_S):
            log.warning("adaptation: its thread does not end")

    def _give_up(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._pending:
            log.info("adaptation: given up, it was not ready")
        with self._lock:
            self._task, self._successor, self._kept = None, None, []
            self._target, self._pending = self._target + 1, False

    def wait(self, timeout_s: float) -> bool:
        """Wait for what is being adapted, for tests and measurements; whether it has come to its end."""
        return self._task is None or self._task.wait(timeout_s)

    def _request(self, image: Frame, box: Box) -> Request:
        features = self._offline
        return Request(image, box, features.bundle, features.dtype, self._config, self._levels)

    def _adapt_now(self, image: Frame, box: Box) -> None:
        request = self._request(image, box)
        result: Adapted | WorkerError
        try:
            result = self.worker(request)
        except CfvggError as error:
            result = WorkerError(str(error))
        except Exception as error:  # whatever it is, there is a tracker without it
            result = WorkerError(f"{type(error).__name__}: {error}")
        self._refit(self._target, request, result)
        self._take_over()

    def _adapted(self, model: bytes) -> NetworkFeatures:
        return NetworkFeatures(self._offline.bundle, self._offline.dtype, model)

    def _refit(self, target: int, request: Request, result: Adapted | WorkerError) -> None:
        """A second tracker that knows what the first one does; in the background, in the task's thread."""
        report(result)
        successor = None
        try:
            if isinstance(result, Adapted) and result.model is not None:
                successor = self._trained_anew(result.model, request)
        except Exception as error:  # whatever it is, the first tracker goes on
            log.warning("adaptation: the new network is not used (%s: %s)", type(error).__name__, error)
        with self._lock:
            if target == self._target:  # else there is another one by now
                self.last, self._successor, self._pending = result, successor, False

    def _trained_anew(self, model: bytes, request: Request) -> CorrelationTracker:
        successor = self._make(self._adapted(model))
        successor.init(request.frame, request.box)
        for learned in list(self._kept):
            successor.relearn(learned.image, learned.centre, learned.scale)
        return successor

    def _take_over(self) -> None:
        with self._lock:
            successor, self._successor = self._successor, None
        if successor is not None:
            successor.succeed(self._tracker)
            self._tracker = successor
            log.info("adaptation: the new network tracks from frame %d on", self._frames + 1)
        if not self._pending:
            self._kept = []

    def _keep(self, image: Frame) -> None:
        """Frames spread evenly over the time that it takes, as many as memory allows."""
        if self._frames % self._keep_every:
            return
        most = max(2, min(MOST_KEPT, MOST_KEPT_BYTES // image.nbytes))
        if len(self._kept) >= most:
            self._kept = self._kept[1::2]
            self._keep_every *= 2
        self._kept.append(_Learned(image.copy(), self._tracker.centre, self._tracker.scale))


def tracker_for(config: Config, features: FeatureExtractor | None) -> Tracker:
    """The tracker that `config` asks for, adapting if `config.adapt` says so and it takes network features.

    Raises:
        ConfigError: see `trackers.make_tracker` and `AdaptiveTracker`.
    """
    levels = network_levels(config.tracker)
    if config.adapt.mode == "off" or not levels or features is None:
        return trackers.make_tracker(config, features)
    if not isinstance(features, NetworkFeatures):
        raise ConfigError("only a bundle's network can be adapted", fix='set adapt.mode = "off"')

    def make(features: NetworkFeatures) -> CorrelationTracker:
        tracker = trackers.make_tracker(config, features)
        assert isinstance(tracker, CorrelationTracker)
        return tracker

    return AdaptiveTracker(make, features, config.adapt, levels)


def report(result: Adapted | WorkerError) -> None:
    """One line of what happened."""
    if isinstance(result, WorkerError):
        log.warning("adaptation: %s; the network stays as it is", result)
        return
    outcome = result.outcome
    about = f"{outcome.iterations} iterations, {outcome.negatives} background crops, {result.seconds:.1f} s"
    if result.model is None:
        log.info("adaptation: the network stays as it is: %s (%s)", outcome.reason, about)
    else:
        losses = f"{outcome.loss_before:.3f} to {outcome.loss_after:.3f} on held-back crops"
        log.info("adaptation: %s (%s)", losses, about)
