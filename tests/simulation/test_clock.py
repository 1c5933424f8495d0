"""The wall clock is set while the service runs, in this process, where a clock can be ours."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge_runtime.config import load_config
from edge_runtime.records import TrackRecord
from edge_runtime.runner import ModelIdentity, Run
from edge_runtime.service import Service
from edge_runtime.sources import CapturedFrame, open_source
from edge_runtime.targets.targets import Targets
from tests.edge.helpers import TemplateTracker
from tests.edge.publishing import valid
from tests.edge.service import LIVE
from tests.simulation.conftest import Measured

RATE_HZ = 60
STEPS_S = {30: 3600.0, 60: -7200.0, 90: 3600.0}  # at frame; set ahead, back, and right again
FRAMES = 120


class Clock:
    """A wall clock that can be set."""

    def __init__(self) -> None:
        self.ahead_s, self._time = 0.0, time.time

    def __call__(self) -> float:
        return self._time() + self.ahead_s


class SettingTheClock(Service):
    """A service whose clock is set after some of its frames."""

    clock: Clock
    done = 0

    def frame_done(
        self, frame: CapturedFrame, records: Sequence[TrackRecord], loop_s: float, fps: float | None
    ) -> None:
        super().frame_done(frame, records, loop_s, fps)
        self.done += 1
        self.clock.ahead_s += STEPS_S.get(self.done, 0.0)


def test_a_step_of_the_wall_clock_shows_in_t_unix_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: Measured
) -> None:
    monkeypatch.setenv("CFVGG_RUNTIME_DIR", str(tmp_path / "run"))
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    path = tmp_path / "tracks.jsonl"
    overrides = {
        "source.uri": f"{LIVE}&rate_hz={RATE_HZ}",
        "source.max_frames": FRAMES,
        "output.tracks": str(path),
    }
    config = load_config(None, overrides)
    model = ModelIdentity("template", None)
    start_s = time.monotonic()
    with open_source(config.source) as source:
        run = Run(config, source)
        targets = Targets(config.target, TemplateTracker, run.first)
        service = SettingTheClock(config, source, targets, model)
        service.clock = clock
        run(targets, service.outputs, model, beside=service)
        service.close()
        jumps, restarts = source.clock_jumps, source.restarts
    assert time.monotonic() - start_s < 60  # two seconds
    records = valid(path.read_text().splitlines())
    assert len(records) == FRAMES
    monotonic_s = [record["t_monotonic_ns"] / 1e9 for record in records]
    offsets_s = [record["t_unix"] - at for record, at in zip(records, monotonic_s, strict=True)]
    steps = [b - a for a, b in itertools.pairwise(offsets_s) if abs(b - a) > 60]
    assert steps == pytest.approx(list(STEPS_S.values()), abs=1)
    assert (jumps, restarts) == (0, 0)  # the camera's stamps are of the other clock
    gap_s = max(b - a for a, b in itertools.pairwise(monotonic_s))
    assert min(b - a for a, b in itertools.pairwise(monotonic_s)) > 0
    measured("wall clock set by an hour", "longest gap in the loop, s", gap_s, 1.0)
