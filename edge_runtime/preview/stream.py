"""What goes over the preview socket: lines of JSON to the service, parts of a multipart stream back.

Every part carries its length, and the boundary after it is sent with it, so that a reader need not wait for
the next part. The first boundary is sent at once: it tells the other end that the service has answered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_runtime.errors import ServiceError

BOUNDARY = b"--cfvgg\r\n"
JPEG, JSON = "image/jpeg", "application/json"
RECORD_HEADER = "X-Cfvgg"
MOST_LINE_BYTES = 4096
MOST_NOISE_BYTES = 1 << 16  # a login shell may greet before the stream starts
MOST_HEADER_BYTES = 1 << 14
MOST_BODY_BYTES = 1 << 24
MOST_LENGTH_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Part:
    """One part: a picture with its record, or the answer to a command.

    Attributes:
        content_type: `JPEG` or `JSON`.
        record: of a picture: the first target's track record, with `fps` (of the tracker, or None), `age_ms`
            (of the frame when it was encoded) and `targets` (what tells all of them apart) added.
        body: the JPEG or JSON itself.
    """

    content_type: str
    record: dict[str, Any]
    body: bytes

    def answer(self) -> dict[str, Any]:
        """The body as the answer to a command. Raises `ServiceError` if it is none."""
        return json_object(self.body)


def jpeg_part(record: Mapping[str, Any], jpeg: bytes) -> bytes:
    """A picture and its record, ready to send."""
    return _part(JPEG, jpeg, f"{RECORD_HEADER}: {_compact(record)}\r\n")


def json_part(answer: Mapping[str, Any]) -> bytes:
    """The answer to a command, ready to send."""
    return _part(JSON, _compact(answer).encode())


def line(message: Mapping[str, Any]) -> bytes:
    """A request or command, ready to send."""
    return _compact(message).encode() + b"\n"


def json_object(text: bytes) -> dict[str, Any]:
    """A JSON object from the other end. Raises `ServiceError` on anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ServiceError(f"is not JSON: {text[:60]!r}", where="preview") from error
    if not isinstance(value, dict):
        raise ServiceError(f"is no JSON object: {text[:60]!r}", where="preview")
    return value


class PartReader:
    """Parts from a stream that arrives in pieces of any size."""

    def __init__(self) -> None:
        self.started = False
        self._held = bytearray()

    def feed(self, data: bytes) -> list[Part]:
        """The parts that `data` completes.

        Raises:
            ServiceError: this is no preview stream, or a damaged one.
        """
        self._held += data
        if not self.started and not self._skip_noise():
            return []
        parts = []
        while (part := self._take()) is not None:
            parts.append(part)
        return parts

    def _skip_noise(self) -> bool:
        start = self._held.find(BOUNDARY)
        if start < 0:
            if len(self._held) > MOST_NOISE_BYTES:
                raise _damaged(f"starts with {bytes(self._held[:60])!r}")
            return False
        del self._held[: start + len(BOUNDARY)]
        self.started = True
        return True

    def _take(self) -> Part | None:
        """The next part if all of it is there; the boundary after it included."""
        end = self._held.find(b"\r\n\r\n", 0, MOST_HEADER_BYTES)
        if end < 0:
            if len(self._held) > MOST_HEADER_BYTES:
                raise _damaged("has a part with endless headers")
            return None
        headers = _headers(bytes(self._held[:end]))
        length = _length(headers)
        start, tail = end + 4, b"\r\n" + BOUNDARY
        if len(self._held) < start + length + len(tail):
            return None
        body = bytes(self._held[start : start + length])
        if self._held[start + length : start + length + len(tail)] != tail:
            raise _damaged("has a part of another length than it says")
        del self._held[: start + length + len(tail)]
        record = headers.get(RECORD_HEADER.lower())
        return Part(headers.get("content-type", ""), json_object(record.encode()) if record else {}, body)


def _part(content_type: str, body: bytes, more: str = "") -> bytes:
    head = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode("ascii") + body + b"\r\n" + BOUNDARY


def _compact(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))  # ASCII, without line ends: fit for a header


def _headers(text: bytes) -> dict[str, str]:
    headers = {}
    for header in text.decode("ascii", "replace").split("\r\n"):
        name, _, value = header.partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers


def _length(headers: Mapping[str, str]) -> int:
    text = headers.get("content-length", "")
    number = text.isascii() and text.isdigit() and len(text) <= MOST_LENGTH_DIGITS
    if not number or int(text) > MOST_BODY_BYTES:
        raise _damaged(f"has a part of length {text!r:.20}")
    return int(text)


def _damaged(what: str) -> ServiceError:
    return ServiceError(f"what came is no preview stream: it {what}", fix="are both ends of one version?")
