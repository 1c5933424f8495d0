from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import ServiceError
from edge_runtime.preview.stream import (
    BOUNDARY,
    JPEG,
    JSON,
    MOST_BODY_BYTES,
    MOST_HEADER_BYTES,
    MOST_NOISE_BYTES,
    Part,
    PartReader,
    jpeg_part,
    json_object,
    json_part,
    line,
)

records = st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=8), max_size=4)


def read(stream: bytes, sizes: list[int]) -> list[Part]:
    reader, parts, start = PartReader(), [], 0
    for size in [*sizes, len(stream)]:
        parts += reader.feed(stream[start : start + size])
        start += size
    return parts


@settings(deadline=None, max_examples=80)
@given(
    bodies=st.lists(st.tuples(records, st.binary(max_size=300)), max_size=4),
    noise=st.sampled_from([b"", b"Welcome to pi!\r\n\r\n", b"--cf\n"]),
    sizes=st.lists(st.integers(1, 80), max_size=60),
)
def test_parts_come_out_however_the_stream_is_cut(
    bodies: list[tuple[dict[str, Any], bytes]], noise: bytes, sizes: list[int]
) -> None:
    """Bodies may hold boundaries and anything else."""
    stream = noise + BOUNDARY
    expected = []
    for record, body in bodies:
        stream += jpeg_part(record, body + BOUNDARY) + json_part(record)
        expected += [Part(JPEG, record, body + BOUNDARY), Part(JSON, {}, line(record).strip())]
    assert read(stream, sizes) == expected


def test_the_end_of_a_part_does_not_wait_for_the_next_one() -> None:
    reader = PartReader()
    assert reader.feed(b"noise") == []
    assert not reader.started
    assert reader.feed(BOUNDARY) == []
    assert reader.started
    assert [part.body for part in reader.feed(jpeg_part({}, b"x"))] == [b"x"]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"x" * (MOST_NOISE_BYTES + 1), "starts with b'xxx"),
        (BOUNDARY + b"y" * (MOST_HEADER_BYTES + 1), "endless headers"),
        (BOUNDARY + b"Content-Type: image/jpeg\r\n\r\n", "part of length ''"),
        (BOUNDARY + b"Content-Length: -1\r\n\r\n", "part of length '-1'"),
        (BOUNDARY + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", "part of length '9999"),
        (BOUNDARY + f"Content-Length: {MOST_BODY_BYTES + 1}\r\n\r\n".encode(), "part of length '16777217'"),
        (BOUNDARY + b"Content-Length: 2\r\n\r\nabcdefghijklmn", "another length than it says"),
        (BOUNDARY + b"X-Cfvgg: [1]\r\nContent-Length: 1\r\n\r\na\r\n" + BOUNDARY, "is no JSON object"),
    ],
)
def test_what_is_no_stream_is_one_line(stream: bytes, expected: str) -> None:
    with pytest.raises(ServiceError) as caught:
        read(stream, [])
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=400))
def test_no_stream_breaks_the_reader(stream: bytes) -> None:
    try:
        assert isinstance(read(BOUNDARY + stream, []), list)
    except ServiceError as error:
        assert "preview" in str(error)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'"a"', b"\xff{}", b"[" * 100_000])
def test_only_objects_are_messages(text: bytes) -> None:
    with pytest.raises(ServiceError, match="is n"):
        json_object(text)


def test_a_record_fits_into_a_header_whatever_the_device_is_called() -> None:
    record = {"device": "Tür\r\nX-Evil: 1 ✓"}
    part = jpeg_part(record, b"")
    assert part.isascii()
    assert part.count(b"\r\n\r\n") == 1
    (found,) = read(BOUNDARY + part, [])
    assert found.record == json.loads(json.dumps(record))
