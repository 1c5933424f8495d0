"""All targets of a run: the first one, those that commands select, and those that movement starts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from edge_runtime.errors import BoxError, CommandError
from edge_runtime.sources.base import CapturedFrame
from edge_runtime.targets.motion import MotionStart
from edge_runtime.targets.settings import TargetConfig
from edge_runtime.targets.target import Target
from edge_runtime.types import Box, Frame, Tracker, TrackResult, check_box

log = logging.getLogger(__name__)


class Tracked(NamedTuple):
    """One target's outcome in a frame; `first` is the one that it was started in."""

    track_id: int
    result: TrackResult
    first: bool = False


class Targets:
    """Takes frames in the loop's thread and commands in any.

    Args:
        config: which targets there are.
        make_tracker: makes one; it is used again for the next target.
        first: box of the first target, None for none; it belongs to frame `config.frame`.
    """

    def __init__(self, config: TargetConfig, make_tracker: Callable[[], Tracker], first: Box | None) -> None:
        self.config, self._make_tracker = config, make_tracker
        self._targets: list[Target] = []
        self._spare = [make_tracker()]  # now, since settings may be refused
        self._ids = 0
        self._motion = MotionStart(config.motion) if config.start == "motion" else None
        self._first = first
        self._lock = threading.Lock()  # of what commands leave for the next frame
        self._selected: list[Box] = []
        self._cleared: list[int | None] = []
        self._paused = False
        self._frame_shape: tuple[int, ...] | None = None

    @property
    def paused(self) -> bool:
        """Whether frames are let pass without tracking."""
        return self._paused

    @property
    def last_id(self) -> int:
        """Identity of the newest target there has been, from 1; 0 for none."""
        return self._ids

    @property
    def started(self) -> bool:
        """Whether there has been a target."""
        return self._ids > 0

    def frame(self, frame: CapturedFrame) -> list[Tracked]:
        """Track every target into a frame.

        Raises:
            BoxError: the box of the first target is unusable. Other boxes are logged and passed over.
        """
        self._frame_shape = frame.image.shape
        selected = self._obey()
        if self._paused:
            return []
        results = self._update(frame)
        if self._first is not None and frame.index >= self.config.frame:
            first, self._first = self._first, None
            results.append(self._start(frame.image, first))
        results += self._start_selected(frame.image, selected)
        if not self._targets and self._first is None and self._motion is not None:
            box = self._motion.find(frame.image)
            if box is not None:
                results.append(self._start(frame.image, box))
        return results

    def select(self, box: Box) -> None:
        """Start a target on a box in the next frame; where there may be but one, it takes the other's place.

        Raises:
            CommandError: there has been no frame yet, or there is no room for another target.
            BoxError: the box is unusable.
        """
        if self._frame_shape is None:
            raise CommandError("there has been no frame yet", fix="try again when the source delivers")
        checked = check_box(box, self._frame_shape)
        with self._lock:
            if self.config.most == 1:
                self._cleared.append(None)
                self._selected = [checked]
                return
            if len(self._targets) + len(self._selected) >= self.config.most:
                raise CommandError(
                    f"{self.config.most} targets are tracked already", fix="clear one, or raise target.most"
                )
            self._selected.append(checked)

    def clear(self, track_id: int | None = None) -> None:
        """Give up a target in the next frame, or all of them.

        Raises:
            CommandError: there is no such target.
        """
        if track_id is not None and track_id not in {target.track_id for target in self._targets}:
            raise CommandError(f"there is no target {track_id}", fix="see cfvgg-edge status")
        with self._lock:
            self._cleared.append(track_id)
            if track_id is None:
                self._selected = []

    def summary(self) -> list[dict[str, Any]]:
        """What there is to say of each target."""
        return [target.summary() for target in list(self._targets)]

    def pause(self, paused: bool) -> None:
        """Stop tracking, or go on; frames still flow."""
        self._paused = paused

    def close(self) -> None:
        """Stop what works in the background; nothing can be tracked any more."""
        for target in self._targets:
            target.close()
        # Threads that outlive the loop know these targets, and a compiled tracker wants to end before Python.
        self._targets, self._spare = [], []

    def _obey(self) -> list[Box]:
        """Clear what is to be cleared; returns what is to be started."""
        with self._lock:  # both at once: a selection comes with the clearing of what was there before it
            cleared, self._cleared = self._cleared, []
            selected, self._selected = self._selected, []
        for track_id in cleared:
            for target in [t for t in self._targets if track_id in (None, t.track_id)]:
                self._end(target, "cleared")
            if track_id is None:
                self._first = None
        return selected

    def _update(self, frame: CapturedFrame) -> list[Tracked]:
        lost = [target for target in self._targets if target.lost_s > 0]
        # One lost target a frame is looked for, so that many cost no more than one.
        searched = lost[frame.index % len(lost)] if lost else None
        results = []
        for target in list(self._targets):
            may_search = searched is None or target is searched
            result = target.update(frame.image, frame.t_monotonic_ns, search=may_search)
            results.append(Tracked(target.track_id, result))
            if target.given_up:
                self._end(target, f"given up after {target.lost_s:.0f} s")
        return results

    def _start_selected(self, image: Frame, selected: list[Box]) -> list[Tracked]:
        started = []
        for box in selected:
            try:
                started.append(self._start(image, box))
            except BoxError as error:  # the frame's size has changed since
                log.warning("target: %s", error)
        return started

    def _start(self, image: Frame, box: Box) -> Tracked:
        tracker = self._spare.pop() if self._spare else self._make_tracker()
        target = Target(self._ids + 1, tracker, self.config, image, check_box(box, image.shape))
        self._ids += 1
        self._targets.append(target)
        log.info("target %d: starts at %s", target.track_id, ",".join(f"{v:.0f}" for v in box))
        return Tracked(target.track_id, target.first, first=True)

    def _end(self, target: Target, why: str) -> None:
        target.close()
        self._targets.remove(target)
        self._spare.append(target.tracker)
        if self._motion is not None and not self._targets:
            self._motion.reset()
        log.info("target %d: %s", target.track_id, why)
