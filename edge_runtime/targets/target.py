"""One target from its first box to its end."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any

from edge_runtime.targets.search import Searcher, WholeFrameSearch
from edge_runtime.targets.settings import TargetConfig
from edge_runtime.types import Box, Frame, Tracker, TrackResult, TrackState


class Target:
    """A tracker on one target, and the search for it while it is lost.

    Args:
        track_id: its identity, which it keeps when it is found again.
        tracker: started anew by this.
        image, box: where it is first.

    Attributes:
        first, last: the results of the frame that it was started in, and of the newest one.
        lost_s: for how long it has been lost, seconds.

    Raises:
        BoxError: the box is unusable.
    """

    def __init__(self, track_id: int, tracker: Tracker, config: TargetConfig, image: Frame, box: Box) -> None:
        self.track_id, self.tracker, self._config = track_id, tracker, config
        start_s = time.perf_counter()
        tracker.init(image, box)
        latency_ms = (time.perf_counter() - start_s) * 1e3
        self.first = TrackResult(box, 1.0, math.nan, TrackState.TRACKING, latency_ms)
        self._search: WholeFrameSearch | None = None
        self._seen_ns: int | None = None
        self.last, self.lost_s = self.first, 0.0

    def update(self, image: Frame, t_ns: int, *, search: bool) -> TrackResult:
        """Track into the next frame.

        Args:
            t_ns: when the frame was taken, nanoseconds.
            search: whether a lost target may be looked for elsewhere in this frame.
        """
        start_s = time.perf_counter()
        result = self.tracker.update(image)
        if result.state is not TrackState.LOST:
            self._search = None
        elif search and self._config.search.windows and isinstance(self.tracker, Searcher):
            self._look_for(self.tracker, image, result)
        if self._seen_ns is None or result.state is not TrackState.LOST:
            self._seen_ns = t_ns
        self.lost_s = (t_ns - self._seen_ns) / 1e9
        latency_ms = (time.perf_counter() - start_s) * 1e3
        self.last = dataclasses.replace(result, latency_ms=latency_ms)
        return self.last

    @property
    def given_up(self) -> bool:
        """Whether it has been lost for longer than it is looked for."""
        return 0 < self._config.max_lost_s < self.lost_s

    def summary(self) -> dict[str, Any]:
        """What there is to say of it."""
        last = self.last
        return {
            "track_id": self.track_id,
            "state": last.state.value,
            "box": [round(v, 1) for v in last.box],
            "confidence": round(last.score, 4),
            "lost_s": round(self.lost_s, 1),
        }

    def close(self) -> None:
        """Stop what works for it in the background."""
        self.tracker.close()

    def _look_for(self, tracker: Searcher, image: Frame, result: TrackResult) -> None:
        if self._search is None:
            rows, columns = image.shape[:2]
            size_px = (result.box.h, result.box.w)
            self._search = WholeFrameSearch(self._config.search, tracker.centre, size_px, (rows, columns))
        self._search.step(tracker, image, result)
