"""Network cameras: Motion JPEG from a real server on the loopback address."""

from __future__ import annotations

import itertools
import socket
import threading
import time

import numpy as np
import pytest

from edge_runtime.errors import SourceError
from edge_runtime.sources.network import without_password
from tests.edge.helpers import fake_images, opened
from tests.edge.mjpeg_server import MjpegServer

IMAGES = fake_images(6)
QUICK = {"capture_timeout_s": 1.0, "reopen_wait_s": 0.1, "reopen_most_s": 0.2, "give_up_after": 100}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_frames_are_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    with MjpegServer(IMAGES) as server, opened(server.url) as source:
        assert source.frame_size == (320, 240)
        assert source.frame_rate_hz is None or source.frame_rate_hz > 0
        for frame in itertools.islice(source, 20):
            assert min(np.abs(frame.image.astype(int) - image).mean() for image in IMAGES) < 5
            assert frame.t_unix is not None


def test_a_connection_that_breaks_is_made_again() -> None:
    with MjpegServer(IMAGES) as server, opened(server.url, **QUICK) as source:
        iterator = iter(source)
        next(iterator)
        server.cut = True
        time.sleep(0.2)
        server.cut = False
        start_s = time.monotonic()
        while source.restarts == 0:
            next(iterator)
        assert time.monotonic() - start_s < 10  # 0.3
        assert server.clients > 1


def test_a_server_that_falls_silent_is_asked_again() -> None:
    with MjpegServer(IMAGES) as server, opened(server.url, **QUICK) as source:
        iterator = iter(source)
        next(iterator)
        server.silent = True
        threading.Timer(1.5, lambda: setattr(server, "silent", False)).start()
        start_s = time.monotonic()
        while source.restarts == 0:
            next(iterator)
        assert 1 < time.monotonic() - start_s < 20  # 1.6


def test_damaged_pictures_do_not_end_it() -> None:
    with MjpegServer(IMAGES) as server, opened(server.url, **QUICK) as source:
        iterator = iter(source)
        next(iterator)
        server.broken = True
        time.sleep(0.3)
        server.broken = False
        start_s = time.monotonic()
        for frame in iterator:
            if min(np.abs(frame.image.astype(int) - image).mean() for image in IMAGES) < 5:
                break
        assert time.monotonic() - start_s < 10
        assert source.restarts == 0


def test_a_server_may_come_up_later() -> None:
    port = free_port()
    servers: list[MjpegServer] = []
    timer = threading.Timer(0.6, lambda: servers.append(MjpegServer(IMAGES, port=port)))
    timer.start()
    with opened(f"http://127.0.0.1:{port}/", **QUICK) as source:
        assert next(iter(source)).image.shape == (240, 320, 3)
        assert source.restarts == 0
    with servers[0]:
        pass


def test_a_server_that_does_not_come_up_is_given_up() -> None:
    settings = QUICK | {"give_up_after": 2}
    with pytest.raises(SourceError) as caught:
        opened(f"http://me:secret@127.0.0.1:{free_port()}/", **settings)
    assert "given up after 2 attempts to open it again; cannot be opened; check the address" in str(
        caught.value
    )
    assert "secret" not in str(caught.value)


def test_a_server_that_accepts_and_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = QUICK | {"give_up_after": 0, "open_timeout_s": 0.5}
        start_s = time.monotonic()
        with pytest.raises(SourceError, match="given up after 0 attempts"):
            opened(f"http://127.0.0.1:{server.getsockname()[1]}/", **settings)
        assert time.monotonic() - start_s < 10


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rtsp://host/a", "rtsp://host/a"),
        ("rtsp://me:secret@host:554/a?b=c", "rtsp://***@host:554/a?b=c"),
        ("http://me@[::1]:80/", "http://***@[::1]:80/"),
    ],
)
def test_passwords_are_not_shown(url: str, expected: str) -> None:
    assert without_password(url) == expected
