"""The protocol on streams in memory, and a session with a real process."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime import cli
from edge_runtime.adapters import trax
from edge_runtime.adapters.trax import Message, TraxServer, format_message, image_path, parse_message
from edge_runtime.config import load_config
from edge_runtime.errors import BundleError, SourceError
from edge_runtime.types import Box, Tracker, TrackState
from tests.adapters.helpers import SIZE_CHANGED, ScriptedTracker, result

ROOT = Path(__file__).parents[2]
HELLO = (
    '@@TRAX:hello "trax.version=3" "trax.name=ours" "trax.family=cfvgg" "trax.image=path;" '
    '"trax.region=rectangle;" "trax.channels=color;"'
)
STARTED = '@@TRAX:state "10.0000,20.0000,30.0000,15.5000" "confidence=1.000000" "state=tracking"'


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture whose name needs care."""
    path = tmp_path / 'frame "1" =100%20.png'
    assert cv2.imwrite(str(path), np.full((60, 80, 3), 7, np.uint8))
    return path


def request(name: str, *arguments: object, **properties: str) -> str:
    return format_message(Message(name, tuple(map(str, arguments)), properties)) + "\n"


class Session:
    """What a server answered to some text."""

    def __init__(self, tracker: Tracker | Callable[[], Tracker], text: str) -> None:
        self.made = 0
        self._tracker = tracker
        writer, log = io.StringIO(), io.StringIO()
        self.status = TraxServer(self._make, "ours", io.StringIO(text), writer, log).serve()
        self.lines, self.log = writer.getvalue().splitlines(), log.getvalue()

    def _make(self) -> Tracker:
        self.made += 1
        return self._tracker() if callable(self._tracker) else self._tracker


def test_a_session(picture: Path) -> None:
    lost = result((1.25, -2, 3, 4), 0.125, TrackState.LOST)
    tracker = ScriptedTracker([result((11, 21, 30, 15.5)), lost])
    start = request("initialize", picture.as_uri(), "10,20,30,15.5", anything="is ignored")
    frame = request("frame", f"file://{picture}", time="33")
    session = Session(tracker, start + frame + "chatter\n\n" + frame + start + request("quit") + frame)
    assert session.lines == [
        HELLO,
        STARTED,
        '@@TRAX:state "11.0000,21.0000,30.0000,15.5000" "confidence=0.900000" "state=tracking" "psr=20.000"',
        '@@TRAX:state "1.2500,-2.0000,3.0000,4.0000" "confidence=0.125000" "state=lost" "psr=20.000"',
        STARTED,
    ]
    assert (session.status, session.log, session.made) == (0, "", 1)
    assert tracker.boxes == [Box(10, 20, 30, 15.5)] * 2
    assert [int(image.mean()) for image in tracker.shown] == [7] * 4


@pytest.mark.parametrize("text", ["", "@@TRAX:fra", "@@TRAX:quit\n", '@@TRAX:quit "trax.reason=enough"\n'])
def test_clients_may_go_at_any_time(text: str) -> None:
    session = Session(ScriptedTracker(), text)
    assert (session.status, session.lines, session.log, session.made) == (0, [HELLO], "", 0)


def test_a_client_that_is_gone_is_no_error(picture: Path) -> None:
    class Gone(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    log = io.StringIO()
    assert TraxServer(ScriptedTracker, "ours", io.StringIO(), Gone(), log).serve() == 0
    assert log.getvalue() == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("@@TRAX:reset\n", "TraX line 1: 'reset' is no message; send initialize, frame, quit"),
        ("@@TRAX:\n", "TraX line 1: '' is no message; send initialize, frame, quit"),
        ("@@TRAX:frame\n", "TraX line 1: frame has 0 arguments, not 1"),
        ('@@TRAX:initialize "file:///a.jpg"\n', "TraX line 1: initialize has 1 arguments, not 2"),
        ('@@TRAX:frame "file:///a.jpg\n', "TraX line 1: has a bad argument '\"file:///a.jpg'"),
        ('@@TRAX:frame "file:///a.jpg"x\n', "TraX line 1: has a bad argument '\"file:///a.jpg\"x'"),
        ('@@TRAX:frame "file:///a.jpg" extra\n', "TraX line 1: 'extra' is not a property; send key=value"),
        ('@@TRAX:frame "file:///a.jpg"\n', "TraX line 1: a frame before the target; send initialize first"),
        ('\n@@TRAX:initialize "image:4;4;rgb;AA" "1,2,3,4"\n',
         "TraX line 2: 'image:4;4;rgb;AA' is not a file; send images as file:///…"),
        ('@@TRAX:initialize "file:///no/such.jpg" "1,2,3,4"\n',
         "/no/such.jpg: cannot be decoded as a picture; remove or replace it"),
        ('@@TRAX:initialize "file://PICTURE" "1,2,3,4,5,6"\n',
         "TraX line 1: '1,2,3,4,5,6' is not a rectangle; send left,top,width,height"),
        ('@@TRAX:initialize "file://PICTURE" "1,2,nan,4"\n', "box 1,2,nan,4 is not finite"),
        ('@@TRAX:initialize "file://PICTURE" "90,2,3,4"\n', "box 90,2,3,4 lies outside the 80x60 frame"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_and_ends_the_session(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    assert cv2.imwrite(str(path), np.zeros((60, 80, 3), np.uint8))
    session = Session(ScriptedTracker(), text.replace("PICTURE", str(path)) + "@@TRAX:frame never\n")
    escaped = reason.replace("\\", "\\\\").replace('"', '\\"')
    assert session.lines == [HELLO, f'@@TRAX:quit "trax.reason={escaped}"']
    assert session.log == f"ours: {reason}\n"
    assert session.status == 2


def test_errors_of_the_tracker_reach_the_client(picture: Path) -> None:
    start = request("initialize", picture, "10,20,30,15.5")

    def refuse() -> Tracker:
        raise BundleError("is damaged", where="bundle")

    session = Session(refuse, start)
    assert session.lines == [HELLO, '@@TRAX:quit "trax.reason=bundle: is damaged"']
    session = Session(ScriptedTracker([SIZE_CHANGED]), start + request("frame", picture))
    assert session.lines[1:] == [STARTED, f'@@TRAX:quit "trax.reason={SIZE_CHANGED}"']
    assert session.status == 2


def test_a_bug_is_told_and_not_hidden(picture: Path) -> None:
    text = request("initialize", picture, "10,20,30,15.5") + request("frame", picture)
    writer = io.StringIO()
    tracker = ScriptedTracker([ZeroDivisionError("oops")])
    with pytest.raises(ZeroDivisionError):
        TraxServer(lambda: tracker, "ours", io.StringIO(text), writer, io.StringIO()).serve()
    reason = "internal error (ZeroDivisionError), see the tracker's log"
    assert writer.getvalue().splitlines()[-1] == f'@@TRAX:quit "trax.reason={reason}"'


def test_a_failed_start_leaves_no_old_target(picture: Path) -> None:
    class Picky(ScriptedTracker):
        def init(self, image: object, box: Box) -> None:
            raise SIZE_CHANGED

    session = Session(Picky(), request("initialize", picture, "10,20,30,15.5"))
    assert (session.status, len(session.lines)) == (2, 2)


@settings(deadline=None)
@given(
    st.lists(
        st.text(st.characters(exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\0")), max_size=1
    ),
    st.dictionaries(st.from_regex(r"[A-Za-z0-9._]{1,64}", fullmatch=True), st.text("ab \n\"'\\=,@:é")),
)
def test_what_is_written_is_read_back(arguments: list[str], properties: dict[str, str]) -> None:
    message = Message("frame", (*arguments, "x")[:1], properties)
    line = format_message(message)
    assert "\n" not in line
    assert parse_message(line + "\n", "here") == message


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_message_or_one_line(text: str) -> None:
    try:
        parse_message("@@TRAX:" + text, "here")
    except SourceError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("form", ["file://{}", "file:{}", "file://localhost{}", "{}"])
def test_images_are_files(form: str, picture: Path) -> None:
    assert image_path(form.format(picture), "here") == picture
    assert image_path(picture.as_uri(), "here") == picture


def test_a_process_keeps_standard_output_for_the_protocol(picture: Path, tmp_path: Path) -> None:
    code = """
import os, sys
from edge_runtime.adapters import trax
from tests.adapters.helpers import ScriptedTracker, result
class Loud(ScriptedTracker):
    def update(self, image):
        print("printed"); os.write(1, b"written below Python\\n")
        return result((11, 21, 30, 15.5))
trax.build_tracker = lambda config: Loud()
from edge_runtime.cli import main
main()
"""
    text = request("initialize", picture, "10,20,30,15.5") + request("frame", picture) * 2
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    for ending, status in ((request("quit"), 0), ("", 0), ("@@TRAX:nonsense\n", 2)):
        done = subprocess.run(
            [sys.executable, "-c", code, "trax", "--preset", "fkcf"], cwd=ROOT, input=text + ending,
            capture_output=True, text=True, check=False, timeout=60, env=buffered,
        )  # fmt: skip
        lines = done.stdout.splitlines()
        assert lines[:2] == [HELLO.replace("=ours", "=fkcf"), STARTED]
        assert all(line.startswith("@@TRAX:") for line in lines)
        assert len(lines) == (5 if status else 4)
        assert done.stderr.count("written below Python") == done.stderr.count("printed") == 2
        assert ("fkcf: TraX line 4: 'nonsense' is no message" in done.stderr) == bool(status)
        assert "Traceback" not in done.stderr
        assert done.returncode == status


def test_bad_settings_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for options in (["--preset", "feco2"], ["--config", "no.toml"], ["--dtype", "int4"]):
        monkeypatch.setattr(sys, "argv", ["cfvgg-edge", "trax", *options])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capfd.readouterr()
        assert (caught.value.code, out) == (2, "")
        assert err.startswith("cfvgg-edge: ")
        assert err.count("\n") == 1


def test_a_session_without_a_bundle_ends_with_the_reason(picture: Path) -> None:
    config = load_config(None, {"tracker.preset": "fkcf"})
    text = request("initialize", picture, "10,20,30,15.5")
    session = Session(lambda: trax.build_tracker(config), text)
    assert "needs a network; set model.bundle or --bundle, or deploy one" in session.lines[-1]
    assert session.status == 2
