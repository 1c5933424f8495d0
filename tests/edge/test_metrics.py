from __future__ import annotations

import math
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.errors import StorageError
from edge_runtime.metrics import BUCKETS_S, SCRAPE_S, Metrics, MetricsServer
from edge_runtime.publishers.base import version
from edge_runtime.publishers.settings import MetricsConfig
from edge_runtime.unix_socket import connect
from tests.edge.mqtt_broker import free_port
from tests.edge.publishing import messages, record, wait_for

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> tuple[dict[str, str], Samples]:
    """Kinds of the families, and values by name and labels, as Prometheus' own parser reads them."""
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus-client is not installed")
    families = list(parser.text_string_to_metric_families(text))
    assert all(family.documentation for family in families)
    samples: Samples = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in samples
            samples[key] = sample.value
    return {family.name: family.type for family in families}, samples


def values(metrics: Metrics) -> Samples:
    return parsed(metrics.text())[1]


def test_every_metric_has_its_name_kind_and_unit() -> None:
    metrics = Metrics("pi", "feco, cf-vgg int8")
    metrics.host(50.5, undervoltage=False)
    kinds, samples = parsed(metrics.text())
    # The parser takes "_total" off the names of counters.
    assert kinds == {
        "cfvgg_build_info": "gauge",
        "cfvgg_frames": "counter",
        "cfvgg_frames_dropped": "counter",
        "cfvgg_camera_restarts": "counter",
        "cfvgg_loop_duration_seconds": "histogram",
        "cfvgg_track_confidence": "gauge",
        "cfvgg_targets": "gauge",
        "cfvgg_records_sent": "counter",
        "cfvgg_records_dropped": "counter",
        "cfvgg_soc_temperature_celsius": "gauge",
        "cfvgg_undervoltage": "gauge",
    }
    labels = (("device", "pi"), ("model", "feco, cf-vgg int8"), ("version", version()))
    assert samples["cfvgg_build_info", labels] == 1
    assert samples["cfvgg_frames_total", ()] == 0
    assert samples["cfvgg_soc_temperature_celsius", ()] == 50.5
    assert samples["cfvgg_undervoltage", ()] == 0
    # Nothing has been measured yet.
    assert ("cfvgg_track_confidence", ()) not in samples


def test_numbers_are_those_that_were_told() -> None:
    metrics = Metrics("pi", "feco")
    for frame in range(10):
        metrics.frame([record(frame, confidence=0.5), record(frame, "lost", track_id=2)], 0.004)
    metrics.frame([], 0.004)
    paused = values(metrics)
    assert paused["cfvgg_frames_total", ()] == 11
    assert ("cfvgg_track_confidence", ()) not in paused
    metrics.frame([record(11, "lost", confidence=0.25), record(11, "lost", track_id=2)], 0.004)
    for count in (3, 5):
        metrics.dropped({"overrun": count, "corrupt": 0})
        metrics.restarts(count)
        metrics.publisher("mqtt", 10 * count, count)
        metrics.publisher("file", 100, 0)
    samples = values(metrics)
    assert samples["cfvgg_track_confidence", ()] == 0.25
    assert samples["cfvgg_targets", (("state", "lost"),)] == 2
    assert samples["cfvgg_targets", (("state", "tracking"),)] == 0
    assert samples["cfvgg_frames_dropped_total", (("reason", "overrun"),)] == 5
    assert samples["cfvgg_frames_dropped_total", (("reason", "corrupt"),)] == 0
    assert samples["cfvgg_camera_restarts_total", ()] == 5
    assert samples["cfvgg_records_sent_total", (("publisher", "mqtt"),)] == 50
    assert samples["cfvgg_records_dropped_total", (("publisher", "mqtt"),)] == 5
    assert samples["cfvgg_records_sent_total", (("publisher", "file"),)] == 100
    assert ("cfvgg_undervoltage", ()) not in samples


def test_the_histogram_is_cumulative_and_has_its_limits_inside() -> None:
    metrics = Metrics("pi", "feco")
    times_s = [0.0, 0.001, 0.0010001, 0.0333, 0.2, 0.2001, 7.0]
    for time_s in times_s:
        metrics.frame([record(0)], time_s)
    samples = values(metrics)
    name = "cfvgg_loop_duration_seconds"
    buckets = {
        float(dict(labels)["le"]): value
        for (where, labels), value in samples.items()
        if where == f"{name}_bucket"
    }
    assert list(buckets) == [*BUCKETS_S, math.inf]
    assert buckets == {limit_s: sum(t <= limit_s for t in times_s) for limit_s in (*BUCKETS_S, math.inf)}
    assert samples[f"{name}_count", ()] == len(times_s)
    assert samples[f"{name}_sum", ()] == pytest.approx(sum(times_s))
    assert (min(BUCKETS_S), max(BUCKETS_S)) == (0.001, 0.2)


@pytest.mark.parametrize("label", ['a "quoted" one', "a\\b", "two\nlines", "ü {x} , ="])
def test_any_label_is_read_back(label: str) -> None:
    samples = values(Metrics(label, label))
    (labels,) = [labels for name, labels in samples if name == "cfvgg_build_info"]
    assert dict(labels) == {"device": label, "model": label, "version": version()}


def test_reading_while_writing_never_sees_a_half() -> None:
    metrics = Metrics("pi", "feco")
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            metrics.frame([record(0)], 0.01)

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(50):
        samples = values(metrics)
        count = samples["cfvgg_frames_total", ()]
        assert samples["cfvgg_loop_duration_seconds_count", ()] == count
        assert samples["cfvgg_loop_duration_seconds_bucket", (("le", "0.01"),)] == count
    stop.set()
    thread.join()


def ask(
    client: socket.socket, request: bytes = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
) -> tuple[str, str]:
    """The status line and the body of an answer."""
    client.sendall(request)
    with client.makefile("rb") as file:
        head, _, body = file.read().partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert int(fields["content-length"]) == len(body)
    assert fields["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return status, body.decode()


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics("pi", "feco")
    made.frame([record(0)], 0.005)
    return made


@pytest.fixture
def server(tmp_path: Path, metrics: Metrics) -> Iterator[MetricsServer]:
    made = MetricsServer(MetricsConfig("unix"), tmp_path, metrics.text)
    yield made
    made.close()
    assert list(tmp_path.iterdir()) == []


def scrape(folder: Path) -> tuple[str, str]:
    with connect(folder / "metrics.sock", 30) as client:
        return ask(client)


@pytest.mark.usefixtures("server")
def test_metrics_on_the_unix_socket(tmp_path: Path, metrics: Metrics) -> None:
    for frames in (1, 2):
        status, body = scrape(tmp_path)
        assert status == "HTTP/1.1 200 OK"
        assert body == metrics.text()
        assert parsed(body)[1]["cfvgg_frames_total", ()] == frames
        metrics.frame([record(frames)], 0.005)


@pytest.mark.usefixtures("server")
def test_metrics_by_curl(tmp_path: Path, metrics: Metrics) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    where = str(tmp_path / "metrics.sock")
    command = ["curl", "-sSf", "--unix-socket", where, "http://localhost/metrics?x=1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == metrics.text()


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_metrics_on_a_loopback_port(tmp_path: Path, metrics: Metrics, host: str, shown: str) -> None:
    port = free_port()
    try:
        server = MetricsServer(MetricsConfig(f"{shown}:{port}"), tmp_path, metrics.text)
    except StorageError:
        if host == "::1":
            pytest.skip("no IPv6 here")
        raise
    with pytest.raises(StorageError, match=rf"{host} port {port}: cannot listen here .*; change metrics"):
        MetricsServer(MetricsConfig(f"{shown}:{port}"), tmp_path, metrics.text)
    with socket.create_connection((host, port), 30) as client:
        assert ask(client) == ("HTTP/1.1 200 OK", metrics.text())
    server.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, port), 30)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", "404 Not Found"),
        (b"GET", "404 Not Found"),
        (b"POST /metrics HTTP/1.1", "405 Method Not Allowed"),
        (b"", "405 Method Not Allowed"),
        (b"\xff\x00 \xfe", "405 Method Not Allowed"),
    ],
)
def test_other_requests_are_refused(tmp_path: Path, request_line: bytes, status: str) -> None:
    with connect(tmp_path / "metrics.sock", 30) as client:
        assert ask(client, request_line + b"\r\n\r\n")[0] == f"HTTP/1.1 {status}"
    assert scrape(tmp_path)[0] == "HTTP/1.1 200 OK"


def test_a_scraper_that_stalls_is_cut_off_and_others_are_served(
    tmp_path: Path, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    large = "x" * 10_000_000  # more than any socket holds
    answers = iter([metrics.text(), large, metrics.text()])
    server = MetricsServer(MetricsConfig("unix"), tmp_path, answers.__next__)
    silent = connect(tmp_path / "metrics.sock", 30)
    start_s = time.monotonic()
    assert scrape(tmp_path) == ("HTTP/1.1 200 OK", metrics.text())
    assert SCRAPE_S * 0.9 < time.monotonic() - start_s < SCRAPE_S + 10
    assert silent.recv(10) == b""
    silent.close()
    # One that asks and does not read.
    deaf = connect(tmp_path / "metrics.sock", 30)
    deaf.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    assert scrape(tmp_path) == ("HTTP/1.1 200 OK", metrics.text())
    deaf.close()
    # One that drips.
    with connect(tmp_path / "metrics.sock", 30) as dripping:
        start_s = time.monotonic()
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            while time.monotonic() - start_s < 60:
                dripping.sendall(b"G")
                time.sleep(0.05)
        assert time.monotonic() - start_s < SCRAPE_S + 10
    server.close()
    assert "metrics: a scraper was cut off (timed out)" in messages(caplog)


@pytest.mark.usefixtures("server")
def test_an_endless_request_ends(tmp_path: Path) -> None:
    with (
        connect(tmp_path / "metrics.sock", 30) as client,
        pytest.raises(OSError, match=r"Broken pipe|reset"),
    ):
        for _ in range(100):
            client.sendall(b"x" * 8192)
            time.sleep(0.01)
    assert scrape(tmp_path)[0] == "HTTP/1.1 200 OK"


def test_a_bug_in_the_text_ends_one_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Any] = ["good"]
    server = MetricsServer(MetricsConfig("unix"), tmp_path, lambda: answers[0].replace("", ""))
    answers[0] = None
    with connect(tmp_path / "metrics.sock", 30) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert client.recv(10) == b""
    answers[0] = "good"
    assert scrape(tmp_path) == ("HTTP/1.1 200 OK", "good")
    server.close()
    assert messages(caplog) == ["metrics: a request failed"]


def test_closing_ends_the_thread_at_once(tmp_path: Path, metrics: Metrics) -> None:
    before = threading.active_count()
    server = MetricsServer(MetricsConfig("unix"), tmp_path, metrics.text)
    assert threading.active_count() == before + 1
    server.close()
    wait_for(lambda: threading.active_count() == before)
    server.close()
