"""Putting a bundle to use on trial: switch, restart, watch; keep it if the service does well, else go back.

The way back needs nobody: the process that runs the trial holds a lock, and without it the bundle before
counts (`place`), for a service that starts as for one that runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.config import load_config
from edge_runtime.deployment.health import MOST_TIMES_P95, Limits, Speed, UnhealthyError, speed_now, watch
from edge_runtime.deployment.lifeline import GoneError, Lifeline
from edge_runtime.deployment.opening import open_apart
from edge_runtime.deployment.place import short
from edge_runtime.deployment.store import Store
from edge_runtime.deployment.unit import Unit, UnitState
from edge_runtime.errors import (
    BundleError,
    CfvggError,
    ConfigError,
    DeploymentError,
    StorageError,
    StoreError,
)
from edge_runtime.trackers.presets import network_levels

ROUNDS = 2  # of 30 frames
ANY = Limits(health_s=0.0, min_rate_hz=0.0, max_p95_ms=math.inf)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What a command did.

    Attributes:
        id: of the bundle in use now.
        previous: of the one that `rollback` goes back to; None if there is none.
        changed: whether another one was in use before.
        speed: during the trial; unknown without one.
        signed_by: whose signature the bundle has; None where the device asks for none.
    """

    id: str
    previous: str | None
    changed: bool
    speed: Speed
    signed_by: str | None


def use(
    store: Store, prefix: str | None, limits: Limits, *, restart: bool, lifeline: bool, say: Say
) -> Outcome:
    """Put a bundle to use.

    Args:
        store: has it.
        prefix: of its id; None for the one before.
        limits: of the trial.
        restart: whether a service is started with it, on trial; otherwise it is only put in its place.
        lifeline: whether the end of standard input ends the trial.
        say: gets progress, a line at a time.

    Raises:
        CfvggError: it was refused, nothing was changed.
        DeploymentError: the service did not do well with it, and is back to the bundle before.
    """
    unit = Unit()
    with Lifeline(lifeline) as line, store.changing(unit.restart_if_active):
        name = store.find(prefix) if prefix is not None else _previous(store)
        _, signed_by = store.check(name)
        selection, speed = store.selection, Speed()
        if changed := name != selection.current:
            trial = _Trial(store, name, unit, line, say)
            try:
                if restart:
                    speed = trial.run(limits)
                else:
                    trial.only_switch()
            except GoneError as gone:  # before anything was changed; afterwards it is a DeploymentError
                raise DeploymentError(f"{gone}, {_named(selection.current)} stays in use") from gone
        return Outcome(name, selection.previous, changed, speed, signed_by)


class _Trial:
    """One attempt to use a bundle; the store is locked."""

    def __init__(self, store: Store, name: str, unit: Unit, line: Lifeline, say: Say) -> None:
        self._name, self._unit, self._line, self._say = name, unit, line, say
        self._selection, self._new = store.selection, store.folder / name
        before = store.selection.current
        self._old = store.folder / before if before is not None else None

    def only_switch(self) -> None:
        """Without the service."""
        if self._unit.state().active:
            raise StoreError("the service runs, and would not see the bundle", fix="leave out --no-restart")
        open_apart(self._new, None, self._line.check)
        self._selection.switch(self._name)

    def run(self, limits: Limits) -> Speed:
        """Switch and watch; what the service did."""
        was = self._unit.state()
        if not was.installed:
            fix = "sudo cfvgg-edge service install, or use --no-restart"
            raise StoreError("the service is not installed", fix=fix)
        bundle = self._expected(was.config)
        before = speed_now(was)
        self._say(f"opening {_named(self._name)}; so far: {before if was.active else was.activity}")
        open_apart(self._new, was.config, self._line.check)
        self._line.check()
        self._say(f"switching from {_named(self._selection.current)} to {_named(self._name)}")
        unlock = self._selection.start_trial(self._name, limits.health_s)
        try:
            why = self._unit.restart(self._line.check)
            if why is not None:
                raise UnhealthyError(f"it does not start ({self._unit.last_words() or why})")
            speed = watch(self._unit, bundle, limits, before, check=self._line.check, say=self._say)
            if speed.p95_ms is None and bundle is not None:
                speed = self._measured(speed, limits, was.config)
            self._line.check()
            self._selection.commit()
        except BaseException as error:
            back = self._back(was, error)
            if isinstance(error, CfvggError | UnhealthyError | GoneError):
                raise DeploymentError(f"{_named(self._name)} failed: {error}; {back}") from error
            raise
        finally:
            unlock()
        return speed

    def _expected(self, file: Path | None) -> str | None:
        """Name of the bundle's folder that the service must run then; None if it runs without a network."""
        config = load_config(file)
        if config.model.bundle:
            what = f"model.bundle = {config.model.bundle!r} would be used instead of a deployed bundle"
            raise ConfigError(what, where=file, fix='set model.bundle = ""')
        if network_levels(config.tracker):
            return self._name
        self._say(f"the tracker {config.tracker.preset} takes no network: the bundle will not be used")
        return None

    def _measured(self, speed: Speed, limits: Limits, config: Path | None) -> Speed:
        """With the latency measured apart: without a target to track the service does not run the network."""
        most_ms, than = limits.max_p95_ms, "asked for"
        if most_ms is None and self._old is None:
            return speed
        self._say("no target was tracked; measuring the tracker's latency apart")
        if most_ms is None and self._old is not None:
            before_ms = self._latency_ms(self._old, config)
            if before_ms is None:
                return speed
            most_ms, than = MOST_TIMES_P95 * before_ms, f"{before_ms:.1f} ms before"
        p95_ms = self._latency_ms(self._new, config)
        if p95_ms is None:
            raise UnhealthyError("its latency cannot be measured")
        if most_ms is not None and p95_ms > most_ms:
            raise UnhealthyError(
                f"too slow: p95 {p95_ms:.1f} ms in the built-in scene, at most {most_ms:.1f} ms ({than})"
            )
        return Speed(speed.rate_hz, p95_ms)

    def _latency_ms(self, folder: Path, config: Path | None) -> float | None:
        try:
            return open_apart(folder, config, self._line.check, rounds=ROUNDS)
        except BundleError:
            return None

    def _back(self, was: UnitState, error: BaseException) -> str:
        """Everything as it was; says how that went."""
        self._say(f"going back: {error}")
        try:
            old = self._selection.revert()
            again = self._restored(was, old)
            self._selection.end_trial()
        except StorageError as storage:
            # The lock ends with this process: the service sees it, and so does every start of it.
            return f"going back was not written ({storage}), the service goes back by itself"
        return again

    def _restored(self, was: UnitState, old: str | None) -> str:
        if not was.active and not was.activity.startswith("activating"):
            self._unit.stop()
            return f"{_named(old)} is in its place again, and the service is stopped as before"
        why = self._unit.restart()
        if why is None:
            try:
                watch(self._unit, None, ANY, Speed(), check=lambda: None, say=self._say)
            except UnhealthyError as unhealthy:
                why = str(unhealthy)
        if why is None:
            return f"{_named(old)} runs again"
        return f"{_named(old)} is in its place again, BUT THE SERVICE DOES NOT RUN ({why})"


def _previous(store: Store) -> str:
    previous = store.selection.previous
    if previous is None:
        raise StoreError("there is no bundle to go back to", where=store.folder)
    return previous


def _named(name: str | None) -> str:
    return f"bundle {short(name)}" if name else "no bundle"
