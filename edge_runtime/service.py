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
from edge_runtime.files import storage_errors
from edge_runtime.host import Host, host_name
from edge_runtime.metrics import Metrics
from edge_runtime.notify import Notifier
from edge_runtime.outputs import Outputs
from edge_runtime.preview import Preview
from edge_runtime.records import TrackRecord, rounded
from edge_runtime.runtime_folder import runtime_folder
from edge_runtime.sources import CapturedFrame, FrameSource
from edge_runtime.status import resident_mb
from edge_runtime.targets.targets import Targets

KEPT_FRAMES = 300  # rate and latencies are those of so many frames


class Service:
    """Sockets in the runtime folder, and what they answer.

    Args:
        config: `device`, `preview` and `metrics` are used.
        source: open.
        targets: what commands are about.
        model: label of the tracker and its network.

    Attributes:
        commands: the `Handle` that all ways in share.

    Raises:
        StorageError: the runtime folder cannot be written, or another service runs.
    """

    def __init__(self, config: Config, source: FrameSource, targets: Targets, model: str) -> None:
        self._source, self._targets, self._model = source, targets, model
        self._device = config.device.name or host_name()
        self.commands = Commands(targets, self.status)
        self._host, self._started_s = Host(), time.monotonic()
        self._frames, self._watched_frames = 0, 0
        self._times_s: deque[float] = deque(maxlen=KEPT_FRAMES)
        self._latencies_ms: deque[float] = deque(maxlen=KEPT_FRAMES)
        self._records: Sequence[TrackRecord] = ()
        self.outputs: Outputs | None = None
        folder = runtime_folder()
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        with contextlib.ExitStack() as opened:
            self._notifier = Notifier()
            self._control = ControlServer(folder / "control.sock", self.commands)
            opened.callback(self._control.close)
            self._preview = Preview(folder / "preview.sock", config.preview, self.commands)
            opened.callback(self._preview.close)
            self._metrics = Metrics(self._device, model)
            self._closing = opened.pop_all()

    def frame_done(
        self, frame: CapturedFrame, records: Sequence[TrackRecord], loop_s: float, fps: float | None
    ) -> None:
        """A frame has gone through the loop, in `loop_s` seconds."""
        self._notifier.frame()
        self._frames += 1
        self._records = records
        self._times_s.append(time.monotonic())
        latencies_ms = [record.latency_ms for record in records if record.latency_ms is not None]
        if latencies_ms:
            self._latencies_ms.append(sum(latencies_ms))
        for record in records:
            self._metrics.frame(record, loop_s)
        if self._preview.watched and records:
            self._preview.offer(frame.image, records[0], fps)

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
                "frame_size": list(self._source.frame_size),
                "condition": self._source.condition,
                "restarts": self._source.restarts,
                "dropped": dict(self._source.dropped),
            },
            "loop": self._loop(),
            "model": self._model,
            "paused": self._targets.paused,
            "targets": self._targets.summary(),
            "publishers": {},
            "watchers": self._preview.watchers,
            "memory_mb": rounded(resident_mb(), 1),
            "host": self._host_status(),
        }

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
        return {"clock_synced": status.clock_synced, "throttled": status.throttled}
