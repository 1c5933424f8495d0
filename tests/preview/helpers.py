"""A service without a tracker: frames of the fake camera, records with the true box, commands kept."""

from __future__ import annotations

import itertools
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edge_runtime.host import HostStatus
from edge_runtime.preview.server import Preview
from edge_runtime.preview.settings import PreviewConfig
from edge_runtime.preview.stream import JPEG, Part, PartReader, line
from edge_runtime.records import RecordMaker, TrackRecord
from edge_runtime.sources import CapturedFrame, FakeSource
from edge_runtime.sources.fake import FakeScript
from edge_runtime.types import TrackResult, TrackState
from edge_runtime.unix_socket import connect
from tests.edge.helpers import SHA256

ROOT = Path(__file__).parents[2]
# As long as a loaded machine may take; nothing waits for all of it when things work.
PATIENCE_S = 60.0
EDGE = [sys.executable, "-c", "from edge_runtime.cli import main; main()"]


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """Wait until `condition` returns something true, and return that."""
    end_s = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < end_s, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.01)
    return value


class Closing:
    """Closes at the end of a `with`."""

    def close(self) -> None:
        raise AssertionError("a subclass closes something")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Commands:
    """Answers commands as the service would, and keeps them."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.paused = False

    def __call__(self, command: Mapping[str, Any]) -> dict[str, Any]:
        self.received.append(dict(command))
        name = command.get("command")
        if name == "status":
            dropped = {"overrun": 3, "corrupt": 1, "size": 0}
            return {"ok": True, "status": {"paused": self.paused, "source": {"dropped": dropped}}}
        if name in ("pause", "resume"):
            self.paused = name == "pause"
        elif name not in ("select", "clear"):
            return {"ok": False, "error": f"unknown command {name!r}"}
        return {"ok": True}

    def named(self, name: str) -> list[dict[str, Any]]:
        """Those of one name."""
        return [command for command in self.received if command.get("command") == name]


def record_of(source: FakeSource, index: int, state: TrackState = TrackState.TRACKING) -> TrackRecord:
    """The record of frame `index`, with the true box, taken now."""
    frame = CapturedFrame(source.image(index), index, time.monotonic_ns(), time.time())
    searching = state is TrackState.SEARCHING
    result = None if searching else TrackResult(source.box(index), 0.87, 12.0, state, 4.2)
    return RecordMaker("pi", SHA256)(frame, result, HostStatus(True, 0))


class Service(Closing):
    """A loop of its own thread that shows the fake camera to whoever watches.

    Attributes:
        state: of the records.
        still: the frame that is shown for ever; None for the camera's own course.
        others: records of more targets.
        silent: whether the camera stands still.
    """

    def __init__(
        self,
        folder: Path,
        config: PreviewConfig | None = None,
        rate_hz: float = 30.0,
        script: FakeScript | None = None,
    ) -> None:
        self.path = folder / "preview.sock"
        self.commands = Commands()
        self.source = FakeSource(script or FakeScript(frames=90))
        self.state = TrackState.TRACKING
        self.still: int | None = None
        self.others: list[TrackRecord] = []
        self.silent = False
        self.offered = 0
        self._period_s = 1 / rate_hz
        self._ending = threading.Event()
        self.preview = Preview(self.path, config or PreviewConfig(), self.commands)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for count in itertools.count():
            if self._ending.wait(self._period_s):
                return
            if self.preview.watched and not self.silent:
                index = self.still if self.still is not None else count
                record = record_of(self.source, index, self.state)
                self.preview.offer(self.source.image(index), [record, *self.others], 29.7)
                self.offered += 1

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self.preview.close()


class Client(Closing):
    """A watcher that reads when it is told to."""

    def __init__(self, path: Path, request: Mapping[str, Any] | bytes | None = None) -> None:
        self.socket: socket.socket = connect(path, PATIENCE_S)
        self.parts = PartReader()
        self._held: list[Part] = []
        if request is not None:
            self.send(request)

    def send(self, message: Mapping[str, Any] | bytes) -> None:
        self.socket.sendall(message if isinstance(message, bytes) else line(message))

    def next(self, content_type: str = JPEG) -> Part:
        """The next part of a kind; others are passed over."""
        while True:
            while self._held:
                part = self._held.pop(0)
                if part.content_type == content_type:
                    return part
            data = self.socket.recv(1 << 16)
            assert data, "hung up"
            self._held += self.parts.feed(data)

    def waiting(self, timeout_s: float) -> list[Part]:
        """Every part that comes in so long a time."""
        end_s = time.monotonic() + timeout_s
        found, self._held = self._held, []
        while (left_s := end_s - time.monotonic()) > 0:
            if select.select([self.socket], [], [], left_s)[0]:
                data = self.socket.recv(1 << 16)
                if not data:
                    break
                found += self.parts.feed(data)
        return found

    def hung_up(self) -> bool:
        """Whether the other end has closed; what was sent before is thrown away."""
        with suppress(ConnectionResetError):
            while self.socket.recv(1 << 16):
                pass
        return True

    def close(self) -> None:
        self.socket.close()
