"""A Motion JPEG camera on the loopback address."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

import cv2

from edge_runtime.types import Frame

BOUNDARY = "frame"


class MjpegServer:
    """Serves pictures again and again as multipart/x-mixed-replace.

    Args:
        pictures: that it shows.
        rate_hz: of frames, to each client.
        port: to listen on; 0 for a free one.

    Attributes:
        silent: sends nothing, and keeps connections open.
        cut: closes connections.
        broken: sends JPEGs that are cut off.
        clients: connections so far.
    """

    def __init__(self, pictures: Sequence[Frame], rate_hz: float = 50.0, port: int = 0) -> None:
        self._jpegs = [
            cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes() for image in pictures
        ]
        self._rate_hz = rate_hz
        self.silent = self.cut = self.broken = False
        self.clients = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/stream.mjpg"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut = True
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.clients += 1
                self.send_response(200)
                self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
                self.end_headers()
                for jpeg in itertools.cycle(server._jpegs):
                    time.sleep(1 / server._rate_hz)
                    while server.silent and not server.cut:
                        time.sleep(0.01)
                    if server.cut:
                        return
                    data = jpeg[: len(jpeg) // 2] if server.broken else jpeg
                    head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    try:
                        self.wfile.write(head.encode() + data + b"\r\n")
                    except OSError:
                        return

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the library's name)
                pass

        return Handler
