"""The workstation's end: the command it keeps running, and the pages it serves. No ssh and no browser yet."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.errors import DependencyError, ServiceError
from export.preview import link as link_module
from export.preview.link import Link, preview_command
from export.preview.pages import PageServer, content_policy
from export.ssh import SSH_OPTIONS
from tests.preview.helpers import EDGE, PATIENCE_S, ROOT, Service, wait_for

RELAY = [*EDGE, "preview", "--stdout"]


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("CFVGG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.chdir(ROOT)
    with Service(tmp_path) as running:
        yield running


@pytest.fixture
def link(service: Service) -> Iterator[Link]:
    opened = Link(RELAY, "pi")
    opened.wait_connected()
    yield opened
    opened.close()


@pytest.fixture
def pages(link: Link) -> Iterator[PageServer]:
    server = PageServer(link)
    yield server
    server.close()


def connection(link: Link) -> dict[str, Any]:
    found: dict[str, Any] = decoded(link.wait(None, 0).connection)[0][0]
    return found


def decoded(stream: bytes) -> list[tuple[dict[str, Any], bytes]]:
    """Messages, as the page takes them apart."""
    messages, start = [], 0
    while len(stream) - start >= 8:
        header, body = struct.unpack_from(">II", stream, start)
        end = start + 8 + header + body
        if end > len(stream):
            break
        messages.append((json.loads(stream[start + 8 : start + 8 + header]), stream[end - body : end]))
        start = end
    return messages


def test_frames_and_commands_pass(service: Service, link: Link) -> None:
    seen = link.wait(None, 0)
    frames: list[int] = []
    while len(frames) < 5:
        last, seen = seen, link.wait(seen, PATIENCE_S)
        if seen.frames == last.frames:
            continue
        assert seen.frame is not None
        ((header, jpeg),) = decoded(seen.frame)
        assert header["type"] == "frame"
        assert header["record"]["box"] == list(service.source.box(header["record"]["frame"]))
        assert jpeg.startswith(b"\xff\xd8")
        frames.append(header["record"]["frame"])
    assert frames == sorted(set(frames))
    assert connection(link) == {
        "type": "connection", "state": "connected", "host": "pi", "detail": "", "retry_s": 0.0,
    }  # fmt: skip
    assert link.command({"command": "clear"}) == {"ok": True}
    assert link.command({"command": "fly"}) == {"ok": False, "error": "unknown command 'fly'"}
    assert service.preview._watchers[0]._reports  # a slow network never gets far behind


def test_answers_go_to_whoever_asked(service: Service, link: Link) -> None:
    answers: dict[str, dict[str, Any]] = {}

    def ask(name: str) -> None:
        answers[name] = link.command({"command": name})

    names = [f"no-{i}" for i in range(20)]
    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: answer["error"] for name, answer in answers.items()} == {
        name: f"unknown command {name!r}" for name in names
    }


def test_a_connection_that_drops_is_made_again(
    tmp_path: Path, service: Service, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "FIRST_RETRY_S", 0.2)
    service.close()
    lost = wait_for(lambda: (c := connection(link))["state"] == "lost" and c, "the loss")
    assert lost["detail"].startswith("cfvgg-edge: the service closed the preview")
    assert lost["retry_s"] == 0.2
    assert link.command({"command": "clear"}) == {"ok": False, "error": "pi is not connected"}
    detail = "the service does not run"
    wait_for(lambda: detail in connection(link)["detail"], "the next attempt")
    assert connection(link)["retry_s"] > 0.2
    before = link.wait(None, 0).frames
    with Service(tmp_path):
        wait_for(lambda: connection(link)["state"] == "connected", "the connection")
        wait_for(lambda: link.wait(None, 0).frames > before, "a new frame")
        assert link.command({"command": "clear"}) == {"ok": True}


def test_a_command_that_is_killed_answers_what_was_asked(service: Service, link: Link) -> None:
    answers: list[dict[str, Any]] = []
    held = threading.Event()
    service.preview._handle = lambda command: {"ok": held.wait(5)}
    asking = threading.Thread(target=lambda: answers.append(link.command({"command": "clear"})))
    asking.start()
    wait_for(lambda: link._answers, "the question")
    assert link._process is not None
    link._process.kill()
    asking.join()
    held.set()
    assert answers == [{"ok": False, "error": "the connection to pi was lost"}]


def test_a_command_without_an_answer_times_out(
    service: Service, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "ANSWER_TIMEOUT_S", 0.1)
    held = threading.Event()
    service.preview._handle = lambda command: {"ok": held.wait(5)}
    assert link.command({"command": "clear"}) == {"ok": False, "error": "pi has not answered in 0.1 s"}
    held.set()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["/no/such/ssh"], "pi: cannot be started (No such file or directory); does `ssh pi` work?"),
        (["sh", "-c", "echo first >&2; echo 'Permission denied (publickey).' >&2; exit 255"],
         "pi: Permission denied (publickey).; does `ssh pi` work?"),
        (["sh", "-c", "no-such-edge"], "not found; say where it is with --remote-command"),
        (["sh", "-c", "exit 3"], "pi: the connection ended with status 3"),
        (["sh", "-c", "yes"], "pi: what came is no preview stream: it starts with b'y"),
    ],
)  # fmt: skip
def test_a_first_connection_that_fails_is_one_line(command: list[str], expected: str) -> None:
    link = Link(command, "pi")
    with pytest.raises(ServiceError) as caught:
        link.wait_connected()
    link.close()
    assert expected in str(caught.value)
    assert link.command({"command": "clear"})["ok"] is False


def test_nothing_is_left_running(service: Service, link: Link) -> None:
    process = link._process
    assert process is not None
    link.close()
    link.close()
    assert process.poll() is not None
    wait_for(lambda: not service.preview.watched, "the watcher to be gone")
    assert not any(thread.name == "link" for thread in threading.enumerate())


def test_the_ssh_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    command = preview_command("me@pi", "~/v/bin/cfvgg-edge", ["--width", "320"], ["Port=2222"])
    # ssh takes the first of two values: the user's.
    options = [part for option in ("Port=2222", "BatchMode=no", *SSH_OPTIONS) for part in ("-o", option)]
    assert command == [
        *("/bin/ssh", "-T", "-a", "-x"),
        *options,
        *("--", "me@pi", "~/v/bin/cfvgg-edge preview --stdout --width 320"),
    ]
    for host in ("", "-oProxyCommand=evil"):
        with pytest.raises(ServiceError, match=r"is no host; give \[user@\]host"):
            preview_command(host, "cfvgg-edge", [], [])
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DependencyError, match="there is no ssh; install the OpenSSH client"):
        preview_command("pi", "cfvgg-edge", [], [])


class Browser:
    """Requests to a page server, with whatever headers."""

    def __init__(self, pages: PageServer) -> None:
        self.port = int(pages.url.split(":")[2].split("/")[0])
        self.token = pages.token

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, http.client.HTTPResponse]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        client.request(method, path, body, headers)
        response = client.getresponse()
        return response.status, response.read(), response

    def post(self, body: Any, **headers: str) -> dict[str, Any]:
        status, text, _ = self.ask("POST", f"/{self.token}/command", json.dumps(body).encode(), **headers)
        assert status == 200
        answer: dict[str, Any] = json.loads(text)
        return answer


@pytest.fixture
def browser(pages: PageServer) -> Browser:
    return Browser(pages)


def test_the_page_is_for_those_who_know_its_address(browser: Browser) -> None:
    status, page, response = browser.ask("GET", f"/{browser.token}/")
    assert status == 200
    assert page == (ROOT / "export/preview/page.html").read_bytes()
    assert response.headers["Content-Security-Policy"] == content_policy(page)
    assert response.headers["Referrer-Policy"] == "no-referrer"
    for path in ("/", "/x", "/x/", "/x/stream", f"/{browser.token}", f"/{browser.token}/other", "*", "//"):
        assert browser.ask("GET", path)[0] == 404, path
    assert browser.ask("POST", "/x/command", b"{}")[0] == 404
    assert len(browser.token) >= 32


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:{port}"}, 200),
        ({"Origin": "http://127.0.0.1:{port}"}, 200),
        ({"Host": "evil.example:{port}"}, 403),
        ({"Host": "127.0.0.1"}, 403),
        ({"Host": "127.0.0.1:1"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_others_are_turned_away(browser: Browser, headers: dict[str, str], status: int) -> None:
    given = {name: value.format(port=browser.port) for name, value in headers.items()}
    for method, path, body in (("GET", "", None), ("POST", "command", b'{"command": "clear"}')):
        assert browser.ask(method, f"/{browser.token}/{path}", body, **given)[0] == status


def test_the_page_names_nothing_outside_itself() -> None:
    page = (ROOT / "export/preview/page.html").read_text()
    assert "http:" not in page
    assert "https:" not in page
    assert "src=" not in page


def test_commands_from_the_page(service: Service, browser: Browser) -> None:
    assert browser.post({"command": "select", "box": [1, 2, 3, 4]}) == {"ok": True}
    assert service.commands.received[-1] == {"command": "select", "box": [1, 2, 3, 4]}
    assert browser.post([1])["error"] == "preview: is no JSON object: b'[1]'"
    path = f"/{browser.token}/command"
    assert browser.ask("POST", path, b"x" * 5000)[0] == 413
    assert browser.ask("POST", path, b"{}", **{"Content-Length": "-2"})[0] == 413


def test_the_stream_carries_pictures_and_the_state(browser: Browser) -> None:
    client = http.client.HTTPConnection("127.0.0.1", browser.port, timeout=60)
    client.request("GET", f"/{browser.token}/stream")
    response = client.getresponse()
    stream = b""
    while len([header for header, _ in decoded(stream) if header["type"] == "frame"]) < 3:
        stream += response.read1(1 << 16)
    messages = decoded(stream)
    assert messages[0][0]["state"] == "connected"
    assert all(body.startswith(b"\xff\xd8") for header, body in messages if header["type"] == "frame")
    client.close()


def test_streams_beat_while_nothing_comes_and_end_with_the_server(
    service: Service, pages: PageServer, browser: Browser
) -> None:
    service.silent = True
    client = http.client.HTTPConnection("127.0.0.1", browser.port, timeout=60)
    client.request("GET", f"/{browser.token}/stream")
    response = client.getresponse()
    stream, start_s = b"", time.monotonic()
    while time.monotonic() - start_s < 2.5:
        stream += response.read1(1 << 16)
    assert len([1 for header, _ in decoded(stream) if header["type"] == "connection"]) >= 2
    pages.close()
    while response.read1(1 << 16):
        pass


def test_a_port_that_is_taken_is_one_line(link: Link, browser: Browser) -> None:
    with pytest.raises(ServiceError, match=f"port {browser.port} cannot be used .*; give another --port"):
        PageServer(link, browser.port)


def test_help_is_quick_and_needs_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['cfvgg-export', 'preview', '--help']\n"
        "from export.cli import main\n"
        "try: main()\n"
        "finally:\n"
        "  import export.preview.command\n"
        "  print([m for m in ('torch', 'numpy', 'cv2', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "--remote-command" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_host_that_is_none_is_one_line() -> None:
    code = "from export.cli import main; main()"
    command = [sys.executable, "-c", code, "preview", "--no-browser", "--", "-oProxyCommand=evil"]
    environment = os.environ | {"PATH": os.defpath}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment, timeout=60
    )
    assert done.returncode in (2, 5)
    assert done.stderr.startswith("cfvgg-export: ")
    assert done.stderr.count("\n") == 1
