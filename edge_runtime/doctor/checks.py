"""A finding, and how findings are shown."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "failure", "skipped"]
WIDTH = 110


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what it is about, a word or two.
        state: "failure" is what keeps the tracker from its work, "warning" what may.
        found: what is there.
        fix: what to do about it; None when nothing is to be done.
    """

    name: str
    state: State
    found: str
    fix: str | None = None


def ok(name: str, found: str) -> Check:
    """As it should be."""
    return Check(name, "ok", found)


def warning(name: str, found: str, fix: str) -> Check:
    """It works, but worse or not for long."""
    return Check(name, "warning", found, fix)


def failure(name: str, found: str, fix: str) -> Check:
    """It does not work."""
    return Check(name, "failure", found, fix)


def skipped(name: str, why: str) -> Check:
    """Not looked at."""
    return Check(name, "skipped", why)


def screen(machine: str, checks: Sequence[Check]) -> str:
    """Lines for a person, the fix below what needs one."""
    counts = Counter(check.state for check in checks)
    verdict = ", ".join(f"{counts[s]} {s}" for s in ("failure", "warning", "ok", "skipped") if counts[s])
    lines = [f"{machine}: {verdict}"]
    for check in checks:
        lines += _wrapped(f"{check.state:<8} {check.name:<12} ", check.found)
        if check.fix:
            lines += _wrapped(f"{'':<21} fix: ", check.fix)
    return "\n".join(lines)


def to_json(machine: str, checks: Sequence[Check]) -> str:
    """The same for a program: {"machine": ..., "checks": [{"name", "state", "found", "fix"}, ...]}."""
    found = {"machine": machine, "checks": [dataclasses.asdict(check) for check in checks]}
    return json.dumps(found, indent=1, ensure_ascii=False)


def _wrapped(start: str, text: str) -> Iterator[str]:
    indent = " " * len(start)
    lines = textwrap.wrap(text, WIDTH - len(start), break_long_words=False, break_on_hyphens=False) or [""]
    yield start + lines[0]
    yield from (indent + line for line in lines[1:])
