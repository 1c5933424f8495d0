"""What goes on beside the loop of a live run: commands, preview, metrics, the watchdog, `status`."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_runtime.config import Config
from edge_runtime.control import Commands, ControlServer
from edge_runtime.deployment.place import check_trial
from edge_runtime.files import storage_errors
from edge_runtime.host import Host, host_name, release_memory, settle_memory
from edge_runtime.metrics import Metrics, MetricsServer
from edge_runtime.notify import Notifier
from edge_runtime.outputs import Outputs
from edge_runtime.preview.server import Preview
from edge_runtime.records import RecordMaker, TrackRecord, rounded
from edge_runtime.runner import ModelIdentity
from edge_runtime.runtime_folder import runtime_folder
from edge_runtime.sources import CapturedFrame, FrameSource
from edge_runtime.status import resident_mb
from edge_runtime.targets.targets import Targets

KEPT_FRAMES = 300  # rate and latencies are those of so many frames
COUNTED_EVERY_S = 1.0
RELEASED_EVERY_S = 60.0  # see `release_memory`; 2 to 4 ms
UNDERVOLTAGE = 1  # bit of `HostStatus.throttled`


class Service:
    """Sockets in the runtime folder, and what they answer.

    Args:
        config: `device`, `preview`, `metrics` and what `Outputs` uses.
        source: open.
        targets: what commands are about.
        model: of the tracker and its network.

    Attributes:
        outputs: of this run, which take commands too; closing them is the loop's business.

    Raises:
        StorageError: the runtime folder cannot be written, or another service runs.
        DependencyError, ConfigError: a publisher lacks something.
    """

    def __init__(self, config: Config, source: FrameSource, targets: Targets, model: ModelIdentity) -> None:
        self._source, self._targets, self._model = source, targets, model.label
        self._bundle = model.bundle
        self._device = config.device.name or host_name()
        self._make_record = RecordMaker(self._device, model.sha256)
        self._host, self._started_s = Host(), time.monotonic()
        self._frames, self._counted_s, self._released_s = 0, -float("inf"), self._started_s
        self._times_s: deque[float] = deque(maxlen=KEPT_FRAMES)
        self._latencies_ms: deque[float] = deque(maxlen=KEPT_FRAMES)
        self._notifier = Notifier()
        self._metrics = Metrics(self._device, model.label)
        commands = Commands(targets, self.status)
        self.outputs = Outputs(config, commands, live=True)
        self._preview: Preview | None = None
        folder = runtime_folder()
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        with contextlib.ExitStack() as opened:
            # First of all: if another service runs, this is what finds it.
            opened.callback(ControlServer(folder / "control.sock", commands).close)
            if config.preview.enabled:
                self._preview = Preview(folder / "preview.sock", config.preview, commands)
                opened.callback(self._preview.close)
            if config.metrics.listen:
                opened.callback(MetricsServer(config.metrics, folder, self._metrics.text).close)
            opened.callback(self.outputs.close)
            self.outputs.open_publishers()
            self._closing = opened.pop_all()

    def frame_done(
        self, frame: CapturedFrame, records: Sequence[TrackRecord], loop_s: float, fps: float | None
    ) -> None:
        """A frame has gone through the loop, in `loop_s` seconds.

        Raises:
            AbandonedError: the bundle was on a trial that was cut off.
        """
        if not self._frames:
            self._notifier.ready(f"{self._source.uri}: frames arrive")
            settle_memory()
        self._notifier.frame()
        self._frames += 1
        self._times_s.append(time.monotonic())
        latencies_ms = [record.latency_ms for record in records if record.latency_ms is not None]
        if latencies_ms:
            self._latencies_ms.append(sum(latencies_ms))
        self._metrics.frame(records, loop_s)
        if self._times_s[-1] - self._counted_s >= COUNTED_EVERY_S:
            self._counted_s = self._times_s[-1]
            self._count()
        if self._times_s[-1] - self._released_s >= RELEASED_EVERY_S:
            self._released_s = self._times_s[-1]
            release_memory()
        if self._preview is not None and self._preview.watched:
            shown = records or [self._make_record(frame, None, self._host.status())]
            self._preview.offer(frame.image, shown, fps)

    def close(self) -> None:
        """Remove the sockets."""
        self._notifier.stopping()
        self._closing.close()

    def status(self) -> dict[str, Any]:
        """What `cfvgg-edge status` shows."""
        return {
            "device": self._device,
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._started_s, 1),
            "source": {
                "uri": self._source.uri,
                "rate_hz": self._source.frame_rate_hz,
                "frame_size": list(self._source.frame_size),
                "condition": self._source.condition,
                "restarts": self._source.restarts,
                "dropped": dict(self._source.dropped),
                "clock_jumps": self._source.clock_jumps,
            },
            "loop": self._loop(),
            "model": self._model,
            "bundle": str(self._bundle) if self._bundle is not None else None,
            "paused": self._targets.paused,
            "targets": self._targets.summary(),
            "publishers": {p.name: {"sent": p.sent, "dropped": p.dropped} for p in self.outputs.publishers},
            "watched": self._preview is not None and self._preview.watched,
            "memory_mb": rounded(resident_mb(), 1),
            "host": self._host_status(),
        }

    def _count(self) -> None:
        """What need not be told, or looked at, in every frame."""
        if self._bundle is not None:
            check_trial(self._bundle)
        self._metrics.dropped(self._source.dropped)
        self._metrics.restarts(self._source.restarts)
        for publisher in self.outputs.publishers:
            self._metrics.publisher(publisher.name, publisher.sent, publisher.dropped)
        status = self._host.status()
        throttled = status.throttled
        weak = None if throttled is None else bool(throttled & UNDERVOLTAGE)
        self._metrics.host(status.temperature_celsius, weak)
        self._notifier.status(self._summary())

    def _summary(self) -> str:
        """One line for `systemctl status`."""
        states = ", ".join(f"{t['track_id']} {t['state']}" for t in self._targets.summary())
        rate_hz = self._loop()["rate_hz"]
        rate = "rate unknown" if rate_hz is None else f"{rate_hz:.1f} Hz"
        return f"{rate}; {'paused' if self._targets.paused else states or 'searching'}"

    def _loop(self) -> dict[str, Any]:
        times_s, latencies_ms = list(self._times_s), list(self._latencies_ms)
        span_s = times_s[-1] - times_s[0] if len(times_s) > 1 else 0.0
        p50_ms, p95_ms = np.percentile(latencies_ms, [50, 95]) if latencies_ms else (None, None)
        return {
            "frames": self._frames,
            "last_frame_s": round(time.monotonic() - times_s[-1], 2) if times_s else None,
            "rate_hz": round((len(times_s) - 1) / span_s, 2) if span_s else None,
            "p50_ms": rounded(p50_ms, 2),
            "p95_ms": rounded(p95_ms, 2),
        }

    def _host_status(self) -> dict[str, Any]:
        status = self._host.status()
        return {
            "clock_synced": status.clock_synced,
            "throttled": status.throttled,
            "temperature_celsius": status.temperature_celsius,
        }
