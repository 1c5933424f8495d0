"""What a device says of itself: the answer to `cfvgg-edge bundle facts`."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge_runtime.deployment.facts import SCHEMA
from edge_runtime.deployment.place import short
from edge_runtime.errors import DeviceError
from edge_runtime.status import duration
from edge_runtime.structure import structure


@dataclass(frozen=True)
class SystemFacts:
    """From /etc/os-release."""

    pretty: str


@dataclass(frozen=True)
class ServiceFacts:
    """The service, as systemd and itself tell; None where they do not."""

    installed: bool
    active: bool
    restarts: int | None = None
    rate_hz: float | None = None
    p95_ms: float | None = None
    uptime_s: float | None = None


@dataclass(frozen=True)
class StoredBundle:
    """A bundle that the device has."""

    id: str
    name: str
    added_unix: float
    size_bytes: int
    signed_by: str | None = None


@dataclass(frozen=True)
class Finding:
    """What `cfvgg-edge doctor` does not like."""

    check: str
    result: str
    detail: str
    fix: str | None = None


@dataclass(frozen=True)
class Facts:
    """A device.

    Attributes:
        machine: as uname has it.
        free_mb: where its bundles are.
        manifest_schema: of the bundles that it reads.
        runtime: for TFLite; None if there is none.
        signers: whether only signed bundles are taken.
        current, previous, trial: ids of bundles.
    """

    cfvgg: str | None
    machine: str
    os: SystemFacts
    python: str
    uid: int
    store: str
    free_mb: float
    manifest_schema: str
    runtime: dict[str, str | None] | None
    signers: bool
    service: ServiceFacts
    current: str | None
    previous: str | None
    trial: str | None
    bundles: tuple[StoredBundle, ...]
    doctor: tuple[Finding, ...]

    def bundle(self, bundle_id: str | None) -> StoredBundle | None:
        """A bundle that the device has; None if it does not."""
        return next((bundle for bundle in self.bundles if bundle.id == bundle_id), None)

    def named(self, bundle_id: str | None) -> str:
        """A bundle in a sentence."""
        if bundle_id is None:
            return "no bundle"
        bundle = self.bundle(bundle_id)
        return f"{bundle.name} {short(bundle_id)}" if bundle else short(bundle_id)


def parse_facts(output: dict[str, Any], host: str) -> Facts:
    """Facts from JSON. Keys that a later version may add are passed over.

    Raises:
        DeviceError: they are of another format, or not what they should be.
    """
    if output.get("schema") != SCHEMA:
        raise DeviceError(
            f"answers in {output.get('schema')!r}, and {SCHEMA!r} is known here",
            where=host,
            fix="have the same version of cfvgg here and there",
        )
    return structure(Facts, _known(Facts, output), f"{host}: facts", DeviceError)


def screen(host: str, facts: Facts) -> str:
    """Lines for a person."""
    return "\n".join(_lines(host, facts))


def _lines(host: str, facts: Facts) -> Iterator[str]:
    yield f"{host}: {facts.os.pretty}, {facts.machine}, cfvgg {facts.cfvgg}, {facts.free_mb:.0f} MB free"
    yield f"service   {', '.join(_service(facts.service))}"
    roles = {facts.previous: "previous", facts.current: "current", facts.trial: "on trial"}
    for bundle in sorted(facts.bundles, key=lambda bundle: -bundle.added_unix):
        added = datetime.fromtimestamp(bundle.added_unix).astimezone().strftime("%Y-%m-%d %H:%M")
        signed = f", signed by {bundle.signed_by}" if bundle.signed_by else ""
        size_mb = bundle.size_bytes / 1e6
        role = roles.get(bundle.id, "")
        yield f"{role:<9} {short(bundle.id)}  {bundle.name}, {size_mb:.1f} MB, added {added}{signed}"
    if not facts.bundles:
        yield "bundles   none"


def _service(service: ServiceFacts) -> Iterator[str]:
    yield "not installed" if not service.installed else "active" if service.active else "not active"
    if service.rate_hz is not None:
        yield f"{service.rate_hz:.1f} Hz"
    if service.p95_ms is not None:
        yield f"p95 {service.p95_ms:.1f} ms"
    if service.uptime_s is not None:
        yield f"up {duration(service.uptime_s)}"
    if service.restarts is not None:
        yield f"{service.restarts} restart{'' if service.restarts == 1 else 's'}"


def decoded(output: bytes, host: str) -> dict[str, Any]:
    """The JSON object that a command has written. Raises `DeviceError` if it is none."""
    try:
        found = json.loads(output)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        shown = output[:60].decode("utf-8", "replace")
        raise DeviceError(
            f"has not answered in JSON but with {shown!r}",
            where=host,
            fix="have the same version of cfvgg here and there, and a shell there that prints nothing",
        )
    return found


def _known(kind: Any, value: Any) -> Any:
    """`value` without the keys that a dataclass does not have, throughout."""
    if isinstance(value, list):
        return [_known(kind, item) for item in value]
    if kind is None or not isinstance(value, dict):
        return value
    hints = typing.get_type_hints(kind)
    return {name: _known(_dataclass(hints[name]), item) for name, item in value.items() if name in hints}


def _dataclass(hint: Any) -> Any:
    """The dataclass in a type such as `tuple[Finding, ...]`; None if there is none."""
    if dataclasses.is_dataclass(hint):
        return hint
    return next((kind for kind in map(_dataclass, typing.get_args(hint)) if kind is not None), None)
