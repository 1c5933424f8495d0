"""One run of the service through everything that a camera does, beside consumers that read nothing.

Limits are of a busy machine: about ten times what is measured on an idle one where the processor's time
counts, and less where it is a setting that decides, such as `capture_timeout_s`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from edge_runtime.sources import VirtualDevice
from edge_runtime.unix_socket import connect
from tests.edge.service import LIVE, PATIENCE_S, Running, services, until
from tests.simulation.conftest import Measured
from tests.simulation.watching import Film, Reader

RATE_HZ = 30
BOX_FRAME = 10


class Case(NamedTuple):
    """A fault, and the most that it may cost.

    Attributes:
        fault: as in the virtual camera's script.
        last: the last frame concerned; that of an endless stall is where it begins.
        lost: frames without a record, those that the fault itself takes included.
        outage_s: from the last record before to the first one after it.
        to_target: the camera's frames after the outage until the target is followed.
    """

    fault: str
    last: int
    lost: int
    outage_s: float
    to_target: int

    @property
    def first(self) -> int:
        return int(self.fault.partition("@")[2].partition(":")[0])


CASES = (
    Case("dark@60:10", 69, 10, 1.0, 20),
    Case("corrupt@85:5", 89, 5 + 10, 1.0, 20),
    Case("size@105:5", 109, 5 + 10, 1.0, 20),
    Case("drop@125:10", 134, 10 + 10, 1.5, 20),
    Case("time@150:-5", 150, 10, 1.0, 20),
    Case("stall@170:0.3", 178, 9 + 10, 1.5, 20),
    # capture_timeout_s 1, half a second for the driver to let go, reopen_wait_s 0.1: 48 frames.
    Case("stall@200:3600", 200, 48 + 50, 3.3, 150),
    # Attempts come every 0.1 s.
    Case("disconnect@310:1", 339, 30 + 50, 2.7, 150),
    Case("hidden@370:45", 414, 10, 1.0, 150),
)
END = 460
URI = f"{LIVE}&width=160&height=120&target_px=56&rate_hz={RATE_HZ}&faults={','.join(c.fault for c in CASES)}"
SETTINGS = {
    "source.capture_timeout_s": "1",
    "source.reopen_wait_s": "0.1",
    "source.reopen_most_s": "0.1",
    "source.give_up_after": "100",
    "preview.stall_timeout_s": "1",
    "preview.max_rate_hz": "30",
}


@dataclass
class Story:
    """What came of the run.

    Attributes:
        status: shortly before its end.
        watcher_s: after so long the watcher that reads nothing was cut off.
        exit_s: from SIGTERM to the end of the process.
    """

    service: Running
    reader: Reader
    film: Film
    status: dict[str, Any]
    watcher_s: float
    exit_status: int
    exit_s: float


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("camera")
    box = VirtualDevice.from_uri(URI, pytest.fail).truth(BOX_FRAME)
    assert box is not None
    options = ["--box", ",".join(f"{v:g}" for v in box), "--box-frame", str(BOX_FRAME)]
    for name, value in SETTINGS.items():
        options += ["--set", f"{name}={value}"]
    with services(folder) as start:
        service = start(*options, uri=URI)
        until(service.frames, "the first frame")
        reader = Reader(service.runtime / "tracks.sock")
        with connect(service.runtime / "tracks.sock", PATIENCE_S):
            watcher_s = _until_cut(service)
            until(lambda: _over(reader), "the end of the film")
            status = service.status()
            start_s = time.monotonic()
            exit_status = service.end()
            exit_s = time.monotonic() - start_s
        assert reader.ended()
        film = Film(reader.records, URI)
        yield Story(service, reader, film, status, watcher_s, exit_status, exit_s)


def _until_cut(service: Running) -> float:
    """Watch the preview without reading it; after so many seconds the service has enough."""
    with connect(service.runtime / "preview.sock", PATIENCE_S) as watcher:
        watcher.sendall(json.dumps({"quality": 95, "max_rate_hz": 30}).encode() + b"\n")
        start_s = time.monotonic()
        until(lambda: service.status()["watched"], "a watcher")
        until(lambda: not service.status()["watched"], "its end")
        return time.monotonic() - start_s


def _over(reader: Reader) -> bool:
    """Whether everything has happened, and the target is followed after the last of it."""
    time.sleep(0.1)
    film = Film(reader.records[:], URI) if reader.records else None
    if film is None or film.numbers[-1] < END:
        return False
    found = film.frames_to_target(film.next_seen(CASES[-1].last)) is not None
    return found or film.numbers[-1] > END + CASES[-1].to_target


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.fault)
def test_a_fault_costs_no_more_than_this(story: Story, measured: Measured, case: Case) -> None:
    film = story.film
    after = film.next_seen(case.last)
    lost = film.missing(case.first, max(case.last, after))
    measured(case.fault, "frames lost", lost, case.lost)
    # The camera's own frames on both sides are a period apart even without a fault.
    measured(case.fault, "without a record, s", film.gap_s(case.first - 1, after + 1), case.outage_s)
    to_target = film.frames_to_target(after)
    assert to_target is not None
    measured(case.fault, "frames until the target is followed", to_target, case.to_target)


def test_it_is_the_same_target_all_the_time_and_time_rises(story: Story) -> None:
    records = story.film.records
    assert {record["track_id"] for record in records if record["box"]} == {1}
    for name in ("t_monotonic_ns", "frame"):
        values = [record[name] for record in records]
        assert values == sorted(set(values))
    steps = [record["t_unix"] - record["t_monotonic_ns"] / 1e9 for record in records]
    assert max(steps) - min(steps) < 0.5  # whatever the camera's clock said


def test_the_camera_was_opened_again_and_what_it_lost_is_counted(story: Story, measured: Measured) -> None:
    source = story.status["source"]
    assert source["restarts"] >= 2
    measured("all camera faults", "reopenings", source["restarts"], 2 + 2)
    assert (source["dropped"]["corrupt"], source["dropped"]["size"]) == (5, 5)
    measured("all camera faults", "frames dropped for newer ones", source["dropped"]["overrun"], 100)


def test_consumers_that_read_nothing_lose_their_own_records_only(story: Story, measured: Measured) -> None:
    assert story.status["publishers"]["socket"]["dropped"] > 0
    seen = [record["frame"] for record in story.reader.records]
    written = [record for record in story.service.records() if record["frame"] >= seen[0]]
    assert [record["frame"] for record in written] == seen
    assert story.status["publishers"]["file"]["dropped"] == 0
    measured("watcher that never reads", "cut off after, s", story.watcher_s, 30)
    measured("watcher that never reads", "latency p95, ms", story.status["loop"]["p95_ms"], 100)


def test_it_ends_in_order(story: Story, measured: Measured) -> None:
    assert story.exit_status == 0
    assert story.reader.rest == b""
    assert "Traceback" not in story.service.text()
    assert list(story.service.runtime.iterdir()) == []
    measured("SIGTERM beside a dead consumer", "until the process ends, s", story.exit_s, 15)
