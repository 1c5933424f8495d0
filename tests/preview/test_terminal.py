"""The terminal's picture: its characters, and the command on a real pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.preview.terminal import ENTER, HALF_BLOCK, LEAVE, fitted, half_blocks, state_line
from edge_runtime.types import TrackState
from tests.preview.helpers import EDGE, PATIENCE_S, ROOT, Service, wait_for

INK = re.compile(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;\d+;\d+;\d+m")


class Terminal:
    """A pseudo-terminal with the command on it."""

    def __init__(self, folder: Path) -> None:
        self.master, slave = pty.openpty()
        self.resize(60, 20)
        environment = os.environ | {"CFVGG_RUNTIME_DIR": str(folder)}
        self.process = subprocess.Popen(
            [*EDGE, "preview"], cwd=ROOT, env=environment, stdin=slave, stdout=slave, stderr=subprocess.PIPE
        )
        os.close(slave)
        self.text = ""

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self) -> str:
        """Everything written so far."""
        while select.select([self.master], [], [], 0.02)[0]:
            try:
                self.text += os.read(self.master, 1 << 16).decode("utf-8", "ignore")
            except OSError:  # the other side is closed
                break
        return self.text

    def frames(self) -> list[list[str]]:
        """Lines of each picture that is complete, the state line last."""
        pictures = self.read().split("\x1b[H")[1:]
        return [picture.split("\r\n") for picture in pictures if picture.endswith("\x1b[J")]

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        os.close(self.master)


@contextmanager
def terminal(folder: Path) -> Iterator[Terminal]:
    opened = Terminal(folder)
    try:
        yield opened
    finally:
        opened.close()


def ended(shown: Terminal) -> int:
    """Exit status, once it has ended; what it writes meanwhile is read."""
    wait_for(lambda: (shown.read(), shown.process.poll() is not None)[1], "the end")
    shown.read()
    return shown.process.returncode


def test_a_character_is_two_pixels() -> None:
    picture = np.zeros((4, 3, 3), np.uint8)
    picture[0, 0], picture[1, 0] = (1, 2, 3), (4, 5, 6)
    first, second = half_blocks(picture)
    # BGR in, RGB out; colours are written where they change.
    black = "\x1b[38;2;0;0;0;48;2;0;0;0m"
    assert first == f"\x1b[38;2;3;2;1;48;2;6;5;4m{HALF_BLOCK}{black}{HALF_BLOCK * 2}\x1b[0m"
    assert second == f"{black}{HALF_BLOCK * 3}\x1b[0m"


@pytest.mark.parametrize(
    ("size", "columns", "lines", "expected"),
    [
        ((320, 240), 80, 24, (64, 48)),
        ((320, 240), 40, 24, (40, 30)),
        ((640, 64), 80, 24, (80, 8)),
        ((64, 640), 80, 24, (5, 48)),
        ((320, 240), 1, 1, (1, 2)),
    ],
)
def test_pictures_fit_in_their_proportions(
    size: tuple[int, int], columns: int, lines: int, expected: tuple[int, int]
) -> None:
    picture = fitted(np.zeros((size[1], size[0], 3), np.uint8), columns, lines)
    assert (picture.shape[1], picture.shape[0]) == expected


def test_the_state_line_leaves_out_what_is_unknown() -> None:
    known = {
        "state": "lost",
        "confidence": 0.123,
        "fps": 29.7,
        "latency_ms": 4.26,
        "age_ms": 12.3,
        "frame": 5,
    }
    assert state_line(known) == "lost  0.12  30 fps  4.3 ms  age 12 ms  frame 5"
    unknown = dict.fromkeys(known) | {"frame": 0, "state": "searching"}
    assert state_line(unknown) == "searching  frame 0"


def test_a_terminal_shows_pictures_with_the_box_follows_its_size_and_is_given_back(tmp_path: Path) -> None:
    with Service(tmp_path) as service, terminal(tmp_path) as shown:
        first = wait_for(shown.frames, "a picture")[-1]
        assert shown.text.startswith(ENTER)
        assert len(first) == 20  # as high as 19 lines of two pixels allow, and the state
        assert first[0].count(HALF_BLOCK) == 51  # 38 rows of a picture of 4:3
        assert re.search(r"tracking  0\.87  30 fps  4\.2 ms  age \d+ ms  frame \d+", first[-1])
        green = [tuple(map(int, ink)) for ink in INK.findall("".join(first))].count((0, 158, 115))
        assert green > 5

        service.state = TrackState.LOST
        shown.resize(30, 30)
        wait_for(lambda: "lost" in shown.frames()[-1][-1], "the new state")
        wait_for(lambda: len(shown.frames()[-1]) == 12, "the new size")
        assert shown.frames()[-1][0].count(HALF_BLOCK) == 30

        shown.process.send_signal(signal.SIGINT)
        assert ended(shown) == 0
        assert shown.text.endswith(LEAVE)
        wait_for(lambda: not service.preview.watched, "the watcher to be gone")


def test_pictures_come_a_few_times_a_second(tmp_path: Path) -> None:
    with Service(tmp_path), terminal(tmp_path) as shown:
        wait_for(shown.frames, "a picture")
        start_s, before = time.monotonic(), len(shown.frames())
        wait_for(lambda: len(shown.frames()) >= before + 6, "six more")
        assert time.monotonic() - start_s > 0.9


def test_a_camera_that_stops_is_said(tmp_path: Path) -> None:
    with Service(tmp_path) as service, terminal(tmp_path) as shown:
        wait_for(shown.frames, "a picture")
        service.silent = True
        wait_for(lambda: "no picture for 2 s" in shown.read(), "the message")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_terminal_is_given_back_when_it_is_ended(tmp_path: Path, number: int, status: int) -> None:
    with Service(tmp_path), terminal(tmp_path) as shown:
        wait_for(shown.frames, "a picture")
        shown.process.send_signal(number)
        assert ended(shown) == status
        assert shown.text.endswith(LEAVE)


def test_a_service_that_ends_gives_the_terminal_back_and_is_one_line(tmp_path: Path) -> None:
    with Service(tmp_path) as service, terminal(tmp_path) as shown:
        wait_for(shown.frames, "a picture")
        service.close()
        assert ended(shown) == 5
        assert shown.text.endswith(LEAVE)
        assert shown.process.stderr is not None
        err = shown.process.stderr.read().decode()
        assert err == "cfvgg-edge: the service closed the preview; see why: journalctl -u cfvgg-edge\n"


def test_without_a_terminal_the_fix_is_named(tmp_path: Path) -> None:
    environment = os.environ | {"CFVGG_RUNTIME_DIR": str(tmp_path)}
    command = [*EDGE, "preview"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    expected = "cfvgg-edge: standard output is no terminal; give --stdout for the binary stream\n"
    assert (done.returncode, done.stdout, done.stderr) == (5, "", expected)
