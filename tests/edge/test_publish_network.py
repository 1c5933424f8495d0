"""Track records over the unix socket and UDP, and which publishers a configuration opens."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.config import load_config
from edge_runtime.errors import ConfigError, DependencyError, StorageError
from edge_runtime.outputs import Outputs
from edge_runtime.publishers import close_publishers, make_publishers
from edge_runtime.publishers.base import Publisher, Rate
from edge_runtime.publishers.queued import Queued
from edge_runtime.publishers.readers import SocketPublisher
from edge_runtime.publishers.settings import SocketConfig, UdpConfig
from edge_runtime.publishers.udp import UdpSink
from edge_runtime.render import View
from edge_runtime.unix_socket import connect
from tests.edge.helpers import fake_images
from tests.edge.publishing import LINE_BYTES, frames, messages, record, wait_for

ROOT = Path(__file__).parents[2]


class Reading:
    """Reads everything from a connection on a thread of its own."""

    def __init__(self, client: socket.socket) -> None:
        self.lines: list[bytes] = []
        self._client = client
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with self._client, self._client.makefile("rb") as file:
            self.lines.extend(file)

    def to_the_end(self) -> list[bytes]:
        self._thread.join(30)
        assert not self._thread.is_alive()
        assert all(line.endswith(b"\n") for line in self.lines)
        return self.lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tracks.sock"


@pytest.fixture
def publisher(path: Path) -> Iterator[SocketPublisher]:
    made = SocketPublisher(path, SocketConfig(max_readers=3, buffer_kib=16))
    yield made
    made.close()


def test_every_reader_gets_every_record_from_its_first_on(path: Path, publisher: SocketPublisher) -> None:
    readings = []
    for start in (0, 10, 20):
        readings.append(Reading(connect(path, 5)))
        for frame in range(start, start + 10):
            publisher.publish(record(frame))
            # As fast as readers read, not as fast as the test can write.
            time.sleep(0.002)
    publisher.close()
    assert [frames(reading.to_the_end()) for reading in readings] == [
        list(range(start, 30)) for start in (0, 10, 20)
    ]
    assert (publisher.name, publisher.sent, publisher.dropped) == ("socket", 60, 0)
    assert not path.exists()


def test_one_that_never_reads_loses_records_and_costs_the_others_and_the_loop_nothing(
    path: Path, publisher: SocketPublisher, caplog: pytest.LogCaptureFixture
) -> None:
    deaf = connect(path, 5)
    publisher.publish(record(1000))
    hearing = Reading(connect(path, 5))
    longest_s = 0.0
    for frame in range(1001, 3000):
        start_s = time.perf_counter()
        publisher.publish(record(frame))
        longest_s = max(longest_s, time.perf_counter() - start_s)
        # The pace is that of the reader that reads: it loses nothing.
        wait_for(lambda: len(hearing.lines) > frame - 1001 - 5)  # noqa: B023 (called at once)
    publisher.close()
    assert longest_s < 0.2
    assert frames(hearing.to_the_end()) == list(range(1001, 3000))
    held = Reading(deaf).to_the_end()
    assert frames(held) == list(range(1000, 1000 + len(held)))
    # The kernel counts more than the bytes of a line, and doubles what it was asked for.
    assert 16 * 1024 / LINE_BYTES / 4 < len(held) < 16 * 1024 / LINE_BYTES * 4
    assert publisher.dropped == 2000 - len(held)
    assert publisher.sent + publisher.dropped == 2000 + 1999
    assert messages(caplog) == ["socket: a reader is too slow and loses records"]


def test_a_slow_reader_gets_whole_lines_with_gaps(path: Path, publisher: SocketPublisher) -> None:
    slow = connect(path, 5)
    received = b""
    for frame in range(1000, 3000):
        publisher.publish(record(frame))
        if frame % 2:
            received += slow.recv(LINE_BYTES // 3 + frame % 50)
    publisher.close()
    while more := slow.recv(65_536):
        received += more
    slow.close()
    found = frames(received.splitlines())
    assert received.endswith(b"\n")
    assert found == sorted(set(found))
    assert len(found) == publisher.sent
    assert publisher.sent + publisher.dropped == 2000
    assert publisher.dropped > 0


def test_a_line_that_was_begun_is_ended_before_the_stream_ends(
    path: Path, publisher: SocketPublisher
) -> None:
    with connect(path, 5) as client:
        publisher.publish(record(1000))
        (reader,) = publisher._readers
        # What a kernel may do with a full buffer, and Linux does only with larger lines.
        reader.rest = record(1001).to_json().encode()[100:] + b"\n"
        publisher.close()
        first, rest = Reading(client).to_the_end()
        assert frames([first]) == [1000]
        assert rest == record(1001).to_json().encode()[100:] + b"\n"


def test_readers_beyond_the_limit_are_turned_away_until_one_leaves(
    path: Path, publisher: SocketPublisher, caplog: pytest.LogCaptureFixture
) -> None:
    clients = [connect(path, 5) for _ in range(3)]
    publisher.publish(record(0))
    with connect(path, 5) as fourth:
        publisher.publish(record(1))
        assert fourth.recv(10) == b""
    assert messages(caplog) == ["socket: more than 3 readers, one is turned away"]
    clients.pop().close()
    late = Reading(connect(path, 5))
    publisher.publish(record(2))
    publisher.close()
    assert frames(late.to_the_end()) == [2]
    for client in clients:
        assert frames(Reading(client).to_the_end()) == [0, 1, 2]


def test_readers_that_write_are_told_that_nobody_listens(path: Path, publisher: SocketPublisher) -> None:
    with connect(path, 5) as client:
        publisher.publish(record(0))
        with pytest.raises(BrokenPipeError):
            client.sendall(b'{"command": "clear"}\n')
        publisher.close()
        assert frames(Reading(client).to_the_end()) == [0]


def test_a_killed_publisher_ends_the_stream_and_another_takes_its_place(path: Path) -> None:
    code = """
import itertools, sys, time
from pathlib import Path
from edge_runtime.publishers.readers import SocketPublisher
from edge_runtime.publishers.settings import SocketConfig
from tests.edge.publishing import record
publisher = SocketPublisher(Path(sys.argv[1]), SocketConfig())
print("listening", flush=True)
for frame in itertools.count():
    publisher.publish(record(frame))
    time.sleep(0.001)
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"listening\n"
    reading = Reading(connect(path, 30))
    wait_for(lambda: len(reading.lines) > 20)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    process.stdout.close()
    lines = reading.to_the_end()
    found = frames(lines)
    assert found == list(range(found[0], found[0] + len(found)))
    publisher = SocketPublisher(path, SocketConfig())
    reading = Reading(connect(path, 5))
    publisher.publish(record(7))
    publisher.close()
    assert frames(reading.to_the_end()) == [7]


@pytest.fixture(params=["127.0.0.1", "::1", "localhost"])
def receiver(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, str, int]]:
    host = request.param
    family = socket.AF_INET6 if ":" in host else socket.getaddrinfo(host, 1)[0][0]
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        try:
            made.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        except OSError:
            pytest.skip(f"no {host} here")
        made.settimeout(30)
        yield made, host, made.getsockname()[1]


def test_a_datagram_is_a_record(receiver: tuple[socket.socket, str, int]) -> None:
    made, host, port = receiver
    publisher = Queued(UdpSink(UdpConfig(host, port)))
    for frame in range(100):
        publisher.publish(record(frame))
    publisher.close()
    assert frames(made.recv(65_536) for _ in range(100)) == list(range(100))
    assert (publisher.name, publisher.sent, publisher.dropped) == ("udp", 100, 0)


def test_datagrams_at_a_rate(receiver: tuple[socket.socket, str, int]) -> None:
    made, host, port = receiver
    publisher = Queued(UdpSink(UdpConfig(host, port)), wanted=Rate(10.0).due)
    for frame in range(90):
        publisher.publish(record(frame))
    publisher.close()
    found = frames(made.recv(65_536) for _ in range(publisher.sent))
    assert found[0] == 0
    assert 28 <= len(found) <= 30
    # What the rate leaves out is not lost.
    assert publisher.dropped == 0


def test_a_port_where_nobody_listens_is_no_trouble() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        port = made.getsockname()[1]
    publisher = Queued(UdpSink(UdpConfig("127.0.0.1", port)))
    for frame in range(100):
        publisher.publish(record(frame))
    publisher.close()
    assert publisher.sent + publisher.dropped == 100


def test_an_unreachable_address_and_an_unknown_name_are_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sink = UdpSink(UdpConfig("127.0.0.1", 9))
    failing = True
    send, look_up = socket.socket.sendto, socket.getaddrinfo

    def unreachable(self: socket.socket, data: bytes, address: Any) -> int:
        if failing:
            raise OSError(101, "Network is unreachable")
        return send(self, data, address)

    def unknown(*args: Any, **options: Any) -> Any:
        if failing:
            raise socket.gaierror(-2, "Name or service not known")
        return look_up(*args, **options)

    monkeypatch.setattr(socket.socket, "sendto", unreachable)
    sink.deliver([record(n) for n in range(10)])
    assert (sink.sent, sink.dropped) == (0, 10)
    monkeypatch.setattr("edge_runtime.publishers.udp.LOOK_UP_EVERY_S", 0.0)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    sink._look_up_s = 0.0
    sink.deliver([record(n) for n in range(10)])
    assert sink.dropped == 20
    failing = False
    sink.deliver([record(20)])
    sink.close()
    assert (sink.sent, sink.dropped) == (1, 20)
    assert messages(caplog) == [
        "udp: 127.0.0.1:9: cannot be sent to (Network is unreachable)",
        "udp: 127.0.0.1:9: cannot be sent to (Name or service not known)",
    ]


def handle(_: Mapping[str, Any]) -> dict[str, Any]:
    return {"ok": True}


def configured(**settings: Any) -> Any:
    return load_config(None, {name.replace("__", "."): value for name, value in settings.items()})


def names(publishers: list[Publisher]) -> list[str]:
    found = [publisher.name for publisher in publishers]
    close_publishers(publishers)
    return found


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "run"
    monkeypatch.setenv("CFVGG_RUNTIME_DIR", str(folder))
    return folder


def test_what_is_configured_is_opened(tmp_path: Path, runtime: Path) -> None:
    assert names(make_publishers(configured(), handle, live=True)) == ["socket"]
    off = configured(socket__enabled=False)
    assert names(make_publishers(off, handle, live=True)) == []
    everything = configured(
        output__tracks=str(tmp_path / "t.jsonl"), udp__host="127.0.0.1", mqtt__host="127.0.0.1"
    )
    pytest.importorskip("paho.mqtt.client")
    assert names(make_publishers(everything, handle, live=True)) == ["file", "socket", "udp", "mqtt"]
    assert list(runtime.iterdir()) == []


def test_a_recording_run_only_writes_its_file(tmp_path: Path, runtime: Path) -> None:
    config = configured(output__tracks=str(tmp_path / "t.jsonl"), udp__host="127.0.0.1", mqtt__host="nowhere")
    assert names(make_publishers(config, handle, live=False)) == ["file"]
    assert names(make_publishers(configured(output__tracks="-"), handle, live=False)) == ["stdout"]
    assert not runtime.exists()


def test_what_was_opened_is_closed_when_something_else_cannot_be(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threading.active_count()
    running = SocketPublisher(runtime / "tracks.sock", SocketConfig())
    config = configured(output__tracks=str(tmp_path / "t.jsonl"))
    with pytest.raises(StorageError, match="another cfvgg-edge listens here"):
        make_publishers(config, handle, live=True)
    running.close()
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(DependencyError, match=r"MQTT needs paho-mqtt 2; pip install 'cfvgg\[mqtt\]'"):
        make_publishers(configured(mqtt__host="127.0.0.1"), handle, live=True)
    assert list(runtime.iterdir()) == []
    assert threading.active_count() == before


def test_a_live_run_goes_on_where_a_recording_run_ends(runtime: Path) -> None:
    view = View(fake_images(1)[0], 0, (), None, None)
    config = configured(output__tracks="/dev/full")
    outputs = Outputs(config)
    with pytest.raises(StorageError, match="No space left"):
        outputs.add([record(0)], view, None)
    outputs.close()
    live = Outputs(config, handle, live=True)
    live.open_publishers()
    reading = Reading(connect(runtime / "tracks.sock", 5))
    start_s = time.monotonic()
    for frame in range(100):
        live.add([record(frame), record(frame, track_id=2)], view, None)
        # As fast as the reader reads.
        wait_for(lambda: len(reading.lines) >= 2 * frame - 20)  # noqa: B023 (called at once)
    live.close()
    assert time.monotonic() - start_s < 20
    assert frames(reading.to_the_end()) == [frame for frame in range(100) for _ in (1, 2)]
    counts = {publisher.name: (publisher.sent, publisher.dropped) for publisher in live.publishers}
    assert counts == {"file": (0, 200), "socket": (200, 0)}


def test_standard_output_into_a_pipe_that_nobody_reads_does_not_stop_a_live_run(runtime: Path) -> None:
    code = """
import json, sys, time
from edge_runtime.config import load_config
from edge_runtime.publishers import close_publishers, make_publishers
from tests.edge.publishing import record
config = load_config(None, {"output.tracks": "-", "socket.enabled": False})
publishers = make_publishers(config, lambda _: {"ok": True}, live=True)
for frame in range(5000):
    publishers[0].publish(record(frame))
start_s = time.monotonic()
close_publishers(publishers)
print(json.dumps([publishers[0].sent, publishers[0].dropped, time.monotonic() - start_s]), file=sys.stderr)
"""
    reader, writer = os.pipe()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=True
    )
    os.close(writer)
    sent, dropped, close_s = json.loads(done.stderr)
    with os.fdopen(reader, "rb") as file:
        lines = file.readlines()
    assert all(line.endswith(b"\n") for line in lines)
    assert len(frames(lines)) == sent
    assert sent + dropped == 5000
    assert 0.9 < close_s < 3


BAD: list[tuple[str, Any, str]] = [
    ("output.tracks_max_mb", -1, "0 (no limit) to 1000000"),
    ("output.tracks_keep", -1, "0 to 1000"),
    ("socket.max_readers", 0, "1 to 64"),
    ("socket.buffer_kib", 1, "8 to 4096"),
    ("udp.host", "a b", "a name or an address, without a port"),
    ("udp.host", "a..b", "a name or an address, without a port"),
    ("udp.port", 0, "1 to 65535"),
    ("udp.max_rate_hz", -1, "0 (all) to 1000"),
    ("mqtt.host", "x" * 64, "a name or an address, without a port"),
    ("mqtt.port", 70000, "1 to 65535"),
    ("mqtt.topic", "", "a topic without + and #"),
    ("mqtt.topic", "a/#", "a topic without + and #"),
    ("mqtt.discovery_prefix", "a//b", "a topic without + and #"),
    ("mqtt.keepalive_s", 1, "5 to 3600"),
    ("mqtt.reconnect_max_s", 0, "1 to 3600"),
    ("mqtt.ca_file", "ca.pem", "mqtt.tls = true with it"),
    ("mqtt.password_file", "p", "mqtt.user with it"),
    ("metrics.listen", "0.0.0.0:9105", '"unix", "127.0.0.1:PORT"'),
    ("metrics.listen", "192.168.1.2:9105", '"unix", "127.0.0.1:PORT"'),
    ("metrics.listen", "localhost:9105", '"unix", "127.0.0.1:PORT"'),
    ("metrics.listen", ":9105", '"unix", "127.0.0.1:PORT"'),
    ("metrics.listen", "127.0.0.1", '"unix", "127.0.0.1:PORT"'),
    ("metrics.listen", "127.0.0.1:0", '"unix", "127.0.0.1:PORT"'),
]


@pytest.mark.parametrize(("name", "value", "allowed"), BAD)
def test_bad_settings_say_what_is_allowed(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, {name: value})
    shown = json.dumps(float(value) if name.endswith(("_hz", "_mb")) else value)
    assert f"{name} = {shown} is not allowed; use {allowed}" in str(caught.value)


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("unix", None),
        ("", None),
        ("127.0.0.1:9105", ("127.0.0.1", 9105)),
        ("127.8.9.1:1", ("127.8.9.1", 1)),
        ("[::1]:9105", ("::1", 9105)),
    ],
)
def test_loopback_addresses(listen: str, address: tuple[str, int] | None) -> None:
    assert load_config(None, {"metrics.listen": listen}).metrics.address == address
