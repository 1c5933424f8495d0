"""`cfvgg-edge preview` in a terminal: a picture of coloured half blocks, two pixels a character."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, cast

import cv2
import numpy as np

from edge_runtime.errors import ServiceError
from edge_runtime.preview.pictures import annotated
from edge_runtime.preview.relay import CONNECT_TIMEOUT_S, hung_up
from edge_runtime.preview.stream import JPEG, Part, PartReader, line
from edge_runtime.render import COLOURS
from edge_runtime.types import Frame, TrackState
from edge_runtime.unix_socket import connect

USUAL = {"width": 320, "max_rate_hz": 5.0}
SILENT_S = 2.0
# An alternate screen without a cursor, and back to what was there before.
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l\x1b[2J", "\x1b[0m\x1b[?25h\x1b[?1049l"
HOME, CLEAR_LINE, CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"
HALF_BLOCK = "▀"


def watch_in_terminal(path: Path, request: Mapping[str, Any]) -> None:
    """Show pictures until Ctrl-C; the terminal is left as it was.

    Args:
        path: of the service's socket.
        request: what is wanted, see `Rendition`; width and rate have smaller defaults here.

    Raises:
        ServiceError: standard output is no terminal; the service does not run, denies access or hangs up.
    """
    if not sys.stdout.isatty():
        raise ServiceError("standard output is no terminal", fix="give --stdout for the binary stream")
    with connect(path, CONNECT_TIMEOUT_S) as service:
        # Boxes are drawn here: after scaling down they would be too thin to see.
        service.sendall(line(USUAL | dict(request) | {"overlay": False}))
        service.setblocking(False)
        parts = PartReader()
        with _screen():
            came_s, state = time.monotonic(), "waiting for the first one"
            while True:
                silent = not select.select([service], [], [], SILENT_S)[0]
                if silent:
                    _write_last_line(f"no picture for {time.monotonic() - came_s:.0f} s; {state}")
                    continue
                part = _newest(service, parts)
                if part is not None:
                    came_s, state = time.monotonic(), state_line(part.record)
                    _show(part)


def half_blocks(picture: Frame) -> Iterator[str]:
    """Lines of half blocks in true colour.

    Args:
        picture: uint8 (2 * lines, columns, 3), BGR.
    """
    for upper, lower in zip(picture[0::2], picture[1::2], strict=True):
        cells, before = [], None
        for colours in np.hstack([upper[:, ::-1], lower[:, ::-1]]).tolist():
            if colours != before:
                cells.append("\x1b[38;2;{};{};{};48;2;{};{};{}m".format(*colours))
                before = colours
            cells.append(HALF_BLOCK)
        yield "".join(cells) + "\x1b[0m"


def fitted(image: Frame, columns: int, lines: int) -> Frame:
    """`image` as large as fits into so many characters, in its proportions, with an even number of rows."""
    rows = image.shape[0]
    scale = min(columns / image.shape[1], 2 * lines / rows)
    width = max(1, min(columns, round(image.shape[1] * scale)))
    height = max(2, min(2 * lines, 2 * round(rows * scale / 2)))
    return cast(Frame, cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


def state_line(record: Mapping[str, Any]) -> str:
    """State, confidence, frames a second, latency, age and frame in one line; what is unknown is left out."""
    forms = {
        "confidence": "{:.2f}",
        "fps": "{:.0f} fps",
        "latency_ms": "{:.1f} ms",
        "age_ms": "age {:.0f} ms",
    }
    known = [form.format(record[name]) for name, form in forms.items() if record[name] is not None]
    return "  ".join([record["state"], *known, f"frame {record['frame']}"])


def _newest(service: Any, parts: PartReader) -> Part | None:
    """The last picture that has arrived completely."""
    data = service.recv(1 << 18)
    if not data:
        raise hung_up()
    newest = None
    for part in parts.feed(data):
        if part.content_type == JPEG:
            newest = part
        elif not part.answer().get("ok"):
            raise ServiceError(str(part.answer().get("error")), where="preview")
    return newest


def _show(part: Part) -> None:
    image = cv2.imdecode(np.frombuffer(part.body, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        return
    size = os.get_terminal_size(sys.stdout.fileno())
    picture = annotated(fitted(cast(Frame, image), size.columns, max(1, size.lines - 1)), part.record, False)
    picture_lines = "".join(f"{text}{CLEAR_LINE}\r\n" for text in half_blocks(picture))
    blue, green, red = COLOURS[TrackState(part.record["state"])]
    state = f"\x1b[38;2;{red};{green};{blue}m{state_line(part.record)[: size.columns]}\x1b[0m"
    sys.stdout.write(f"{HOME}{picture_lines}{state}{CLEAR_LINE}{CLEAR_REST}")
    sys.stdout.flush()


def _write_last_line(text: str) -> None:
    size = os.get_terminal_size(sys.stdout.fileno())
    sys.stdout.write(f"\x1b[{size.lines};1H{text[: size.columns]}{CLEAR_LINE}")
    sys.stdout.flush()


@contextmanager
def _screen() -> Iterator[None]:
    """A screen of our own; given back whichever way this process ends."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        sys.stdout.write(ENTER)
        sys.stdout.flush()
        yield
    except KeyboardInterrupt:
        pass  # the usual way to stop watching
    finally:
        with suppress(OSError):  # the terminal itself may be gone
            sys.stdout.write(LEAVE)
            sys.stdout.flush()
        for number, handler in before.items():
            signal.signal(number, handler)
