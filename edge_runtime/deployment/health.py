"""Whether the service does well with a bundle: it runs, frames flow, fast enough."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_runtime.deployment.unit import Unit, UnitState
from edge_runtime.errors import ServiceError
from edge_runtime.runtime_folder import runtime_folder

LEAST_SHARE_OF_RATE = 0.8  # of the rate before
MOST_TIMES_P95 = 2.0  # the latency before
LEAST_SHARE_OF_SOURCE = 0.5  # of the source's own rate, where nothing was before
FIRST_ANSWER_S = 120.0  # as long as the unit may take to start
STILL_S = 10.0  # without a frame; a camera that is opened again takes less
MOST_SILENT = 3  # questions in a row that get no answer
POLL_S = 1.0

Status = Mapping[str, Any]
Check = Callable[[], None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Limits:
    """What is asked of the service.

    Attributes:
        health_s: for how long it must do well.
        min_rate_hz, max_p95_ms: frames a second, and the tracker's latency; None to compare with before.
    """

    health_s: float = 30.0
    min_rate_hz: float | None = None
    max_p95_ms: float | None = None


@dataclass(frozen=True)
class Speed:
    """Frames a second, and the 95th percentile of the tracker's latency; None if unknown."""

    rate_hz: float | None = None
    p95_ms: float | None = None

    def __str__(self) -> str:
        rate = "rate unknown" if self.rate_hz is None else f"{self.rate_hz:.1f} Hz"
        return f"{rate}, no target tracked" if self.p95_ms is None else f"{rate}, p95 {self.p95_ms:.0f} ms"


class UnhealthyError(Exception):
    """What is wrong, for a person; `trial` makes it a `DeploymentError`."""


def speed_now(state: UnitState) -> Speed:
    """Of the service that runs now; unknown if none does."""
    status = status_of(state)
    if status is None:
        return Speed()
    return Speed(status["loop"]["rate_hz"], status["loop"]["p95_ms"])


def watch(unit: Unit, bundle: str | None, limits: Limits, before: Speed, *, check: Check, say: Say) -> Speed:
    """Look at the service until it has done well for long enough.

    Args:
        unit: has been started.
        bundle: name of the folder of the bundle that it must run; None for any or none.
        limits: what is asked of it.
        before: what it did with the bundle before.
        check: called all the while; it may raise.
        say: gets progress, a line at a time.

    Returns:
        What it did over that time.

    Raises:
        UnhealthyError: it does not do well.
    """
    watched = _Watched(unit, bundle)
    deadline_s = time.monotonic() + FIRST_ANSWER_S
    while not watched.look() or not watched.frames:
        if time.monotonic() > deadline_s:
            raise UnhealthyError(f"no frame in {FIRST_ANSWER_S:g} s")
        _sleep(check)
    watched.begin()
    said_s = 0.0
    while watched.watched_s < limits.health_s:
        _sleep(check)
        watched.look()
        step_s = 5.0 if limits.health_s > 10 else 1.0
        if watched.watched_s - said_s >= step_s:
            said_s = watched.watched_s
            say(f"health {min(said_s, limits.health_s):.0f}/{limits.health_s:.0f} s: {watched.speed}")
    _judge(watched.speed, limits, before, watched.source_rate_hz)
    return watched.speed


class _Watched:
    """The service over some time: looks at it, and raises `UnhealthyError` on what no time would mend."""

    def __init__(self, unit: Unit, bundle: str | None) -> None:
        self._unit, self._bundle = unit, bundle
        self._first: UnitState | None = None
        self._status: Status | None = None
        self._silent = 0
        self._frames_s, self._begun_s = time.monotonic(), time.monotonic()
        self._begun_frames = self.frames = 0

    def look(self) -> bool:
        """Whether it answers."""
        state = self._unit.state()
        self._same_process(state)
        self._status = status_of(state)
        if self._status is None:
            self._silent += 1
            if self._silent > MOST_SILENT and self.frames:
                raise UnhealthyError("it does not answer at its socket")
            return False
        self._silent = 0
        self._right_bundle(self._status)
        frames, now_s = int(self._status["loop"]["frames"]), time.monotonic()
        if frames > self.frames:
            self.frames, self._frames_s = frames, now_s
        elif now_s - self._frames_s > STILL_S:
            raise UnhealthyError(f"no new frame for {STILL_S:g} s")
        return True

    def begin(self) -> None:
        """From now on it must do well."""
        self._begun_s, self._begun_frames = self._frames_s, self.frames

    @property
    def watched_s(self) -> float:
        """Since `begin`."""
        return time.monotonic() - self._begun_s

    @property
    def speed(self) -> Speed:
        """Frames since `begin`, and the latency as the service tells it."""
        span_s = self._frames_s - self._begun_s
        rate_hz = (self.frames - self._begun_frames) / span_s if span_s > 0 else None
        return Speed(rate_hz, self._status["loop"]["p95_ms"] if self._status is not None else None)

    @property
    def source_rate_hz(self) -> float | None:
        """Nominal; None if the source has none."""
        return self._status["source"].get("rate_hz") if self._status is not None else None

    def _same_process(self, state: UnitState) -> None:
        if not state.active:
            raise UnhealthyError(f"it is {state.activity}: {_why(state, self._unit)}")
        first = self._first = self._first or state
        if (state.pid, state.restarts) != (first.pid, first.restarts):
            raise UnhealthyError(f"systemd had to start it again: {_why(state, self._unit)}")

    def _right_bundle(self, status: Status) -> None:
        found = status.get("bundle")
        if self._bundle is not None and found is not None and not str(found).endswith(self._bundle):
            raise UnhealthyError(f"it runs another bundle, {found}")


def _judge(speed: Speed, limits: Limits, before: Speed, source_rate_hz: float | None) -> None:
    least_hz, than = limits.min_rate_hz, "asked for"
    if least_hz is None and before.rate_hz is not None:
        least_hz, than = LEAST_SHARE_OF_RATE * before.rate_hz, f"{before.rate_hz:.1f} Hz before"
    elif least_hz is None and source_rate_hz is not None:
        least_hz, than = LEAST_SHARE_OF_SOURCE * source_rate_hz, f"the source's {source_rate_hz:.1f} Hz"
    rate_hz = speed.rate_hz or 0.0
    if least_hz is not None and rate_hz < least_hz:
        raise UnhealthyError(f"too slow: {rate_hz:.1f} Hz, at least {least_hz:.1f} Hz ({than})")
    most_ms, than = limits.max_p95_ms, "asked for"
    if most_ms is None and before.p95_ms is not None:
        most_ms, than = MOST_TIMES_P95 * before.p95_ms, f"{before.p95_ms:.1f} ms before"
    p95_ms = speed.p95_ms if speed.p95_ms is not None else -math.inf
    if most_ms is not None and p95_ms > most_ms:
        raise UnhealthyError(f"too slow: p95 {p95_ms:.1f} ms, at most {most_ms:.1f} ms ({than})")


def status_of(state: UnitState) -> Status | None:
    """What the unit's own process says; None if it does not run, answer, or it is somebody else's."""
    if not state.active:
        return None
    from edge_runtime.control import ask  # noqa: PLC0415 (slow)

    try:
        status: Status = ask(runtime_folder() / "control.sock", {"command": "status"})["status"]
    except ServiceError:
        return None
    return status if status["pid"] == state.pid else None


def _why(state: UnitState, unit: Unit) -> str:
    return unit.last_words() or f"{state.result or 'unknown'}, status {state.status or 'unknown'}"


def _sleep(check: Check) -> None:
    until_s = time.monotonic() + POLL_S
    while time.monotonic() < until_s:
        check()
        time.sleep(0.1)
    check()
