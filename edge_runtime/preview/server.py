"""The preview's end in the service: a unix socket, and a thread that encodes while somebody watches."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_runtime.errors import CfvggError
from edge_runtime.log_limit import LimitedLog
from edge_runtime.preview.pictures import Offer, Rendition, asked_rendition, encoded_part
from edge_runtime.preview.settings import PreviewConfig
from edge_runtime.preview.stream import BOUNDARY, json_object, json_part
from edge_runtime.preview.watcher import Watcher
from edge_runtime.records import TrackRecord
from edge_runtime.types import Frame, Handle
from edge_runtime.unix_socket import listen, stop_listening

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 2.0
ACCEPT_RETRY_S = 0.2
# Of a picture's turn: frames that come a little early still count, or 15 of 30 frames a second become 10.
EARLY = 0.25


class Preview:
    """Pictures for whoever connects to `path`, and their commands for `handle`.

    All of it happens in one thread of low priority. The loop only leaves its newest frame here.

    Args:
        path: of the socket, mode 0660.
        config: see `PreviewConfig`.
        handle: answers a command; thread-safe, returns at once, never raises.

    Attributes:
        watched: whether somebody watches; while nobody does, `offer` need not be called.

    Raises:
        StorageError: the socket cannot be made.
    """

    def __init__(self, path: Path, config: PreviewConfig, handle: Handle) -> None:
        self.watched = False
        self._config, self._handle = config, handle
        self._listener = listen(path, backlog=config.max_watchers)
        self._listener.setblocking(False)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._closing = False
        self._newest: deque[Offer] = deque(maxlen=1)  # no lock that a thread of low priority could hold
        self._watchers: list[Watcher] = []
        self._due_s: dict[Rendition, float] = {}
        self._log = LimitedLog(log)
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._serve, name="preview", daemon=True)
        self._thread.start()

    def offer(self, image: Frame, records: Sequence[TrackRecord], fps: float | None) -> None:
        """Show a frame to the watchers unless a newer one comes first; never blocks.

        Args:
            image: uint8 (rows, columns, 3), BGR; not written to afterwards.
            records: of this frame, one for each target and at least one.
            fps: frames per second of the tracker; None if unknown.
        """
        if self.watched:
            self._newest.append(Offer(image, records, fps))
            self._rouse()

    def close(self) -> None:
        """Hang up on everybody and remove the socket; may be called more than once."""
        self.watched, self._closing = False, True
        self._rouse()
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._wake >= 0 and not self._thread.is_alive():
            wake, self._wake = self._wake, -1
            os.close(wake)

    def _rouse(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # roused already, or closed
            os.eventfd_write(self._wake, 1)

    def _serve(self) -> None:
        _lower_priority(self._config.nice)
        try:
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
            self._selector.register(self._wake, selectors.EVENT_READ, self._show)
            while not self._closing:
                timeout_s = self._config.stall_timeout_s / 4 if self._watchers else None
                for key, events in self._selector.select(timeout_s):
                    if isinstance(key.data, Watcher):
                        self._serve_watcher(key.data, events)
                    else:
                        key.data()
                self._cut_stalled()
        finally:
            self.watched = False
            stop_listening(self._listener)
            for watcher in self._watchers:
                watcher.close()
            self._selector.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            self._log.warning(f"preview: a watcher cannot be accepted ({error})")
            time.sleep(ACCEPT_RETRY_S)  # the connection still waits: without a pause this would spin
            return
        limit = self._config.max_watchers
        if len(self._watchers) >= limit:
            full = f"{limit} watch already; end one of them, or raise preview.max_watchers"
            with connection, contextlib.suppress(OSError):
                connection.setblocking(False)
                connection.send(BOUNDARY + json_part({"ok": False, "error": full}))
            return
        with contextlib.suppress(OSError):
            watcher = Watcher(connection, time.monotonic())
            self._watchers.append(watcher)
            self._selector.register(connection, watcher.events, watcher)

    def _serve_watcher(self, watcher: Watcher, events: int) -> None:
        if watcher not in self._watchers:  # cut by what came before it in this round
            return
        try:
            if events & selectors.EVENT_WRITE:
                watcher.flush(time.monotonic())
            if events & selectors.EVENT_READ:
                for text in watcher.lines():
                    self._receive(watcher, text)
        except CfvggError as error:
            with contextlib.suppress(OSError):
                watcher.send(json_part({"ok": False, "error": str(error)}), time.monotonic())
            self._cut(watcher)
        except OSError:
            self._cut(watcher)
        else:
            self._selector.modify(watcher.connection, watcher.events, watcher)

    def _receive(self, watcher: Watcher, text: bytes) -> None:
        """One line: what the watcher wants, what it has received, or a command."""
        if watcher.rendition is None:
            watcher.rendition = asked_rendition(json_object(text), self._config)
            self.watched = True
            return
        try:
            message = json_object(text)
        except CfvggError as error:
            answer: dict[str, Any] = {"ok": False, "error": str(error)}
        else:
            if "received" in message:
                watcher.report(message["received"])
                return
            answer = self._handle(message)
        watcher.send(json_part(answer), time.monotonic())

    def _show(self) -> None:
        """Encode the newest frame, once for each rendition that is due, and send it to whoever is ready."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        if not self._newest:
            return
        offer, now_s = self._newest.pop(), time.monotonic()
        ready: dict[Rendition, list[Watcher]] = {}
        for watcher in self._watchers:
            if watcher.rendition is not None and watcher.ready:
                ready.setdefault(watcher.rendition, []).append(watcher)
        for rendition, watchers in ready.items():
            if self._take_turn(rendition, now_s):
                self._send(offer, rendition, watchers)

    def _take_turn(self, rendition: Rendition, now_s: float) -> bool:
        period_s = 1 / rendition.max_rate_hz
        due_s = self._due_s.get(rendition, now_s)
        if now_s < due_s - EARLY * period_s:
            return False
        self._due_s[rendition] = max(due_s, now_s - EARLY * period_s) + period_s
        return True

    def _send(self, offer: Offer, rendition: Rendition, watchers: list[Watcher]) -> None:
        try:
            part = encoded_part(offer, rendition)
        except Exception as error:  # whatever is wrong with one frame, the next one may be good
            frame = offer.record.frame
            self._log.warning(f"preview: frame {frame} cannot be shown ({error})", key="shown")
            return
        for watcher in watchers:
            try:
                watcher.show(part, offer.record.frame, time.monotonic())
                self._selector.modify(watcher.connection, watcher.events, watcher)
            except OSError:
                self._cut(watcher)

    def _cut_stalled(self) -> None:
        now_s = time.monotonic()
        for watcher in list(self._watchers):
            if watcher.stalled_s(now_s) > self._config.stall_timeout_s:
                self._cut(watcher)

    def _cut(self, watcher: Watcher) -> None:
        self._watchers.remove(watcher)
        self._selector.unregister(watcher.connection)
        watcher.close()
        wanted = {other.rendition for other in self._watchers} - {None}
        self.watched = bool(wanted) and not self._closing
        self._due_s = {rendition: due_s for rendition, due_s in self._due_s.items() if rendition in wanted}


def _lower_priority(nice: int) -> None:
    """Of this thread alone: on Linux, priorities belong to threads."""
    if nice == 0:
        return
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
    except OSError as error:
        log.warning("preview: its thread keeps the tracker's priority (%s)", error.strerror)
