"""The preview's page, served on the loopback address to whoever knows the token in its address.

Pictures go to the page as one endless response that its script takes apart: a record and its picture are one
message, a slow page holds up nothing, and fetch needs no handshake; commands are POST requests with their
answers.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

from edge_runtime.errors import ServiceError
from edge_runtime.preview.stream import MOST_LINE_BYTES, json_object
from export.preview.link import Link

HEARTBEAT_S = 1.0
IDLE_TIMEOUT_S = 30.0
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class PageServer:
    """Serves one link's page on 127.0.0.1 until it is closed.

    Args:
        link: where pictures come from and commands go.
        port: 0 for a free one.

    Attributes:
        url: of the page; nobody without it is served.

    Raises:
        ServiceError: the port is taken.
    """

    def __init__(self, link: Link, port: int = 0) -> None:
        page = (resources.files("export") / "preview" / "page.html").read_bytes()
        self.token = secrets.token_urlsafe(24)
        try:
            self._server = _Server(link, self.token, page, port)
        except OSError as error:
            raise ServiceError(
                f"port {port} cannot be used ({error.strerror})", fix="give another --port"
            ) from error
        self.url = f"http://127.0.0.1:{self._server.server_port}/{self.token}/"
        self._thread = threading.Thread(target=self._server.serve_forever, name="pages", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving; streams end within a heartbeat."""
        self._server.ending = True
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, link: Link, token: str, page: bytes, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Request)
        self.link, self.token, self.page = link, token, page
        self.policy = content_policy(page)
        self.ending = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is no error; anything else is."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Request(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = IDLE_TIMEOUT_S

    def do_GET(self) -> None:
        self._route({"": self._page, "stream": self._stream})

    def do_POST(self) -> None:
        self._route({"command": self._command})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Requests are nobody's business: their paths hold the token."""

    def _route(self, routes: dict[str, Callable[[], None]]) -> None:
        """Serve whoever has the token and comes by the loopback address itself.

        A page elsewhere whose name was made to resolve to 127.0.0.1 shows in the Host header.
        """
        port = self.server.server_port
        hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        origin = self.headers.get("Origin")
        known = origin is None or origin in {f"http://{host}" for host in hosts}
        if self.headers.get("Host") not in hosts or not known:
            self._answer(HTTPStatus.FORBIDDEN, b"not from here\n", "text/plain")
            return
        token, slash, rest = self.path.removeprefix("/").partition("/")
        route = routes.get(rest) if slash else None
        if not secrets.compare_digest(token.encode(), self.server.token.encode()) or route is None:
            self._answer(HTTPStatus.NOT_FOUND, b"nothing here\n", "text/plain")
            return
        route()

    def _page(self) -> None:
        self._answer(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")

    def _stream(self) -> None:
        self._head(HTTPStatus.OK, {"Content-Type": "application/octet-stream", "Connection": "close"})
        self.close_connection = True
        seen = None
        while not self.server.ending:
            update = self.server.link.wait(seen, HEARTBEAT_S)
            new = update.frame if seen is None or update.frames != seen.frames else None
            # The state goes along even if it is the same: what cannot be sent any more ends this.
            self.wfile.write(update.connection + (new or b""))
            seen = update

    def _command(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > MOST_LINE_BYTES:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"too long\n", "text/plain")
            return
        try:
            command = json_object(self.rfile.read(int(length)))
        except ServiceError as error:
            answer = {"ok": False, "error": str(error)}
        else:
            answer = self.server.link.command(command)
        self._answer(HTTPStatus.OK, json.dumps(answer).encode(), "application/json")

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        close = {} if status == HTTPStatus.OK else {"Connection": "close"}
        self._head(status, {"Content-Type": content_type, "Content-Length": str(len(body))} | close)
        self.wfile.write(body)

    def _head(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        self.send_response(status)
        policy = {"Content-Security-Policy": self.server.policy}
        for name, value in (HEADERS | policy | headers).items():
            self.send_header(name, value)
        self.end_headers()

    def version_string(self) -> str:
        """Says nothing about the Python behind it."""
        return "cfvgg"


def content_policy(page: bytes) -> str:
    """A policy under which the page's own script runs and may talk to us, and nothing else may."""
    script = page.split(b"<script>", 1)[1].split(b"</script>", 1)[0]
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
