"""A headless Chromium, driven over its debugging pipe: JSON messages that end in a zero byte."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.preview.helpers import Closing, wait_for

START_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 30.0
# Chromium reads commands from descriptor 3 and writes to 4.
AT_3_AND_4 = (
    "import fcntl, os, sys; a, b = (fcntl.fcntl(int(x), fcntl.F_DUPFD, 10) for x in sys.argv[1:3]);"
    "os.dup2(a, 3); os.dup2(b, 4); os.execv(sys.argv[3], sys.argv[3:])"
)


class Chromium:
    """The browser's process; pages are opened with `page`."""

    def __init__(self, folder: Path) -> None:
        program = next(
            filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
        )
        if program is None:
            pytest.skip("Chromium is missing (apt install chromium)")
        flags = ["--headless=new", "--remote-debugging-pipe", f"--user-data-dir={folder}", "--no-first-run"]
        flags += ["--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
        if os.getuid() == 0:
            flags.append("--no-sandbox")
        child_in, self._out = os.pipe()
        self._in, child_out = os.pipe()
        command = [sys.executable, "-c", AT_3_AND_4, str(child_in), str(child_out), program, *flags]
        self._log = folder / "chromium.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, pass_fds=(child_in, child_out), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        os.close(child_in)
        os.close(child_out)
        self._numbers = itertools.count(1)
        self._held = b""
        self.call("Browser.getVersion", timeout_s=START_TIMEOUT_S)

    def call(
        self, method: str, session: str | None = None, timeout_s: float = ANSWER_TIMEOUT_S, **values: Any
    ) -> Any:
        """Send a command of the debugging protocol and return its result; events are passed over."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": values}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end_s = time.monotonic() + timeout_s
        while True:
            while b"\0" in self._held:
                text, _, self._held = self._held.partition(b"\0")
                answer = json.loads(text)
                if answer.get("id") == number:
                    assert "error" not in answer, (method, answer["error"])
                    return answer["result"]
            ready = select.select([self._in], [], [], max(0.0, end_s - time.monotonic()))[0]
            data = os.read(self._in, 1 << 16) if ready else b""
            assert data, f"{method}: no answer; {self._log.read_text(errors='replace')[-2000:]}"
            self._held += data

    def page(self, url: str) -> Page:
        return Page(self, url)

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)


class Page(Closing):
    """One tab. Coordinates are CSS pixels of its viewport."""

    def __init__(self, chromium: Chromium, url: str) -> None:
        self._chromium = chromium
        self._target = chromium.call("Target.createTarget", url="about:blank")["targetId"]
        attached = chromium.call("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session = attached["sessionId"]
        self.resize(1000, 700)
        self.call("Page.navigate", url=url)
        wait_for(lambda: self.evaluate("document.readyState") == "complete", "the page")

    def call(self, method: str, **values: Any) -> Any:
        return self._chromium.call(method, self._session, **values)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def text(self, name: str) -> str:
        """What the element with this id says."""
        return str(self.evaluate(f"document.getElementById({name!r}).textContent"))

    def resize(self, width: int, height: int, density: float = 1) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=density, mobile=False,
        )  # fmt: skip

    def click(self, name: str) -> None:
        place = f"document.getElementById({name!r}).getBoundingClientRect()"
        x, y = self.evaluate(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({place})")
        self._mouse("mousePressed", x, y)
        self._mouse("mouseReleased", x, y)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With the mouse, in a few steps."""
        self._mouse("mousePressed", *start)
        for step in (0.3, 0.7, 1.0):
            self._mouse("mouseMoved", *(a + step * (b - a) for a, b in zip(start, end, strict=True)))
        self._mouse("mouseReleased", *end)

    def swipe(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With a finger."""
        self.call("Emulation.setTouchEmulationEnabled", enabled=True)
        for kind, points in (("touchStart", [start]), ("touchMove", [end]), ("touchEnd", [])):
            touches = [{"x": x, "y": y} for x, y in points]
            self.call("Input.dispatchTouchEvent", type=kind, touchPoints=touches)

    def press(self, key: str, shift: bool = False) -> None:
        values = {"key": key, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="rawKeyDown", **values)
        self.call("Input.dispatchKeyEvent", type="keyUp", **values)

    def screenshot(self, quality: int = 90) -> bytes:
        """A JPEG of the viewport."""
        shot = self.call("Page.captureScreenshot", format="jpeg", quality=quality)
        return base64.b64decode(shot["data"])

    def close(self) -> None:
        self._chromium.call("Target.closeTarget", targetId=self._target)

    def _mouse(self, kind: str, x: float, y: float) -> None:
        buttons = 0 if kind == "mouseReleased" else 1
        values = {"x": x, "y": y, "button": "left", "buttons": buttons, "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type=kind, **values)
