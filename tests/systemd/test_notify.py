"""The notifier against real datagram sockets, with systemd's environment."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from edge_runtime.notify import Notifier


class Manager:
    """systemd's end: a datagram socket."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address[0] == "@" else address)
        self._socket.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": address}

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = f"@cfvgg-test-{uuid4()}" if request.param == "abstract" else str(tmp_path / "notify")
    manager = Manager(address)
    yield manager
    manager.close()


def test_what_is_said_arrives(manager: Manager) -> None:
    notifier = Notifier(manager.environment)
    notifier.ready("tracking at 30 Hz")
    notifier.status("two\nlines  become one")
    notifier.stopping()
    assert manager.heard() == [
        "READY=1\nSTATUS=tracking at 30 Hz",
        "STATUS=two lines become one",
        "STOPPING=1",
    ]


def test_reloading_tells_when(manager: Manager) -> None:
    Notifier(manager.environment).reloading()
    (message,) = manager.heard()
    first, second = message.split("\n")
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) > 0


def test_frames_feed_the_watchdog_at_most_four_times_in_its_time(manager: Manager) -> None:
    now_s = [100.0]
    environment = manager.environment | {"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier(environment, clock_s=lambda: now_s[0])
    assert notifier.watchdog_s == 20.0
    notifier.frame()
    for _ in range(150):
        now_s[0] += 1 / 30
        notifier.frame()
    assert manager.heard() == ["WATCHDOG=1"]
    now_s[0] += 1 / 30
    notifier.frame()
    assert manager.heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    "watchdog",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "me"},
    ],
)
def test_without_a_watchdog_of_its_own_frames_say_nothing(manager: Manager, watchdog: dict[str, str]) -> None:
    notifier = Notifier(manager.environment | watchdog)
    notifier.frame()
    assert (notifier.watchdog_s, manager.heard()) == (None, [])


def test_a_watchdog_for_any_process_is_fed(manager: Manager) -> None:
    Notifier(manager.environment | {"WATCHDOG_USEC": "1000000"}).frame()
    assert manager.heard() == ["WATCHDOG=1"]


def say_everything(notifier: Notifier) -> None:
    said: list[Callable[[], None]] = [notifier.ready, notifier.frame, notifier.reloading, notifier.stopping]
    for say in said:
        say()
    notifier.status("text")


@pytest.mark.parametrize("address", [None, "", "@", "notify", "vsock:2:1"])
def test_without_a_manager_nothing_happens(address: str | None, caplog: pytest.LogCaptureFixture) -> None:
    environment = {"WATCHDOG_USEC": "1000"} | ({} if address is None else {"NOTIFY_SOCKET": address})
    say_everything(Notifier(environment))
    assert caplog.records == []


def test_a_manager_that_is_gone_is_complained_about_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "nobody"), "WATCHDOG_USEC": "1000"}
    with caplog.at_level(logging.WARNING):
        say_everything(Notifier(environment))
    (record,) = caplog.records
    assert "systemd cannot be told READY=1 (No such file or directory)" in record.getMessage()


def test_a_manager_that_does_not_listen_costs_no_time(manager: Manager) -> None:
    """Its queue fills; the frames after that are dropped, and told again when there is room."""
    now_s = [0.0]
    environment = manager.environment | {"WATCHDOG_USEC": "4"}
    notifier = Notifier(environment, clock_s=lambda: now_s[0])
    for _ in range(5000):
        now_s[0] += 1
        notifier.frame()
    assert 0 < len(manager.heard()) < 5000
    notifier.frame()
    assert manager.heard() == ["WATCHDOG=1"]
