from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import SourceError
from edge_runtime.host import HostStatus
from edge_runtime.records import SCHEMA_FILE, RecordMaker, read_boxes
from edge_runtime.sources import CapturedFrame
from edge_runtime.types import Box, TrackResult, TrackState
from tests.edge.helpers import SHA256

VALIDATOR = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))
IMAGE = np.zeros((48, 64, 3), np.uint8)
any_float = st.floats(allow_nan=True, allow_infinity=True)


def record(
    result: TrackResult | None, t_unix: float | None = None, host: HostStatus | None = None
) -> dict[str, Any]:
    frame = CapturedFrame(IMAGE, 7, 123456789, t_unix)
    made = RecordMaker("pi", SHA256)(frame, result, host or HostStatus(None, None))
    parsed: dict[str, Any] = json.loads(made.to_json())
    VALIDATOR.validate(parsed)
    return parsed


def test_the_schema_is_one_and_names_every_field_in_order() -> None:
    jsonschema.Draft202012Validator.check_schema(VALIDATOR.schema)
    fields = list(record(None))
    assert list(VALIDATOR.schema["properties"]) == fields == VALIDATOR.schema["required"]


def test_a_tracked_frame() -> None:
    result = TrackResult(Box(1.23456, 2, 30.009, 40), 0.98765432, 12.34567, TrackState.TRACKING, 6.54321)
    assert record(result, 1700000000.1234567, HostStatus(True, 0x50000)) == {
        "schema": "cfvgg-track/1",
        "device": "pi",
        "track_id": 1,
        "frame": 7,
        "t_monotonic_ns": 123456789,
        "t_unix": 1700000000.123457,
        "clock_synced": True,
        "state": "tracking",
        "box": [1.23, 2, 30.01, 40],
        "frame_size": [64, 48],
        "confidence": 0.9877,
        "psr": 12.346,
        "latency_ms": 6.543,
        "model_sha256": SHA256,
        "throttled": 0x50000,
    }


def test_searching_and_unknown_are_null() -> None:
    found = record(None)
    assert found["state"] == "searching"
    nulls = {name for name, value in found.items() if value is None}
    assert nulls == {"t_unix", "clock_synced", "box", "confidence", "psr", "latency_ms", "throttled"}


@given(st.tuples(any_float, any_float, st.floats(min_value=0), st.floats(min_value=0)), any_float, any_float)
def test_no_number_of_a_tracker_breaks_a_record(box: tuple[float, ...], score: float, psr: float) -> None:
    found = record(TrackResult(Box(*box), score, psr, TrackState.LOST, 1.0))
    assert (found["box"] is None) == (not all(math.isfinite(v) for v in box))
    assert (found["psr"] is None) == (not math.isfinite(psr))


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("box", [1, 2, 3]),
        ("box", [1, 2, 3, 4, 5]),
        ("box", [1, 2, -3, 4]),
        ("state", "flying"),
        ("state", "searching"),
        ("confidence", 1.5),
        ("model_sha256", "xyz"),
        ("t_unix", "now"),
        ("extra", 1),
        ("frame", 1.5),
        ("schema", "cfvgg-track/2"),
    ],
)
def test_the_schema_refuses(change: str, value: Any) -> None:
    good = record(TrackResult(Box(1, 2, 3, 4), 0.5, 3.0, TrackState.TRACKING, 1.0))
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(good | {change: value})


def test_boxes_are_read_back_by_frame(tmp_path: Path) -> None:
    maker, host = RecordMaker("pi", SHA256), HostStatus(None, None)
    result = TrackResult(Box(1, 2, 3, 4), 0.5, 3.0, TrackState.TRACKING, 1.0)
    frames = [CapturedFrame(IMAGE, index, index, None) for index in (3, 4)]
    records = [maker(frames[0], None, host), maker(frames[1], result, host)]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(r.to_json() + "\n" for r in records))
    assert read_boxes(path) == {3: None, 4: Box(1, 2, 3, 4)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "holds no track records"),
        ("{", r"t.jsonl:1: is not a track record"),
        ("[]", r"t.jsonl:1: is not a track record"),
        ('{"schema": "other/1"}', "schema is 'other/1'"),
        ('{"schema": "cfvgg-track/1", "frame": 0, "box": [1, 2]}', r"t.jsonl:1: is not a track record"),
        # What follows was found by benchmarks.fuzz.
        ('{"schema": "cfvgg-track/1", "frame": 1e999, "box": null}', "cannot convert float infinity"),
        (f'{{"schema": "cfvgg-track/1", "frame": 0, "box": [1, 2, 3, {10**400}]}}', "too large"),
        (f'{{"schema": {"[" * 200_000}', "maximum recursion depth exceeded"),
    ],
)
def test_files_that_are_no_records(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(text)
    with pytest.raises(SourceError, match=expected):
        read_boxes(path)
    with pytest.raises(SourceError, match="cannot be read"):
        read_boxes(tmp_path / "none.jsonl")
