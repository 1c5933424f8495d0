"""The preview through a real sshd with key authentication, from the command line to the pictures."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.errors import ServiceError
from edge_runtime.preview.stream import JPEG, JSON, PartReader, line
from export.preview.link import Link, preview_command
from tests.preview.helpers import EDGE, PATIENCE_S, ROOT, Service, wait_for
from tests.preview.sshd import Sshd
from tests.preview.test_link import connection


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    with Sshd(tmp_path) as server:
        yield server


@pytest.fixture
def remote(tmp_path: Path) -> str:
    """`cfvgg-edge` for the far end's shell: this checkout, and the folder of the test's service."""
    environment = f"CFVGG_RUNTIME_DIR={shlex.quote(str(tmp_path))}"
    return f"cd {shlex.quote(str(ROOT))} && {environment} {shlex.join(EDGE)}"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path) as running:
        yield running


def test_only_the_stream_comes_through_ssh_and_both_ends_go_together(
    service: Service, sshd: Sshd, remote: str
) -> None:
    command = preview_command(sshd.host, remote, ["--width", "160"], sshd.options)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as ssh:
        assert ssh.stdin is not None
        assert ssh.stdout is not None
        ssh.stdin.write(line({"command": "select", "box": [1, 2, 3, 4]}))
        ssh.stdin.flush()
        reader = PartReader()
        kinds: list[str] = []
        while kinds.count(JPEG) < 10 or JSON not in kinds:
            data = os.read(ssh.stdout.fileno(), 1 << 16)
            assert data, sshd.log()
            kinds += [part.content_type for part in reader.feed(data)]
        assert service.commands.received == [{"command": "select", "box": [1, 2, 3, 4]}]
        ssh.kill()
    wait_for(lambda: not service.preview.watched, "the far end to notice")
    wait_for(lambda: not sshd.sessions(), "the session to end")


def test_the_link_survives_a_connection_that_drops(service: Service, sshd: Sshd, remote: str) -> None:
    link = Link(preview_command(sshd.host, remote, [], sshd.options), "pi")
    try:
        link.wait_connected()
        wait_for(lambda: link.wait(None, 0).frame, "a frame")
        sshd.drop()
        wait_for(lambda: connection(link)["state"] == "lost", "the loss")
        before = link.wait(None, 0).frames
        wait_for(lambda: connection(link)["state"] == "connected", "the connection")
        wait_for(lambda: link.wait(None, 0).frames > before, "a new frame")
        assert link.command({"command": "clear"}) == {"ok": True}
        sshd.stop()
        wait_for(lambda: "Connection refused" in connection(link)["detail"], "the reason")
        sshd.start()
        wait_for(lambda: connection(link)["state"] == "connected", "the connection")
    finally:
        link.close()
    wait_for(lambda: not service.preview.watched, "the watcher to be gone")


@pytest.mark.parametrize(
    ("remote_command", "expected"),
    [
        ("no-such-edge", "no-such-edge: command not found; say where it is with --remote-command"),
        (None, "preview.sock: the service does not run; start it: "),
    ],
)
def test_what_is_wrong_at_the_far_end_is_said(
    sshd: Sshd, remote: str, remote_command: str | None, expected: str
) -> None:
    link = Link(preview_command(sshd.host, remote_command or remote, [], sshd.options), "pi")
    with pytest.raises(ServiceError) as caught:
        link.wait_connected()
    link.close()
    assert expected in str(caught.value)


def test_a_key_that_is_refused_is_one_line(sshd: Sshd, remote: str, tmp_path: Path) -> None:
    (tmp_path / "user.pub").write_text("")
    link = Link(preview_command(sshd.host, remote, [], sshd.options), "pi")
    with pytest.raises(
        ServiceError, match=r"^pi: .*Permission denied \(publickey\)\.; does `ssh pi` work\?$"
    ):
        link.wait_connected()
    link.close()


def test_the_whole_command(service: Service, sshd: Sshd, remote: str) -> None:
    """`cfvgg-export preview HOST` as a user starts it, up to the page and Ctrl-C."""
    options = [part for option in sshd.options for part in ("--ssh-option", option)]
    code = "from export.cli import main; main()"
    command = [sys.executable, "-c", code, "preview", sshd.host, "--no-browser", "--remote-command", remote]
    command += [*options, "--quality", "50", "--max-rate", "10"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as host:
        try:
            assert host.stdout is not None
            address = host.stdout.readline().split()[0]
            assert address.startswith("http://127.0.0.1:")
            _, _, place, token, _ = address.split("/")
            client = http.client.HTTPConnection(place, timeout=PATIENCE_S)
            client.request("GET", f"/{token}/")
            assert b"<canvas" in client.getresponse().read()
            client.request("POST", f"/{token}/command", json.dumps({"command": "pause"}))
            assert json.load(client.getresponse()) == {"ok": True}
            client.close()
            assert service.commands.paused
            rendition = service.preview._watchers[0].rendition
            assert rendition is not None
            assert (rendition.quality, rendition.max_rate_hz) == (50, 10.0)
            host.send_signal(signal.SIGINT)
            assert host.wait(PATIENCE_S) == 0
            assert host.stderr is not None
            assert host.stderr.read() == ""
        finally:
            host.kill()
    wait_for(lambda: not service.preview.watched, "the watcher to be gone")
