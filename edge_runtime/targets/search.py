"""Finding a lost target again, anywhere in the frame, at a bounded cost a frame.

The target's own filter is asked at the places of a coarse grid, a few in each frame, the nearest to its last
place first, again and again. Where it is sure, the tracker goes there on trial: the next frame must confirm
it, or the tracker goes back. So one chance answer moves nothing for longer than a frame, and learning waits
as ever for the tracker's own rule of re-acquisition.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from edge_runtime.targets.settings import SearchConfig
from edge_runtime.types import Detection, Frame, Place, TrackResult


@runtime_checkable
class Searcher(Protocol):
    """A tracker that can look elsewhere."""

    centre: Place

    @property
    def reacquired_above(self) -> float:
        """Confidence that a frame needs to end a loss."""

    def look(self, image: Frame, centre: Place) -> Detection:
        """Ask about the window around a place; the tracker stays where it is, and as it is.

        Args:
            image: uint8 (rows, columns, 3), BGR.
            centre: (row, column), pixels.
        """


class WholeFrameSearch:
    """The search for one target, from its loss on.

    Args:
        config: how many windows, how far apart.
        home: the target's last place, (row, column).
        target_px: its height and width.
        frame_px: rows and columns of the frame.
    """

    def __init__(
        self, config: SearchConfig, home: Place, target_px: Place, frame_px: tuple[int, int]
    ) -> None:
        self._config, self._home = config, home
        self.places = grid(home, [config.stride * px for px in target_px], frame_px)
        self._next = self._endless()
        self._on_trial = False

    def step(self, tracker: Searcher, image: Frame, result: TrackResult) -> None:
        """Look at the next places of a frame in which the tracker, where it is, came to `result`."""
        if self._on_trial:
            if result.score >= tracker.reacquired_above:
                return
            tracker.centre, self._on_trial = self._home, False
        detections = [tracker.look(image, next(self._next)) for _ in range(self._config.windows)]
        best = max(detections, key=lambda detection: detection.confidence)
        if best.confidence >= max(self._config.found_above, result.score):
            tracker.centre, self._on_trial = best.centre, True

    def _endless(self) -> Iterator[Place]:
        while True:
            yield from self.places


def grid(home: Place, step_px: list[float], frame_px: tuple[int, int]) -> list[Place]:
    """Places that cover a frame, the nearest to `home` first.

    Args:
        home: (row, column), pixels.
        step_px: most distance between neighbours, (rows, columns), pixels.
        frame_px: rows and columns of the frame.
    """
    axes = []
    for step, size in zip(step_px, frame_px, strict=True):
        count = max(1, math.ceil(size / max(step, 1.0)))
        axes.append([(k + 0.5) * size / count for k in range(count)])
    places = [(row, column) for row in axes[0] for column in axes[1]]
    return sorted(
        places, key=lambda at: math.hypot((at[0] - home[0]) / step_px[0], (at[1] - home[1]) / step_px[1])
    )
