"""A device without a machine: answers as `cfvgg-edge bundle` does, and notes what it was asked."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable
from typing import Any

from edge_runtime.manifest import FORMAT
from export.deploy.connection import Answer, Request

OLD, OLDER = "a" * 64, "b" * 64
CHANGING = ("add", "use", "rollback", "prune")
Reply = Answer | Callable[[], Answer]


class FakeDevice:
    """A connection to it.

    Attributes:
        facts: what it says of itself; changes as bundles come and go.
        asked: subcommands with their options, in order, and whether sudo was used.
        received: files of the last bundle that was sent.
        held: subcommands with an open standard input.
        replies: for subcommands, answers to give instead of the usual ones, the first one first.
        progress: what it says during a trial.
    """

    host = "pi"

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {
            "schema": "cfvgg-facts/1",
            "cfvgg": "0.1.0",
            "machine": "aarch64",
            "os": {"id": "debian", "version_id": "12", "codename": "bookworm", "pretty": "Debian 12"},
            "python": "3.11.2",
            "uid": 0,
            "store": "/var/lib/cfvgg-bundles",
            "free_mb": 5000,
            "manifest_schema": FORMAT,
            "runtime": {"name": "ai-edge-litert", "version": "2.1.0"},
            "signers": False,
            "service": {
                "installed": True,
                "active": True,
                "restarts": 0,
                "rate_hz": 29.9,
                "p95_ms": 21.0,
                "uptime_s": 400.0,
            },
            "current": OLD,
            "previous": OLDER,
            "trial": None,
            "bundles": [stored(OLD, "old", 1.7e9), stored(OLDER, "older", 1.6e9)],
            "doctor": [],
        }
        self.asked: list[tuple[list[str], bool]] = []
        self.received: dict[str, bytes] = {}
        self.held: list[str] = []
        self.replies: dict[str, list[Reply]] = {}
        self.progress = ["cfvgg-edge: switching", "cfvgg-edge: health 30/30 s: 30.0 Hz, p95 20 ms"]

    @property
    def commands(self) -> list[str]:
        """Names of the subcommands that were asked for."""
        return [arguments[0] for arguments, _ in self.asked]

    @property
    def changes(self) -> list[str]:
        """Names of those that change something."""
        return [name for name in self.commands if name in CHANGING]

    def run(self, request: Request) -> Answer:
        assert request.arguments[0] == "bundle"
        name, *options = request.arguments[1:]
        self.asked.append(([name, *options], request.sudo))
        if request.hold_stdin:
            self.held.append(name)
        if self.replies.get(name):
            reply = self.replies[name].pop(0)
            return reply if isinstance(reply, Answer) else reply()
        if request.on_stderr is not None:
            for line in self.progress:
                request.on_stderr(line)
        return Answer(0, json.dumps(self._answer(name, options, request.stdin)).encode())

    def _answer(self, name: str, options: list[str], stdin: Iterable[bytes]) -> dict[str, Any]:
        if name == "facts":
            doctor = [] if "--quick" in options else self.facts["doctor"]
            return self.facts | {"doctor": doctor}
        if name == "add":
            return self._add(options, b"".join(stdin))
        if name == "prune":
            return {"removed": [OLDER]}
        before = self.facts["current"]
        self.facts["current"] = options[0] if name == "use" else self.facts["previous"]
        self.facts["previous"] = before
        return {
            "id": self.facts["current"],
            "previous": before,
            "changed": True,
            "rate_hz": 29.8,
            "p95_ms": 20.1,
        }

    def _add(self, options: list[str], archive: bytes) -> dict[str, Any]:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r|") as tar:
            for member in tar:
                content = tar.extractfile(member)
                assert content is not None
                self.received[member.name] = content.read()
        added = options[options.index("--id") + 1]
        self.facts["bundles"].append(stored(added, "new", 1.8e9))
        return {"id": added, "added": True, "signed_by": None}


def stored(bundle_id: str, name: str, added_unix: float) -> dict[str, Any]:
    return {
        "id": bundle_id,
        "name": name,
        "added_unix": added_unix,
        "size_bytes": 1_300_000,
        "signed_by": None,
    }


def refused(status: int, *said: str) -> Answer:
    """An answer of a command that failed."""
    return Answer(status, b"", said)


LOST = refused(255, "cfvgg-edge: health 1/30 s: 30.0 Hz", "Connection to pi closed by remote host.")
