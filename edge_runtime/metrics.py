"""What Prometheus may know of a live run: numbers since its start, and the server that tells them."""

from __future__ import annotations

import logging
import math
import socket
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from edge_runtime.errors import StorageError
from edge_runtime.log_limit import LimitedLog
from edge_runtime.publishers.base import version
from edge_runtime.publishers.settings import MetricsConfig
from edge_runtime.records import TrackRecord
from edge_runtime.types import TrackState
from edge_runtime.unix_socket import listen, stop_listening

# Seconds. Fine where 30 and 60 frames a second are decided.
BUCKETS_S = tuple(
    ms / 1e3 for ms in (1, 2, 3, 5, 7.5, 10, 12.5, 16.7, 20, 25, 33.3, 40, 50, 66.7, 100, 150, 200)
)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REQUEST_BYTES = 8192
SCRAPE_S = 1.0
BACKLOG = 8

logger = logging.getLogger(__name__)

Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]  # what follows the metric's name, labels, value


class Metrics:
    """The numbers. The loop's thread writes, any thread reads.

    Args:
        device: its name.
        model: label of the tracker and its network.
    """

    def __init__(self, device: str, model: str) -> None:
        self._lock = threading.Lock()
        self._build = {"version": version(), "device": device, "model": model}
        self._frames = 0
        self._in_bucket = [0] * (len(BUCKETS_S) + 1)
        self._loop_s = 0.0
        self._states: dict[str, int] = {state.value: 0 for state in TrackState}
        self._confidence: float | None = None
        self._dropped: dict[str, int] = {}
        self._restarts = 0
        self._publishers: dict[str, tuple[int, int]] = {}
        self._temperature_celsius: float | None = None
        self._undervoltage: bool | None = None

    def frame(self, records: Sequence[TrackRecord], loop_s: float) -> None:
        """A frame has gone through the loop.

        Args:
            records: of all its targets; none while tracking is paused.
            loop_s: from taking the frame over to its last record, seconds.
        """
        with self._lock:
            self._frames += 1
            self._in_bucket[bisect_left(BUCKETS_S, loop_s)] += 1
            self._loop_s += loop_s
            self._confidence = records[0].confidence if records else None
            for state in self._states:
                self._states[state] = sum(record.state == state for record in records)

    def dropped(self, reasons: Mapping[str, int]) -> None:
        """Frames that the source has dropped since the start, by reason."""
        with self._lock:
            self._dropped.update(reasons)

    def restarts(self, count: int) -> None:
        """How often the camera has been opened again since the start."""
        with self._lock:
            self._restarts = count

    def publisher(self, name: str, sent: int, dropped: int) -> None:
        """Records that a publisher has sent and lost since the start."""
        with self._lock:
            self._publishers[name] = (sent, dropped)

    def host(self, temperature_celsius: float | None, undervoltage: bool | None) -> None:
        """The processor's temperature, and whether the supply is too weak now; None where nobody tells."""
        with self._lock:
            self._temperature_celsius, self._undervoltage = temperature_celsius, undervoltage

    def text(self) -> str:
        """Everything in Prometheus' text format 0.0.4."""
        with self._lock:
            parts = [*self._of_frames(), *self._of_targets(), *self._of_publishers(), *self._of_host()]
        return "".join(parts)

    def _of_frames(self) -> Iterable[str]:
        yield _metric("build_info", "gauge", "What runs.", [("", self._build, 1)])
        yield _metric(
            "frames_total", "counter", "Frames that went through the loop.", [("", {}, self._frames)]
        )
        reasons: list[Sample] = [("", {"reason": reason}, n) for reason, n in self._dropped.items()]
        yield _metric("frames_dropped_total", "counter", "Frames that the source dropped.", reasons)
        restarts: list[Sample] = [("", {}, self._restarts)]
        yield _metric("camera_restarts_total", "counter", "Times the camera was opened again.", restarts)
        samples: list[Sample] = []
        below = 0
        for limit_s, count in zip((*BUCKETS_S, math.inf), self._in_bucket, strict=True):
            below += count
            samples.append(("_bucket", {"le": _number(limit_s)}, below))
        samples += [("_sum", {}, self._loop_s), ("_count", {}, below)]
        yield _metric("loop_duration_seconds", "histogram", "From frame to its last record.", samples)

    def _of_targets(self) -> Iterable[str]:
        confidence: list[Sample] = [("", {}, self._confidence)] if self._confidence is not None else []
        yield _metric("track_confidence", "gauge", "Of the first target, 0 to 1.", confidence)
        states: list[Sample] = [("", {"state": state}, n) for state, n in self._states.items()]
        yield _metric("targets", "gauge", "Targets of the last frame, by state.", states)

    def _of_publishers(self) -> Iterable[str]:
        for index, (name, text) in enumerate((("sent", "delivered"), ("dropped", "lost"))):
            samples: list[Sample] = [("", {"publisher": p}, n[index]) for p, n in self._publishers.items()]
            yield _metric(f"records_{name}_total", "counter", f"Track records {text}.", samples)

    def _of_host(self) -> Iterable[str]:
        celsius, weak = self._temperature_celsius, self._undervoltage
        temperature: list[Sample] = [("", {}, celsius)] if celsius is not None else []
        yield _metric("soc_temperature_celsius", "gauge", "Temperature of the processor.", temperature)
        undervoltage: list[Sample] = [("", {}, weak)] if weak is not None else []
        yield _metric("undervoltage", "gauge", "1 while the supply is too weak.", undervoltage)


class MetricsServer:
    """Answers GET /metrics over HTTP, one scraper after the other, on a thread of its own.

    A scraper that does not ask or read within a second is cut off.

    Args:
        config: where to listen; not nowhere.
        folder: of the unix socket `metrics.sock`.
        text: makes the answer.

    Raises:
        StorageError: the socket cannot be made, or the port is taken.
    """

    def __init__(self, config: MetricsConfig, folder: Path, text: Callable[[], str]) -> None:
        self._text = text
        self._log = LimitedLog(logger)
        if config.address is None:
            self._listener = listen(folder / "metrics.sock", BACKLOG)
        else:
            self._listener = _listen_tcp(config.address)
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer no more; a scraper that is being answered may hold this up for a second."""
        stop_listening(self._listener)
        self._thread.join(SCRAPE_S)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                with client:
                    self._answer(client, time.monotonic() + SCRAPE_S)
            except OSError as error:
                self._log.warning(f"metrics: a scraper was cut off ({error})")
            except Exception:
                logger.exception("metrics: a request failed")

    def _answer(self, client: socket.socket, deadline_s: float) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            client.settimeout(max(1e-3, deadline_s - time.monotonic()))
            more = client.recv(REQUEST_BYTES - len(request))
            if not more:
                return  # it left, or talks too much
            request += more
        status, body = self._reply(request.split(b"\r\n", 1)[0].split(b" "))
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        # Python counts the time of all parts together.
        client.settimeout(max(1e-3, deadline_s - time.monotonic()))
        client.sendall(head.encode() + body)

    def _reply(self, words: Sequence[bytes]) -> tuple[str, bytes]:
        if words[0] != b"GET":
            return "405 Method Not Allowed", b"only GET\n"
        if len(words) < 2 or words[1].split(b"?")[0] != b"/metrics":
            return "404 Not Found", b"see /metrics\n"
        return "200 OK", self._text().encode()


def _listen_tcp(address: tuple[str, int]) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        return socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        where = f"{address[0]} port {address[1]}"
        raise StorageError(
            f"cannot listen here ({error.strerror or error})", where=where, fix="change metrics.listen"
        ) from error


def _metric(name: str, kind: str, text: str, samples: Iterable[Sample]) -> str:
    name = f"cfvgg_{name}"
    lines = [f"# HELP {name} {text}\n", f"# TYPE {name} {kind}\n"]
    for suffix, labels, value in samples:
        pairs = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
        lines.append(f"{name}{suffix}{f'{{{pairs}}}' if pairs else ''} {_number(value)}\n")
    return "".join(lines)


def _number(value: float) -> str:
    return "+Inf" if value == math.inf else repr(float(value)).removesuffix(".0")


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
