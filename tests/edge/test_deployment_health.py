"""When a service counts as doing well."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.deployment import health
from edge_runtime.deployment.health import Limits, Speed, UnhealthyError, watch
from edge_runtime.deployment.unit import Unit, UnitState, parsed

ACTIVE = UnitState(True, True, "active (running)", 0, 7, "success", "0", None)


class Scripted(Unit):
    """A unit and its service, a look at a time; the last one stays."""

    def __init__(self, looks: list[tuple[UnitState, Mapping[str, Any] | None]]) -> None:
        super().__init__()
        self.looks = iter(looks)
        self.now = looks[0]

    def state(self) -> UnitState:
        self.now = next(self.looks, self.now)
        return self.now[0]

    def last_words(self) -> str:
        return ""


def status(
    frames: int, p95_ms: float | None = 20.0, rate_hz: float | None = 30.0, bundle: str | None = "/s/new"
) -> dict[str, Any]:
    return {"loop": {"frames": frames, "p95_ms": p95_ms}, "source": {"rate_hz": rate_hz}, "bundle": bundle}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Time that passes only while the watch sleeps, a second a look."""
    now_s = [1000.0]
    monkeypatch.setattr(health.time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(health.time, "sleep", lambda s: now_s.__setitem__(0, now_s[0] + s))
    yield now_s


Watch = Callable[..., Speed]


@pytest.fixture
def watched(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> Watch:
    def call(
        looks: list[tuple[UnitState, Mapping[str, Any] | None]],
        limits: Limits | None = None,
        before: Speed | None = None,
        said: list[str] | None = None,
    ) -> Speed:
        unit = Scripted(looks)
        monkeypatch.setattr(health, "status_of", lambda state: unit.now[1])
        say = (said if said is not None else []).append
        return watch(unit, "new", limits or Limits(10.0), before or Speed(), check=lambda: None, say=say)

    return call


def steady(fps: float = 30.0, seconds: int = 30, **more: Any) -> list[tuple[UnitState, Mapping[str, Any]]]:
    return [(ACTIVE, status(round(10 + fps * second), **more)) for second in range(seconds)]


def test_frames_that_flow(watched: Watch) -> None:
    said: list[str] = []
    speed = watched(steady(), before=Speed(30.0, 20.0), said=said)
    assert speed.rate_hz == pytest.approx(30.0, rel=0.1)
    assert speed.p95_ms == 20.0
    assert said[0].startswith("health 1/10 s: 3")
    assert said[-1].endswith(" Hz, p95 20 ms")


@pytest.mark.parametrize(
    ("looks", "limits", "before", "said"),
    [
        (steady(23.0), Limits(10.0), Speed(30.0), "too slow: 23.0 Hz, at least 24.0 Hz (30.0 Hz before)"),
        (steady(14.0), Limits(10.0), Speed(), "too slow: 14.0 Hz, at least 15.0 Hz (the source's 30.0 Hz)"),
        (steady(29.0), Limits(10.0, min_rate_hz=30.0), Speed(1.0), "at least 30.0 Hz (asked for)"),
        (
            steady(p95_ms=41.0),
            Limits(10.0),
            Speed(30.0, 20.0),
            "p95 41.0 ms, at most 40.0 ms (20.0 ms before)",
        ),
        (steady(), Limits(10.0, max_p95_ms=19.0), Speed(30.0, 90.0), "at most 19.0 ms (asked for)"),
    ],
)
def test_a_service_that_is_too_slow(
    watched: Watch, looks: Any, limits: Limits, before: Speed, said: str
) -> None:
    with pytest.raises(UnhealthyError) as caught:
        watched(looks, limits, before)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("looks", "limits", "before"),
    [
        (steady(25.0, p95_ms=39.0), Limits(10.0), Speed(30.0, 20.0)),
        (steady(16.0, p95_ms=None), Limits(10.0), Speed()),
        (steady(10.0, p95_ms=90.0), Limits(10.0, min_rate_hz=9.0, max_p95_ms=91.0), Speed(30.0, 20.0)),
        (steady(0.5, 40), Limits(10.0, min_rate_hz=0.0, max_p95_ms=math.inf), Speed(30.0, 20.0)),
    ],
)
def test_a_service_that_is_fast_enough(watched: Watch, looks: Any, limits: Limits, before: Speed) -> None:
    assert watched(looks, limits, before).p95_ms == looks[0][1]["loop"]["p95_ms"]


def test_a_source_without_a_rate_and_nothing_before(watched: Watch) -> None:
    assert watched(steady(1.0, rate_hz=None)).rate_hz == pytest.approx(1.0, rel=0.2)


FAILED = UnitState(True, False, "failed (failed)", 3, 0, "exit-code", "2", None)
AGAIN = UnitState(True, True, "active (running)", 1, 8, "signal", "11", None)


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ([(FAILED, None)], "it is failed (failed): exit-code, status 2"),
        ([(AGAIN, status(500))], "systemd had to start it again: signal, status 11"),
        ([(ACTIVE, None)], "it does not answer at its socket"),
        ([(ACTIVE, status(10 + 30 * 4))], "no new frame for 10 s"),
        ([(ACTIVE, status(500, bundle="/s/old"))], "it runs another bundle, /s/old"),
    ],
)
def test_a_service_that_fails_on_its_way(
    watched: Watch, then: list[tuple[UnitState, Mapping[str, Any] | None]], said: str
) -> None:
    with pytest.raises(UnhealthyError) as caught:
        watched([*steady(seconds=5), *then], Limits(60.0))
    assert str(caught.value) == said


def test_an_answer_that_fails_to_come_once_is_forgiven(watched: Watch) -> None:
    looks: list[tuple[UnitState, Mapping[str, Any] | None]] = [*steady(seconds=30)]
    looks[5] = looks[6] = (ACTIVE, None)
    assert watched(looks).rate_hz == pytest.approx(30.0, rel=0.1)


def test_a_service_that_never_answers(watched: Watch, clock: list[float]) -> None:
    start_s = clock[0]
    with pytest.raises(UnhealthyError, match="no frame in 120 s"):
        watched([(ACTIVE, None)])
    assert 120 <= clock[0] - start_s < 130


def test_what_systemd_says_of_the_unit() -> None:
    said = (
        "LoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=2\nMainPID=71\nResult=success\n"
        "ExecMainStatus=0\nExecStart={ path=/opt/cfvgg/bin/cfvgg-edge ; argv[]=/opt/cfvgg/bin/cfvgg-edge run "
        "--config /etc/cfvgg/cfvgg.toml ; ignore_errors=no ; start_time=[n/a] ; pid=71 ; code=(null) }\n"
    )
    config = Path("/etc/cfvgg/cfvgg.toml")
    assert parsed(said) == UnitState(True, True, "active (running)", 2, 71, "success", "0", config)
    assert parsed("LoadState=not-found\nActiveState=inactive\n").installed is False
    assert parsed("") == UnitState(False, False, "unknown (unknown)", None, 0, "", "", None)
    assert parsed('LoadState=loaded\nExecStart={ argv[]=x --config "open ; }\n').config is None


def test_a_machine_without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    unit = Unit()
    assert not unit.state().installed
    unit.restart_if_active()
    assert unit.last_words() == ""
