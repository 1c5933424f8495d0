"""The track record v1: one JSON object a line. `track-v1.schema.json` is its contract."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import SourceError
from edge_runtime.host import HostStatus
from edge_runtime.sources.base import CapturedFrame
from edge_runtime.types import Box, TrackResult, TrackState

SCHEMA = "cfvgg-track/1"
SCHEMA_FILE = Path(__file__).with_name("track-v1.schema.json")


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """One frame's outcome as it is published; what is unknown is None and becomes null.

    Attributes:
        schema: always `SCHEMA`.
        device: name of the publishing device.
        track_id: identity of the target, from 1; stays the same when it is re-acquired.
        frame: index of the frame in its source, from 0.
        t_monotonic_ns: capture time, CLOCK_MONOTONIC, nanoseconds.
        t_unix: capture time, seconds since 1970; None for recordings.
        clock_synced: whether the clock behind `t_unix` was synchronised.
        state: a `TrackState` value.
        box: x, y, w, h in pixels, 0-based, top-left; None while searching.
        frame_size: width, height in pixels.
        confidence: 0 to 1.
        psr: peak-to-sidelobe ratio.
        latency_ms: wall time of the tracker, milliseconds.
        model_sha256: of the model file that made the features, hexadecimal; None without a network.
        throttled: firmware bits, see `HostStatus`.
    """

    schema: str
    device: str
    track_id: int
    frame: int
    t_monotonic_ns: int
    t_unix: float | None
    clock_synced: bool | None
    state: str
    box: tuple[float, float, float, float] | None
    frame_size: tuple[int, int]
    confidence: float | None
    psr: float | None
    latency_ms: float | None
    model_sha256: str | None
    throttled: int | None

    def to_json(self) -> str:
        """One line of JSON without the newline."""
        # Not `asdict`, which copies every value: it takes as long as all the rest.
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(fields, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True)
class RecordMaker:
    """Makes the records of one run: what does not change, kept in one place."""

    device: str
    model_sha256: str | None

    def __call__(
        self, frame: CapturedFrame, result: TrackResult | None, host: HostStatus, track_id: int = 1
    ) -> TrackRecord:
        """The record of a target in a frame; `result` is None while there is none."""
        r = result
        return TrackRecord(
            schema=SCHEMA,
            device=self.device,
            track_id=track_id,
            frame=frame.index,
            t_monotonic_ns=frame.t_monotonic_ns,
            t_unix=rounded(frame.t_unix, 6),
            clock_synced=host.clock_synced,
            state=(r.state if r else TrackState.SEARCHING).value,
            box=_rounded_box(r.box) if r else None,
            frame_size=(frame.image.shape[1], frame.image.shape[0]),
            confidence=rounded(min(max(r.score, 0.0), 1.0) if r else None, 4),
            psr=rounded(r.psr if r else None, 3),
            latency_ms=rounded(r.latency_ms if r else None, 3),
            model_sha256=self.model_sha256,
            throttled=host.throttled,
        )


def rounded(value: float | None, digits: int) -> float | None:
    """`value` to `digits` decimals; None stays None, and so becomes anything that is not finite."""
    return round(float(value), digits) if value is not None and math.isfinite(value) else None


def read_boxes(path: Path) -> dict[int, Box | None]:
    """Frame index to box from a file of records; None where a record has no box.

    Raises:
        SourceError: the file cannot be read, or a line is not a record of this version.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"cannot be read ({error})", where=path) from error
    boxes = dict(_parse(line, f"{path}:{number}") for number, line in enumerate(lines, 1))
    if not boxes:
        raise SourceError("holds no track records", where=path)
    return boxes


def _parse(line: str, where: str) -> tuple[int, Box | None]:
    try:
        record = json.loads(line)
        if record["schema"] != SCHEMA:
            raise ValueError(f"schema is {record['schema']!r}, not {SCHEMA!r}")
        box = record["box"]
        return int(record["frame"]), None if box is None else Box(*(float(v) for v in box))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise SourceError(f"is not a track record ({error!s:.100})", where=where) from error


def _rounded_box(box: Box) -> tuple[float, float, float, float] | None:
    if not all(math.isfinite(v) for v in box):
        return None
    return round(box.x, 2), round(box.y, 2), round(box.w, 2), round(box.h, 2)
