"""Fuzzed: what comes over the service's sockets and by MQTT."""

from __future__ import annotations

import itertools
import json
import logging
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.fuzz.outcome import Target, check_line, check_reply, refusing
from edge_runtime.config import load_config
from edge_runtime.control import Commands, answer
from edge_runtime.errors import CfvggError, ServiceError
from edge_runtime.host import HostStatus
from edge_runtime.preview.pictures import Offer, encoded_part
from edge_runtime.preview.server import Preview
from edge_runtime.preview.settings import PreviewConfig
from edge_runtime.preview.stream import BOUNDARY, JSON, PartReader, jpeg_part, json_part
from edge_runtime.preview.watcher import Watcher
from edge_runtime.publishers.topics import command_of
from edge_runtime.records import RecordMaker
from edge_runtime.sources.base import CapturedFrame
from edge_runtime.sources.fake import FakeSource
from edge_runtime.targets.targets import Targets
from edge_runtime.trackers import make_tracker

COMMANDS = (
    *(b'{"command": "select", "box": [60, 60, 40.5, 40]}', b'{"command": "clear", "track_id": 1}'),
    *(b'{"command": "clear"}', b'{"command": "pause"}', b'{"command": "resume"}', b'{"command": "status"}'),
)
MOST_TARGETS = 2
FRAME = CapturedFrame(FakeSource().image(0), 0, 0, 1.7e9)


SERVICE_LOG = logging.getLogger("edge_runtime")


class Unexpected(BaseException):
    """The service caught an exception that it did not expect; it reaches us through whatever catches more."""


class Raising(logging.Handler):
    """Makes of a logged exception a raised one, while it is a handler of `SERVICE_LOG`."""

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        if record.exc_info is not None:
            raise Unexpected from record.exc_info[1]


class Rig:
    """Targets with real trackers, and the commands about them."""

    def __init__(self) -> None:
        self._config = load_config(None, {"tracker.preset": "kcf", "target.most": MOST_TARGETS})
        self._trackers = itertools.cycle([make_tracker(self._config, None) for _ in range(MOST_TARGETS + 1)])
        self.reset()

    def reset(self) -> None:
        """As if the service had just started, and seen a frame."""
        self._targets = Targets(self._config.target, lambda: next(self._trackers), None)
        self._commands = Commands(self._targets, lambda: {"targets": self._targets.summary()})
        self.see()

    def see(self) -> None:
        """The next frame, in which commands take effect."""
        self._targets.frame(FRAME)

    def handle(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What the service's `Handle` does."""
        return self._commands(request)


def control(_: Path) -> Target:
    """Lines on control.sock, with a frame after each."""
    rig = Rig()

    def check(data: bytes) -> None:
        rig.reset()
        for line in data.split(b"\n"):
            reply = answer(rig.handle, line)
            check_reply(json.loads(json.dumps(reply, allow_nan=False)))
            rig.see()

    return Target(check, (*COMMANDS, b"\n".join(COMMANDS)))


def mqtt(_: Path) -> Target:
    """Messages: the topic's last level, a line end, and the payload."""
    rig = Rig()

    def check(data: bytes) -> None:
        rig.reset()
        name, _, payload = data.partition(b"\n")
        try:
            reply = rig.handle(command_of(name.decode(errors="replace"), payload))
        except ValueError as error:
            check_line(str(error))
        else:
            check_reply(json.loads(json.dumps({"command": "x"} | reply, allow_nan=False)))
        rig.see()

    boxes = (b"target\n60,60,40,40", b"target\n[60,60,40.5,40]", b'target\n{"box": [60,60,40,40]}')
    return Target(check, (*boxes, b"clear\n", b"status\n", b"pause\nx"))


def preview(folder: Path) -> Target:
    """A watcher's lines: the request, then reports and commands. What it asked for is then sent to it."""
    rig = Rig()
    server = Preview(folder / "preview.sock", PreviewConfig(), rig.handle)
    server.close()  # its lines are given to it here, not by its thread
    record = RecordMaker("pi", None)(FRAME, None, HostStatus(True, 0))

    def check(data: bytes) -> None:
        rig.reset()
        here, there = socket.socketpair()
        with here, there:
            watcher, reader = Watcher(here, 0.0), PartReader()
            there.setblocking(False)
            there.sendall(data[:16_000])
            with refusing(CfvggError):
                for line in watcher.lines() if data else []:
                    server._receive(watcher, line)
                    rig.see()
            if watcher.rendition is not None:
                watcher.show(encoded_part(Offer(FRAME.image, (record,), 30.0), watcher.rendition), 0, 0.0)
            for part in reader.feed(there.recv(1 << 20)):
                if part.content_type == JSON:
                    check_reply(part.answer())

    request = b'{"width": 320, "quality": 60, "max_rate_hz": 5.5, "overlay": true}\n'
    return Target(check, (request, b'{}\n{"received": 0}\n' + b"\n".join(COMMANDS) + b"\n"))


def preview_stream(_: Path) -> Target:
    """What a host reads of a device's preview."""

    def check(data: bytes) -> None:
        reader = PartReader()
        with refusing(ServiceError):
            for start in range(0, len(data), 1000):
                for part in reader.feed(data[start : start + 1000]):
                    part.answer()

    picture = jpeg_part({"frame": 1, "fps": None}, b'{"not": "a picture"}')
    reply = json_part({"ok": True})
    return Target(check, (b"Welcome!\n" + BOUNDARY + picture + reply, BOUNDARY + reply))
