"""A real mosquitto on a loopback port, and a client to listen with."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.publishers.settings import MqttConfig
from tests.edge.publishing import wait_for

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


class Broker:
    """mosquitto, which can be stopped and started again on the same port.

    Args:
        folder: for its files; it keeps retained messages and sessions there when it is ended in order.
        settings: lines of its configuration beside the usual ones.
    """

    def __init__(self, folder: Path, *settings: str) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._config = folder / "mosquitto.conf"
        self._log = folder / "mosquitto.log"
        anonymous = [] if any("password_file" in line for line in settings) else ["allow_anonymous true"]
        lines = [
            f"listener {self.port} 127.0.0.1",
            "user root",
            "persistence true",
            f"persistence_location {folder}/",
            # So that a test's subscriber can be away without missing what the publisher has sent.
            "queue_qos0_messages true",
            "max_queued_messages 0",
            *anonymous,
            *settings,
        ]
        self._config.write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        assert MOSQUITTO is not None
        with self._log.open("ab") as log:
            command = [MOSQUITTO, "-c", str(self._config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(self._answers)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(timeout=30)
            self._process = None

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def config(self, **settings: Any) -> MqttConfig:
        """Of a client that publishes every record, unless `settings` say otherwise."""
        ours: dict[str, Any] = {"host": "127.0.0.1", "port": self.port, "max_rate_hz": 0.0}
        return MqttConfig(**(ours | settings))

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


class Listener:
    """Collects what is published; it is away while the broker is, and then gets what it missed.

    Attributes:
        messages: (topic, payload, whether it was kept from before) in the order of arrival.
    """

    def __init__(self, port: int, topic: str = "#", name: str = "listener", **options: Any) -> None:
        from paho.mqtt.client import Client  # noqa: PLC0415 (tests that need it are skipped without it)
        from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415

        self.messages: list[tuple[str, bytes, bool]] = []
        self._subscribed = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, name, clean_session=options.get("clean", False))
        if "user" in options:
            self.client.username_pw_set(options["user"], options["password"])
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = lambda _, __, m: self._note(m)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self._subscribed.wait(30)

    def _note(self, message: Any) -> None:
        self.messages.append((message.topic, bytes(message.payload), message.retain))

    def of(self, topic: str) -> list[bytes]:
        """The payloads of one topic."""
        return [payload for where, payload, _ in self.messages if where == topic]

    def last(self, topic: str) -> bytes | None:
        return next((payload for where, payload, _ in reversed(self.messages) if where == topic), None)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A running broker without passwords."""
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    folder = tmp_path / "broker"
    folder.mkdir()
    made = Broker(folder)
    made.start()
    yield made
    made.stop()
