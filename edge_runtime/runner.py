"""The loop of a run: frames from a source through a tracker to publishers and renderers."""

from __future__ import annotations

import dataclasses
import itertools
import math
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import ClassVar, Protocol

import numpy as np

from edge_runtime.config import Config
from edge_runtime.errors import ConfigError, SourceError
from edge_runtime.evaluation import GroundTruth, Score, evaluate, read_groundtruth
from edge_runtime.host import Host, HostStatus, host_name
from edge_runtime.outputs import Outputs
from edge_runtime.records import RecordMaker, TrackRecord
from edge_runtime.render import View
from edge_runtime.signals import NotedSignals
from edge_runtime.sources import CapturedFrame, FrameSource
from edge_runtime.targets.targets import Targets, Tracked
from edge_runtime.types import Box, check_box

LATENCIES_KEPT = 10_000  # a service runs for months
FPS_SMOOTHING = 0.1

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class ModelIdentity:
    """Which tracker and model.

    Attributes:
        label: for people.
        sha256: of the model's file; None without a network.
        bundle: folder of the model's bundle; None without a network.
    """

    label: str
    sha256: str | None
    bundle: Path | None = None


@dataclass(frozen=True)
class RunSummary:
    """What a run did.

    Attributes:
        source: its URI.
        frame_size: (width, height) in pixels.
        frames: how many went through the loop.
        model: label of the model.
        tracker_fps: frames over time inside the tracker.
        loop_fps: frames over wall time of the whole loop.
        p50_ms, p95_ms: percentiles of the tracker's latency. These and `tracker_fps` leave out the
            frame that starts it, and are NaN when there was no other.
        states: state to number of frames.
        score: against the ground truth, if there was one.
        files: what was written.
    """

    source: str
    frame_size: tuple[int, int]
    frames: int
    model: str
    tracker_fps: float
    loop_fps: float
    p50_ms: float
    p95_ms: float
    states: dict[str, int]
    score: Score | None
    files: tuple[str, ...]

    def text(self) -> str:
        """Six lines for a person."""
        width, height = self.frame_size
        states = ", ".join(f"{state} {count}" for state, count in self.states.items())
        score = "not measured (no ground truth given)"
        if self.score is not None:
            score = (
                f"success AUC {self.score.success_auc:.3f}, precision at 20 px "
                f"{self.score.precision_20px:.3f}, over {self.score.frames} frames"
            )
        speed = "not measured (no frame after the first)"
        if not math.isnan(self.p50_ms):
            speed = (
                f"{self.tracker_fps:.1f} fps (p50 {self.p50_ms:.1f} ms, p95 {self.p95_ms:.1f} ms); "
                f"whole loop {self.loop_fps:.1f} fps"
            )
        lines = {
            "frames": f"{self.frames} of {width}x{height} px from {self.source}",
            "model": self.model,
            "speed": speed,
            "states": states or "none",
            "accuracy": score,
            "files": ", ".join(self.files) or "none asked for",
        }
        return "\n".join(f"{name:<9} {value}" for name, value in lines.items())


class StopSignals(NotedSignals):
    """While active, the first SIGINT or SIGTERM is noted so that the loop can finish its files.

    A second SIGINT interrupts at once.
    """

    EXIT_CODES: ClassVar = {signal.SIGINT: 130, signal.SIGTERM: 0}
    SIGNALS = EXIT_CODES.keys()

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._then: Callable[[], None] = lambda: None

    def then(self, action: Callable[[], None]) -> None:
        """Call `action` when a signal comes, in the handler; at once if one has come."""
        self._then = action
        if self.received is not None:
            action()

    @property
    def exit_code(self) -> int:
        """Exit status: 0 for a normal end and SIGTERM (how services are stopped), 130 for SIGINT."""
        return self.EXIT_CODES[self.received] if self.received else 0

    def note(self, number: int, frame: FrameType | None) -> None:
        """See `NotedSignals.note`."""
        if self.received is signal.SIGINT and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
        self._then()


class Beside(Protocol):
    """What goes on beside the loop of a live run; it must never make the loop wait."""

    def frame_done(
        self, frame: CapturedFrame, records: Sequence[TrackRecord], loop_s: float, fps: float | None
    ) -> None:
        """A frame has gone through the loop, in `loop_s` seconds since it was taken over from the source."""


class Run:
    """One run over one source; made before the model is loaded, so that a bad target shows at once.

    Args:
        config: its `target`, `source.max_frames`, `output`, `device` and `evaluation` are used.
        source: open; closing it is the caller's business.
        reproducible: records say nothing of this machine and of how long things took.

    Attributes:
        first: the first target's box; None where a command or movement starts it.

    Raises:
        ConfigError: a recording is to be tracked, and nothing says what.
        BoxError: the first box is unusable.
        SourceError: the ground truth cannot be read.
    """

    def __init__(self, config: Config, source: FrameSource, *, reproducible: bool = False) -> None:
        self.config, self.source, self._reproducible = config, source, reproducible
        path = config.evaluation.groundtruth
        self._truth: GroundTruth | None = read_groundtruth(Path(path)) if path else None
        self.first = self._first_box()
        self._host = Host()
        self._frames = 0
        self._states: Counter[str] = Counter()
        self._boxes: dict[int, Box | None] = {}
        self._latencies_ms: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._mean_latency_ms: float | None = None

    def __call__(
        self,
        targets: Targets,
        outputs: Outputs,
        model: ModelIdentity,
        *,
        stop: StopSignals | None = None,
        progress: Progress | None = None,
        beside: Beside | None = None,
    ) -> RunSummary:
        """Run until the source ends, `max_frames` are done, or `stop` has received a signal.

        Args:
            targets: not started yet.
            outputs: closed at the end, whatever it is.
            model: what stands in the records and the summary.
            stop: asked after every frame.
            progress: called after every frame with the frames done and, if known, their total.
            beside: told of every frame.

        Raises:
            SourceError: a frame cannot be read; tracks so far stay, pictures are not made.
            StorageError: output cannot be written.
        """
        start_s = time.perf_counter()
        limit = self.config.source.max_frames or None
        total = min((n for n in (limit, self.source.frame_count) if n is not None), default=None)
        make_record = RecordMaker(self.config.device.name or host_name(), model.sha256)
        try:
            for frame in itertools.islice(self.source, limit):
                frame_s = time.perf_counter()
                records = self._frame(frame, targets, make_record, outputs)
                if beside is not None:
                    beside.frame_done(frame, records, time.perf_counter() - frame_s, self.fps)
                if progress is not None:
                    progress(self._frames, total)
                if stop is not None and stop.received:
                    break
            self._check_started(targets, stop)
            files = outputs.save()
        finally:
            outputs.close()
        return self._summary(model, time.perf_counter() - start_s, files)

    @property
    def fps(self) -> float | None:
        """Frames a second that the trackers could do, smoothed; None before the second frame."""
        return 1e3 / self._mean_latency_ms if self._mean_latency_ms else None

    def _first_box(self) -> Box | None:
        target, (width, height) = self.config.target, self.source.frame_size
        box = target.box or (self._truth.box(target.frame) if self._truth else None)
        if box:
            return check_box(box, (height, width))
        if not self.source.live and target.start == "command":
            raise ConfigError(
                "no target is given", fix='set target.box, --box X,Y,W,H or target.start = "motion"'
            )
        return None

    def _frame(
        self, frame: CapturedFrame, targets: Targets, make_record: RecordMaker, outputs: Outputs
    ) -> list[TrackRecord]:
        tracked = targets.frame(frame)
        host = HostStatus(None, None) if self._reproducible else self._host.status()
        records = [make_record(frame, t.result, host, t.track_id) for t in tracked]
        if not records and not targets.paused:
            records = [make_record(frame, None, host, targets.last_id + 1)]
        if self._reproducible:
            records = [dataclasses.replace(record, latency_ms=None) for record in records]
        self._count(frame, tracked, records)
        truth = self._truth.box(frame.index) if self._truth else None
        view = View(frame.image, frame.index, tuple(t.result for t in tracked), truth, self.fps)
        outputs.add(records, view, self.source.frame_rate_hz)
        return records

    def _count(self, frame: CapturedFrame, tracked: list[Tracked], records: list[TrackRecord]) -> None:
        self._frames += 1
        self._states.update(record.state for record in records)
        if self._truth is not None:
            self._boxes[frame.index] = tracked[0].result.box if tracked else None
        # The first frame of a target is training only; it says nothing of the speed.
        latencies_ms = [t.result.latency_ms for t in tracked if not t.first]
        if latencies_ms:
            latency_ms = sum(latencies_ms)
            self._latencies_ms.append(latency_ms)
            mean_ms = self._mean_latency_ms or latency_ms
            self._mean_latency_ms = mean_ms + FPS_SMOOTHING * (latency_ms - mean_ms)

    def _check_started(self, targets: Targets, stop: StopSignals | None) -> None:
        if self.first is not None and not targets.started and not (stop and stop.received):
            raise SourceError(
                f"ends after {self._frames} frames, the target is in frame {self.config.target.frame}",
                where=self.source.uri,
                fix="give an earlier target.frame",
            )

    def _summary(self, model: ModelIdentity, wall_s: float, files: tuple[str, ...]) -> RunSummary:
        latencies_ms = np.array(self._latencies_ms or [math.nan])
        p50_ms, p95_ms = np.percentile(latencies_ms, [50, 95])
        return RunSummary(
            source=self.source.uri,
            frame_size=self.source.frame_size,
            frames=self._frames,
            model=model.label,
            tracker_fps=float(1e3 / latencies_ms.mean()),
            loop_fps=self._frames / wall_s,
            p50_ms=float(p50_ms),
            p95_ms=float(p95_ms),
            states=dict(self._states),
            score=evaluate(self._boxes, self._truth) if self._truth and any(self._boxes.values()) else None,
            files=files,
        )
