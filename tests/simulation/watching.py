"""What the tests of this folder see of a service: its records as they come, and the truth about them."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_runtime.sources import VirtualDevice
from edge_runtime.targets.motion import iou
from edge_runtime.types import Box
from edge_runtime.unix_socket import connect
from tests.edge.publishing import VALIDATOR
from tests.edge.service import PATIENCE_S

FOUND = ("tracking", "reacquired")
ON_TARGET = 0.3


class Reader:
    """Reads tracks.sock in a thread, until the service closes it.

    Attributes:
        records: in the order of arrival, each valid.
        rest: what came after the last whole line.
    """

    def __init__(self, path: Path) -> None:
        self.records: list[dict[str, Any]] = []
        self.rest = b""
        self._client = connect(path, PATIENCE_S)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def ended(self) -> bool:
        """Whether the service has closed the stream, waited for."""
        self._thread.join(PATIENCE_S)
        return not self._thread.is_alive()

    def _read(self) -> None:
        with self._client as client, client.makefile("rb") as lines, contextlib.suppress(OSError):
            client.settimeout(None)
            for line in lines:
                if not line.endswith(b"\n"):
                    self.rest = line
                    return
                record = json.loads(line)
                VALIDATOR.validate(record)
                self.records.append(record)


@dataclass
class Film:
    """Records of a virtual camera, each with the number that the camera itself gave the frame.

    Args:
        records: of one target, or of none.
        uri: of the camera.
    """

    records: list[dict[str, Any]]
    uri: str
    numbers: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._device = VirtualDevice.from_uri(self.uri, _no_recording)
        self.rate_hz = self._device.script.rate_hz
        times = [record["t_monotonic_ns"] / 1e9 * self.rate_hz for record in self.records]
        # Up to its first fault the camera counts as the source does; later it is ahead.
        start = min(at - record["frame"] for at, record in zip(times, self.records, strict=True))
        self.numbers = [int(at - start + 0.5) for at in times]

    def missing(self, first: int, last: int) -> int:
        """How many of the camera's frames from `first` to `last` have no record."""
        return len({*range(first, last + 1)} - {*self.numbers})

    def gap_s(self, first: int, last: int) -> float:
        """The longest time without a record from frame `first` to frame `last`."""
        seen = [first, *(n for n in self.numbers if first < n < last), last]
        return max(b - a for a, b in itertools.pairwise(seen)) / self.rate_hz

    def next_seen(self, after: int) -> int:
        """The first frame after `after` that has a record."""
        return next(number for number in self.numbers if number > after)

    def frames_to_target(self, after: int) -> int | None:
        """After how many of the camera's frames the target is followed again; None if never."""
        for number, record in zip(self.numbers, self.records, strict=True):
            if number >= after and self.on_target(number, record):
                return number - after
        return None

    def on_target(self, number: int, record: dict[str, Any]) -> bool:
        """Whether the target is said to be seen, and is there."""
        truth = self._device.truth(number)
        if truth is None or record["state"] not in FOUND or record["box"] is None:
            return False
        return iou(Box(*record["box"]), truth) > ON_TARGET


def _no_recording(uri: str) -> Any:
    raise AssertionError(uri)
