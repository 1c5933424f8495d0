"""One command at the far end: what it gets, what comes back. The far end is a shell here, ssh a stand-in."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from export.deploy import connection as connection_module
from export.deploy.connection import Answer, Request, SshConnection
from tests.preview.helpers import wait_for

# What the real one would have the shell at the far end run is its last argument.
SSH = """#!/bin/sh
for remote; do :; done
exec sh -c "$remote"
"""


@pytest.fixture(autouse=True)
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = {"ssh": SSH, "sudo": '#!/bin/sh\necho "as root:"; shift; exec "$@"\n'}
    for name, script in programs.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


def far(script: str) -> SshConnection:
    """A connection to a device whose `cfvgg-edge` is a shell script, whatever its arguments."""
    return SshConnection("pi", f"{script} #")


def test_arguments_arrive_as_they_are() -> None:
    plain = SshConnection("pi", "printf '%s|'")
    assert plain.run(Request(["bundle", "a b", "$HOME;'"])) == Answer(0, b"bundle|a b|$HOME;'|")
    assert plain.run(Request(["use"], sudo=True)).output == b"as root:\nuse|"


def test_what_is_fed_arrives_whole_and_ends() -> None:
    chunks = [os.urandom(1 << 16) for _ in range(20)]
    assert far("cat").run(Request([], stdin=chunks)).output == b"".join(chunks)
    assert far("wc -c").run(Request([])).output.strip() == b"0"


def test_a_command_that_reads_no_further_says_why() -> None:
    answer = far("echo full >&2; exit 4").run(Request([], stdin=[bytes(1 << 20)] * 4))
    assert answer == Answer(4, b"", ("full",))
    assert not answer.lost


def test_a_held_input_stays_open_and_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "BEAT_S", 0.01)
    assert far("head -n 5 | tr '\\n' .").run(Request([], hold_stdin=True)).output == b"....."


def test_lines_are_heard_as_they_come() -> None:
    heard: list[tuple[str, float]] = []
    start_s = time.monotonic()
    answer = far("echo ' one ' >&2; echo >&2; head -n 1; echo two >&2").run(
        Request(
            [],
            stdin=waits_for(heard),
            on_stderr=lambda line: heard.append((line, time.monotonic() - start_s)),
        )
    )
    assert [line for line, _ in heard] == ["one", "two"]
    assert answer == Answer(0, b"go\n", ("one", "two"))


def waits_for(heard: list[tuple[str, float]]) -> Iterator[bytes]:
    wait_for(lambda: heard, "the first line")
    yield b"go\n"


@pytest.mark.parametrize("end", ["kill -9 $$", "exit 255", "exit 137"])
def test_what_was_cut_off_is_lost(end: str) -> None:
    assert far(end).run(Request([])).lost


def test_an_interrupt_ends_the_command(tmp_path: Path) -> None:
    def interrupted() -> Iterator[bytes]:
        wait_for((tmp_path / "pid").read_text, "the command to start")
        raise KeyboardInterrupt
        yield b""

    (tmp_path / "pid").touch()
    with pytest.raises(KeyboardInterrupt):
        far(f"echo $$ > {tmp_path}/pid; exec sleep 1000").run(Request([], stdin=interrupted()))
    pid = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()
