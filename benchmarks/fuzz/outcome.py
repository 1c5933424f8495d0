"""What a check is, and what it lets pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """A reader of outside input.

    Attributes:
        check: takes any bytes; raises on anything but what the reader promises and its own error in one line.
        seeds: good inputs to start from.
    """

    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


@contextlib.contextmanager
def refusing(*kinds: type[Exception]) -> Iterator[None]:
    """Errors of these kinds are good answers if they are one line."""
    try:
        yield
    except kinds as error:
        check_line(str(error))


def check_line(text: object) -> None:
    """Raise `AssertionError` unless this is one line for a person."""
    assert isinstance(text, str), f"the message is {type(text).__name__}"
    assert text, "the message is empty"
    assert text.isprintable(), f"the message is not one line of text: {text!r:.200}"


def check_reply(reply: Mapping[str, Any]) -> None:
    """Raise `AssertionError` unless this is what a command is answered with."""
    assert isinstance(reply["ok"], bool)
    if not reply["ok"]:
        check_line(reply["error"])
