"""A TraX server: any preset as a program that the VOT toolkit can run (`protocol = trax`).

    cfvgg-edge trax --preset fkcf --bundle bundle/

Lines on standard input and output, as in Cehovin 2017, "TraX: the visual tracking exchange protocol and
library": `@@TRAX:`, the message's name, arguments in double quotes, then `"key=value"` properties.
Version 3 of the protocol, where a session has one object: `initialize` carries image and region.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import unquote

from edge_runtime.config import Config
from edge_runtime.errors import BoxError, CfvggError, SourceError
from edge_runtime.sources.folder import read_picture
from edge_runtime.trackers import build_tracker
from edge_runtime.types import Box, Tracker, TrackResult, TrackState, check_box

PREFIX = "@@TRAX:"
VERSION = 3
ARGUMENTS = {"initialize": 2, "frame": 1, "quit": 0}  # of each message that a client sends
ARGUMENT = re.compile(r'\s+(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?=\s|$)')
PROPERTY = re.compile(r"([A-Za-z0-9._]{1,64})=(.*)", re.DOTALL)
INTERRUPTED = 130


@dataclass(frozen=True)
class Message:
    """One message: its name, the arguments that it must have, and its properties."""

    name: str
    arguments: tuple[str, ...]
    properties: dict[str, str]


def parse_message(line: str, where: str) -> Message | None:
    """The client's message in a line; None for a line without the prefix, which is somebody's chatter.

    Raises:
        SourceError: the line starts like a message and is none.
    """
    if not line.startswith(PREFIX):
        return None
    name, *rest = re.split(r"(?=\s)", line.rstrip()[len(PREFIX) :], maxsplit=1)
    if name not in ARGUMENTS:
        raise SourceError(f"{name!r:.40} is no message", where=where, fix=f"send {', '.join(ARGUMENTS)}")
    values = _arguments("".join(rest), where)
    count = ARGUMENTS[name]
    if len(values) < count:
        raise SourceError(f"{name} has {len(values)} arguments, not {count}", where=where)
    properties = {}
    for value in values[count:]:
        found = PROPERTY.fullmatch(value)
        if found is None:
            raise SourceError(f"{value!r:.60} is not a property", where=where, fix="send key=value")
        properties[found[1]] = found[2]
    return Message(name, tuple(values[:count]), properties)


def format_message(message: Message) -> str:
    """A message as a line, without its end."""
    named = (f"{key}={value}" for key, value in message.properties.items())
    return " ".join([PREFIX + message.name, *map(_quoted, [*message.arguments, *named])])


def parse_region(text: str, where: str) -> Box:
    """A rectangle `left,top,width,height`, 0-based pixels. Raises `BoxError` when it is none."""
    try:
        x, y, w, h = (float(value) for value in text.split(","))
    except ValueError as error:
        raise BoxError(
            f"{text!r:.60} is not a rectangle", where=where, fix="send left,top,width,height"
        ) from error
    return Box(x, y, w, h)


def image_path(uri: str, where: str) -> Path:
    """The file that an image argument names: a `file:` URI, or an absolute path.

    Clients differ in whether they write blanks and the like as %20: the name that exists is right.

    Raises:
        SourceError: it is another kind of image.
    """
    path = re.sub(r"^file:(//(localhost(?=/))?)?", "", uri)
    if not path.startswith("/"):
        raise SourceError(f"{uri!r:.60} is not a file", where=where, fix="send images as file:///…")
    return Path(path) if Path(path).exists() else Path(unquote(path))


class TraxServer:
    """One session.

    Args:
        make: gives the tracker; called at the first `initialize`, so that what it raises reaches the client.
        name: of the tracker, for the client.
        reader, writer: text streams; every message is flushed.
        log: where errors go, one line each.
    """

    def __init__(
        self, make: Callable[[], Tracker], name: str, reader: TextIO, writer: TextIO, log: TextIO
    ) -> None:
        self._make, self._name = make, name
        self._reader, self._writer, self._log = reader, writer, log
        self._tracker: Tracker | None = None
        self._started = False

    def serve(self) -> int:
        """Answer until the client quits, goes away, or an error ends the session. Returns the exit status.

        An error reaches the client as the reason of a `quit`, and the log as a line; anything but a
        `CfvggError` is raised again.
        """
        try:
            self._hello()
            for number, line in enumerate(self._reader, 1):
                if not line.endswith("\n"):
                    break  # the client died while it wrote
                message = parse_message(line, f"TraX line {number}")
                if message is not None and message.name == "quit":
                    break
                if message is not None:
                    self._answer(message, f"TraX line {number}")
        except BrokenPipeError:
            return 0
        except CfvggError as error:
            print(f"{self._name}: {error}", file=self._log, flush=True)
            self._quit(str(error))
            return error.exit_code
        except Exception as error:
            self._quit(f"internal error ({type(error).__name__}), see the tracker's log")
            raise
        return 0

    def _answer(self, message: Message, where: str) -> None:
        if message.name == "initialize":
            image = read_picture(image_path(message.arguments[0], where))
            box = check_box(parse_region(message.arguments[1], where), image.shape)
            self._tracker = self._tracker or self._make()
            self._started = False
            self._tracker.init(image, box)
            self._started = True
            self._state(TrackResult(box, 1.0, math.nan, TrackState.TRACKING, 0.0))
        elif self._tracker is None or not self._started:
            raise SourceError("a frame before the target", where=where, fix="send initialize first")
        else:
            self._state(self._tracker.update(read_picture(image_path(message.arguments[0], where))))

    def _hello(self) -> None:
        properties = {
            "trax.version": str(VERSION),
            "trax.name": self._name,
            "trax.family": "cfvgg",
            "trax.image": "path;",
            "trax.region": "rectangle;",
            "trax.channels": "color;",
        }
        self._send(Message("hello", (), properties))

    def _state(self, result: TrackResult) -> None:
        # `confidence` is what the toolkit's long-term measures read.
        properties = {"confidence": f"{result.score:.6f}", "state": str(result.state)}
        if math.isfinite(result.psr):
            properties["psr"] = f"{result.psr:.3f}"
        region = ",".join(f"{value:.4f}" for value in result.box)
        self._send(Message("state", (region,), properties))

    def _quit(self, reason: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody may be left to be told
            self._send(Message("quit", (), {"trax.reason": reason}))

    def _send(self, message: Message) -> None:
        self._writer.write(format_message(message) + "\n")
        self._writer.flush()


def serve_stdio(config: Config) -> int:
    """A session over this process's standard streams. Returns the exit status.

    Whatever else writes to standard output meanwhile, libraries included, comes out on standard error.
    """
    sys.stdout.flush()
    protocol_out = os.dup(1)
    try:
        os.dup2(2, 1)
        with (
            open(0, encoding="utf-8", errors="replace", closefd=False) as reader,
            open(protocol_out, "w", encoding="utf-8", closefd=False) as writer,
        ):
            server = TraxServer(
                lambda: build_tracker(config), config.tracker.preset, reader, writer, sys.stderr
            )
            return server.serve()
    except BrokenPipeError:  # what was left to flush when the writer closed
        return 0
    except KeyboardInterrupt:  # the client's terminal; it goes away as well
        return INTERRUPTED
    finally:
        sys.stdout.flush()  # what Python still holds back is no message either
        os.dup2(protocol_out, 1)
        os.close(protocol_out)


def _arguments(text: str, where: str) -> list[str]:
    values, position = [], 0
    while position < len(text):
        match = ARGUMENT.match(text, position)
        if match is None:
            raise SourceError(f"has a bad argument {text[position:].strip()!r:.60}", where=where)
        quoted, bare = match.groups()
        values.append(bare if quoted is None else re.sub(r"\\(.)", _unescape, quoted))
        position = match.end()
    return values


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _unescape(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]
