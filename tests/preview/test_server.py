"""The service's end, with real sockets and a loop that shows the fake camera."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.errors import StorageError
from edge_runtime.preview import pictures, server
from edge_runtime.preview.pictures import Offer, Rendition
from edge_runtime.preview.server import Preview
from edge_runtime.preview.settings import PreviewConfig
from edge_runtime.preview.stream import JPEG, JSON, MOST_LINE_BYTES
from edge_runtime.preview.watcher import MOST_AHEAD
from edge_runtime.sources import FakeSource
from edge_runtime.sources.fake import FakeScript
from tests.preview.helpers import Client, Commands, Service, record_of, wait_for

LARGE = FakeScript(frames=90, width=1920, height=1080)


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Rendition]]:
    """Frame and rendition of everything that is encoded."""
    encoded: list[tuple[int, Rendition]] = []
    original = pictures.encoded_part

    def count(offer: Offer, rendition: Rendition) -> bytes:
        encoded.append((offer.record.frame, rendition))
        return original(offer, rendition)

    monkeypatch.setattr(server, "encoded_part", count)
    return encoded


def test_a_watcher_gets_pictures_with_their_records(tmp_path: Path) -> None:
    with Service(tmp_path) as service, Client(service.path, {"width": 160}) as client:
        frames = []
        for _ in range(4):
            part = client.next()
            picture = cv2.imdecode(np.frombuffer(part.body, np.uint8), cv2.IMREAD_COLOR)
            assert picture is not None
            assert picture.shape == (120, 160, 3)
            frame = part.record["frame"]
            assert part.record["box"] == list(service.source.box(frame))
            expected = cv2.resize(service.source.image(frame), (160, 120), interpolation=cv2.INTER_AREA)
            assert np.abs(picture.astype(float) - expected).mean() < 8
            frames.append(frame)
        assert frames == sorted(set(frames))


def test_nothing_is_encoded_while_nobody_watches(tmp_path: Path, encodings: list[Any]) -> None:
    source = FakeSource()
    preview = Preview(tmp_path / "preview.sock", PreviewConfig(), Commands())
    try:
        assert not preview.watched
        preview.offer(source.image(0), [record_of(source, 0)], None)
        with Client(tmp_path / "preview.sock") as silent:  # it has not said what it wants
            preview.offer(source.image(0), [record_of(source, 0)], None)
            assert not preview.watched
            silent.send({})
            wait_for(lambda: preview.watched, "the watcher")
            preview.offer(source.image(1), [record_of(source, 1)], None)
            assert silent.next().record["frame"] == 1
        wait_for(lambda: not preview.watched, "the watcher to be gone")
        preview.offer(source.image(2), [record_of(source, 2)], None)
    finally:
        preview.close()
    assert encodings == [(1, Rendition(640, 75, 15.0))]


def test_watchers_that_want_the_same_share_encodings(tmp_path: Path, encodings: list[Any]) -> None:
    config = PreviewConfig(max_rate_hz=30)
    with (
        Service(tmp_path, config) as service,
        Client(service.path, {}) as first,
        Client(service.path, {}) as second,
    ):
        first.next(), second.next()
        common = {first.next().body for _ in range(8)} & {second.next().body for _ in range(8)}
        assert len(common) >= 4
        with Client(service.path, {"quality": 20}) as third:
            assert len(third.next().body) < min(map(len, common))
    assert len(encodings) == len(set(encodings))
    assert {rendition.quality for _, rendition in encodings} == {75, 20}


def test_no_watcher_gets_more_pictures_a_second_than_configured(tmp_path: Path) -> None:
    with Service(tmp_path, PreviewConfig(max_rate_hz=10), rate_hz=60) as service:
        with Client(service.path, {"width": 64, "max_rate_hz": 100}) as client:
            client.next()
            start_s = time.monotonic()
            for _ in range(10):
                client.next()
            # Nine full periods lie between the first and the last of ten; a turn may come a quarter early.
            assert time.monotonic() - start_s > 0.85
        with Client(service.path, {"width": 64, "max_rate_hz": 2}) as client:
            client.next()
            start_s = time.monotonic()
            client.next(), client.next()
            assert time.monotonic() - start_s > 0.7


def test_a_turn_is_taken_at_the_nearest_frame(tmp_path: Path) -> None:
    """At 15 of 30 frames a second every other frame, though frames jitter."""
    preview = Preview(tmp_path / "preview.sock", PreviewConfig(), Commands())
    try:
        rendition = Rendition(640, 75, 15.0)
        jitter_s = np.random.default_rng(0).uniform(-0.004, 0.004, 300)
        taken = [preview._take_turn(rendition, 100 + i / 30 + jitter_s[i]) for i in range(300)]
        assert 148 <= sum(taken) <= 152
    finally:
        preview.close()


def test_a_slow_watcher_skips_frames_and_holds_nobody_up(tmp_path: Path) -> None:
    config = PreviewConfig(width_px=1920, quality=95, max_rate_hz=120, stall_timeout_s=60)
    with (
        Service(tmp_path, config, rate_hz=60, script=LARGE) as service,
        Client(service.path, {}) as slow,
        Client(service.path, {}) as quick,
    ):
        first, start = slow.next().record["frame"], service.offered
        seen = [quick.next().record["frame"] for _ in range(12)]
        wait_for(lambda: service.offered > start + 12, "the loop to go on")
        # What had been sent when it stopped reading, and then what is new.
        frames = [slow.next().record["frame"] for _ in range(3)]
        assert frames == sorted(set(frames))
        assert frames[-1] - first > 3
        assert frames[-1] >= seen[-1]


def test_offering_never_waits(tmp_path: Path) -> None:
    """Not for an encoder that is at work, nor for a watcher that does not read."""
    source = FakeSource(LARGE)
    image, records = source.image(0), [record_of(source, 0)]
    config = PreviewConfig(width_px=1920, quality=95, max_rate_hz=120)
    preview = Preview(tmp_path / "preview.sock", config, Commands())
    try:
        with Client(tmp_path / "preview.sock", {}):
            wait_for(lambda: preview.watched, "the watcher")
            took_s = []
            for _ in range(300):
                start_s = time.perf_counter()
                preview.offer(image, records, 30.0)
                took_s.append(time.perf_counter() - start_s)
                time.sleep(0.001)
            assert np.median(took_s) < 0.002
    finally:
        preview.close()


def test_a_watcher_that_stalls_is_cut_and_others_are_not(tmp_path: Path) -> None:
    config = PreviewConfig(width_px=1920, quality=95, max_rate_hz=120, stall_timeout_s=0.5)
    with (
        Service(tmp_path, config, script=LARGE) as service,
        Client(service.path, {}) as stalled,
        Client(service.path, {}) as other,
        Client(service.path) as mute,
    ):
        stalled.next()

        def both_cut() -> bool:
            other.next()
            return len(service.preview._watchers) == 1

        wait_for(both_cut, "the others to be cut")
        other.next()
        assert stalled.hung_up()
        assert mute.hung_up()  # it never said what it wants


def test_a_watcher_that_reports_is_never_far_behind(tmp_path: Path) -> None:
    config = PreviewConfig(max_rate_hz=120, stall_timeout_s=60)
    with Service(tmp_path, config) as service, Client(service.path, {"width": 64}) as client:
        client.send({"received": client.next().record["frame"]})
        wait_for(lambda: service.preview._watchers[0]._reports, "the report")
        client.waiting(0.5)
        assert client.waiting(0.5) == []
        ahead = list(service.preview._watchers[0]._ahead)
        assert len(ahead) >= MOST_AHEAD
        client.send({"received": ahead[-1]})
        again = [client.next().record["frame"] for _ in range(MOST_AHEAD)]
        assert again[0] > ahead[-1] + 5  # fresh, not kept
        assert client.waiting(0.3) == []


def test_reports_that_stop_count_as_a_stall(tmp_path: Path) -> None:
    config = PreviewConfig(max_rate_hz=120, stall_timeout_s=0.4)
    with Service(tmp_path, config) as service, Client(service.path, {"width": 64}) as client:
        client.send({"received": client.next().record["frame"]})
        assert client.hung_up()
        wait_for(lambda: not service.preview.watched, "it to be cut")


def test_commands_are_answered_in_turn_and_before_the_first_frame(tmp_path: Path) -> None:
    with Service(tmp_path) as service:
        service.silent = True
        with Client(service.path, {}) as client:
            select = {"command": "select", "box": [1.5, 2, 30, 40]}
            client.send(select)
            client.send(b'{"command": "clear"}\n{"command": "sta')
            client.send(b'tus"}\n{"command": "dance"}\nnonsense\n[1]\n\n')
            answers = [client.next(JSON).answer() for _ in range(7)]
            assert [answer["ok"] for answer in answers] == [True, True, True, False, False, False, False]
            assert answers[2]["status"]["paused"] is False
            assert answers[3]["error"] == "unknown command 'dance'"
            assert answers[4]["error"] == "preview: is not JSON: b'nonsense'"
            assert answers[5]["error"] == "preview: is no JSON object: b'[1]'"
            names = [command["command"] for command in service.commands.received]
            assert names == ["select", "clear", "status", "dance"]
            assert service.commands.received[0] == select
            service.silent = False
            assert client.next().content_type == JPEG


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (b"GET / HTTP/1.1\r\n", "preview: is not JSON"),
        ({"width": 5}, "preview request: width = 5 is out of range"),
        ({"command": "clear"}, "preview request: unknown key 'command'"),
        (b"x" * (MOST_LINE_BYTES + 1), "a line is longer than 4096 bytes"),
        (b'{"a": "' + b"x" * MOST_LINE_BYTES + b'"}\n', "a line is longer than 4096 bytes"),
    ],
)
def test_a_bad_first_line_is_answered_and_ends_it(tmp_path: Path, first: Any, expected: str) -> None:
    with Service(tmp_path) as service, Client(service.path, first) as client:
        answer = client.next(JSON).answer()
        assert answer["ok"] is False
        assert expected in answer["error"]
        assert client.hung_up()
        assert service.commands.received == []
        assert not service.preview.watched


def test_so_many_watchers_and_no_more(tmp_path: Path) -> None:
    with (
        Service(tmp_path, PreviewConfig(max_watchers=2)) as service,
        Client(service.path, {}) as first,
        Client(service.path, {}) as second,
    ):
        first.next(), second.next()
        with Client(service.path, {}) as third:
            expected = "2 watch already; end one of them, or raise preview.max_watchers"
            assert third.next(JSON).answer() == {"ok": False, "error": expected}
            assert third.hung_up()
        second.close()
        wait_for(lambda: len(service.preview._watchers) == 1, "a place")
        with Client(service.path, {}) as fourth:
            fourth.next()
        first.next()


def test_the_socket_is_for_the_group_and_goes_with_the_service(tmp_path: Path) -> None:
    with Service(tmp_path) as service, Client(service.path, {}) as client:
        client.next()
        assert stat.S_IMODE(service.path.stat().st_mode) == 0o660
        with pytest.raises(StorageError, match=r"preview\.sock"):
            Preview(service.path, PreviewConfig(), Commands())
        service.close()
        assert client.hung_up()
        assert not service.path.exists()
        service.preview.offer(service.source.image(0), [record_of(service.source, 0)], None)
        service.preview.close()
    assert not any(thread.name == "preview" for thread in threading.enumerate())


def test_files_are_given_back(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with Service(tmp_path) as service, Client(service.path, {}) as client:
            client.next()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("nice", [0, 10])
def test_only_its_own_thread_steps_back(tmp_path: Path, nice: int) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    with Service(tmp_path, PreviewConfig(nice=nice)) as service, Client(service.path, {}) as client:
        client.next()
        thread = service.preview._thread.native_id
        assert thread is not None
        assert os.getpriority(os.PRIO_PROCESS, thread) == (nice or own)
        assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own


def test_a_frame_that_cannot_be_shown_is_logged_once_and_the_next_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original, failures = pictures.encoded_part, 5

    def failing(offer: Offer, rendition: Rendition) -> bytes:
        nonlocal failures
        if failures:
            failures -= 1
            raise ValueError("no memory")
        return original(offer, rendition)

    monkeypatch.setattr(server, "encoded_part", failing)
    with Service(tmp_path) as service, Client(service.path, {}) as client:
        client.next()
    assert failures == 0
    (message,) = caplog.messages
    assert message.startswith("preview: frame ")
    assert message.endswith("cannot be shown (no memory)")
