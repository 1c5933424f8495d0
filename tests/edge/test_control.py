"""Commands over the socket: what they do, and that nothing a client sends does harm."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.config import load_config
from edge_runtime.control import MOST_BYTES, MOST_CLIENTS, Commands, ControlServer, answer, ask
from edge_runtime.errors import ServiceError
from edge_runtime.sources.base import CapturedFrame
from edge_runtime.sources.fake import FakeSource
from edge_runtime.targets.targets import Targets
from edge_runtime.unix_socket import connect
from tests.edge.helpers import TemplateTracker

STATUS = {"pid": 7}


@pytest.fixture
def targets() -> Targets:
    made = Targets(load_config().target, TemplateTracker, None)
    see(made)
    return made


def see(targets: Targets) -> list[int]:
    return [t.track_id for t in targets.frame(CapturedFrame(FakeSource().image(0), 0, 0, None))]


@pytest.fixture
def commands(targets: Targets) -> Commands:
    return Commands(targets, lambda: dict(STATUS))


@pytest.fixture
def path(commands: Commands, tmp_path: Path) -> Iterator[Path]:
    server = ControlServer(tmp_path / "control.sock", commands)
    yield tmp_path / "control.sock"
    server.close()


def test_a_target_is_selected_and_cleared_and_status_answers(path: Path, targets: Targets) -> None:
    assert ask(path, {"command": "select", "box": [20, 30, 40.5, 50]}) == {"ok": True}
    assert see(targets) == [1]
    assert ask(path, {"command": "clear", "track_id": 1}) == {"ok": True}
    assert see(targets) == []
    assert ask(path, {"command": "pause"}) == {"ok": True}
    assert targets.paused
    assert ask(path, {"command": "resume"}) == {"ok": True}
    assert not targets.paused
    assert ask(path, {"command": "status"}) == {"ok": True, "status": STATUS}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, "unknown command None; use select, clear, pause, resume, status"),
        ({"command": "reboot"}, "unknown command 'reboot'"),
        ({"command": ["select"]}, "unknown command"),
        ({"command": "select"}, "None is not a box; give four numbers x,y,w,h in pixels"),
        ({"command": "select", "box": [1, 2, 3]}, "[1, 2, 3] is not a box"),
        ({"command": "select", "box": [1, 2, 3, True]}, "is not a box"),
        ({"command": "select", "box": [1, 2, 3, "4"]}, "is not a box"),
        ({"command": "select", "box": [1, 2, 3, 10**400]}, "is not a box"),  # benchmarks.fuzz found it
        ({"command": "select", "box": [1, 2, 0, 4]}, "is empty"),
        ({"command": "select", "box": [1e9, 2, 5, 4]}, "lies outside"),
        ({"command": "select", "box": [1, 2, 5, 4], "colour": 1}, "select takes no 'colour'"),
        ({"command": "clear", "track_id": "1"}, "'1' is not a track_id"),
        ({"command": "clear", "track_id": 9}, "there is no target 9"),
    ],
)
def test_bad_commands_get_one_line(path: Path, request_: dict[str, Any], expected: str) -> None:
    with pytest.raises(ServiceError) as caught:
        ask(path, request_)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_many_commands_in_one_connection(path: Path) -> None:
    with connect(path, 5) as client, client.makefile("rb") as lines:
        client.sendall(b'{"command": "status"}\n' * 3 + b"nonsense\n" + b'{"command": "status"}\n')
        answers = [json.loads(lines.readline()) for _ in range(5)]
    assert [a["ok"] for a in answers] == [True, True, True, False, True]
    assert answers[3]["error"].startswith("is not JSON")


def test_a_line_without_end_is_cut_off(path: Path) -> None:
    with connect(path, 5) as client, client.makefile("rb") as lines:
        client.sendall(b"[" * (MOST_BYTES + 1))
        assert json.loads(lines.readline())["error"] == f"a command has at most {MOST_BYTES} bytes"
        assert lines.readline() == b""


def test_idle_clients_take_no_more_than_their_room(path: Path) -> None:
    idle = [connect(path, 5) for _ in range(MOST_CLIENTS)]
    for client in idle:  # each is being served
        client.sendall(b'{"command": "status"}\n')
        assert client.recv(100)
    with connect(path, 5) as one_too_many:
        assert one_too_many.recv(100) == b""
    idle.pop().close()
    for _ in range(200):  # its thread notices
        try:
            assert ask(path, {"command": "status"})["ok"]
            break
        except ServiceError:
            continue
    else:
        pytest.fail("a place that was given back is not given out")
    for client in idle:
        client.close()


def test_a_client_that_goes_away_in_the_middle_does_no_harm(path: Path) -> None:
    for sent in (b"", b'{"comm', b'{"command": "status"}\n'):
        with connect(path, 5) as client:
            client.sendall(sent)
            client.shutdown(socket.SHUT_RD)
    assert ask(path, {"command": "status"})["ok"]


def test_a_fault_in_the_service_is_answered(targets: Targets, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> dict[str, Any]:
        raise RuntimeError("out of\nluck")

    reply = Commands(targets, broken)({"command": "status"})
    assert reply == {"ok": False, "error": "RuntimeError: out of luck"}
    assert "Traceback" in caplog.text


def test_no_service_is_a_line_that_says_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"none.sock: the service does not run; start it"):
        ask(tmp_path / "none.sock", {"command": "status"})


def test_the_socket_vanishes_with_the_server(commands: Commands, tmp_path: Path) -> None:
    server = ControlServer(tmp_path / "c.sock", commands)
    assert (tmp_path / "c.sock").stat().st_mode & 0o777 == 0o660
    server.close()
    assert not (tmp_path / "c.sock").exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_whatever_is_sent_is_answered(commands: Commands, line: bytes) -> None:
    reply = answer(commands, line)
    assert reply["ok"] or "\n" not in reply["error"]  # what is generated may be a command


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(st.sampled_from(["select", "clear", "pause", "resume", "status"]), json_values, json_values)
def test_whatever_stands_in_a_command_is_obeyed_or_refused(
    commands: Commands, targets: Targets, command: str, box: Any, track_id: Any
) -> None:
    line = json.dumps({"command": command, "box": box, "track_id": track_id}).encode()
    reply = answer(commands, line)
    assert reply["ok"] or isinstance(reply["error"], str)
    see(targets)
