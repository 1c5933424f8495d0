"""Facts, bundles and lists of them, for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edge_runtime.deployment.place import short
from edge_runtime.status import duration

if TYPE_CHECKING:
    from edge_runtime.bundle import Bundle


def facts_text(found: Mapping[str, Any]) -> str:
    """Lines for a person; `found` is what `facts.facts` gives."""
    return "\n".join(f"{name:<9} {text}" for name, text in _fact_lines(found))


def bundles_text(found: Mapping[str, Any]) -> str:
    """A line for each bundle; `found` has "current", "previous", "trial" and "bundles"."""
    marks = {found["previous"]: "previous", found["current"]: "in use", found["trial"]: "on trial"}
    lines = []
    for bundle in found["bundles"]:
        added = datetime.fromtimestamp(bundle["added_unix"], UTC).strftime("%Y-%m-%d %H:%M")
        size = f"{bundle['size_bytes'] / 1e6:.1f} MB"
        by = f"signed by {bundle['signed_by']}" if bundle["signed_by"] else ""
        mark = marks.get(bundle["id"], "")
        line = f"{short(bundle['id'])}  {mark:<8}  {added} UTC  {size:>8}  {bundle['name']}  {by}"
        lines.append(line.rstrip())
    return "\n".join(lines) or "no bundles"


def check_text(bundle: Bundle) -> str:
    """What a bundle that was opened is; runs its models once more."""
    from edge_runtime.interpreter import Interpreter  # noqa: PLC0415 (slow)

    manifest = bundle.manifest
    lines: dict[str, Any] = {
        "bundle": f"{manifest.name} ({bundle.path})",
        "made from": manifest.source,
        "licence": manifest.licence,
        "created": f"{manifest.created_utc}, git {manifest.git_revision}",
        "network": f"{manifest.parameters} parameters, channels {manifest.network_channels}, "
        f"LRN {'yes' if manifest.lrn else 'no'}, mean {manifest.preprocessing.mean}",
    }
    for level in manifest.levels:
        lines[f"level {level.name}"] = f"stride {level.stride}, {level.channels} channels"
    for dtype, info in manifest.models.items():
        size = info.fingerprint.size_px
        interpreter = Interpreter(bundle.model(dtype), (1, size, size, 3))
        delegate = "one XNNPACK delegate" if interpreter.delegated else "no delegate for the whole graph"
        lines[dtype] = f"{info.bytes} bytes, sha256 {info.sha256[:12]}, {interpreter.runtime}, {delegate}"
        sqnr = ", ".join(f"{a.level} {a.sqnr_db:.1f} dB" for a in manifest.accuracy.get(dtype, ()))
        lines[f"{dtype} SQNR"] = sqnr or "not recorded"
    if manifest.calibration is not None:
        lines["calibrated on"] = f"{manifest.calibration.count} crops of {manifest.calibration.source}"
    lines["verdict"] = "good: checksums, tensors and test answers match"
    return "\n".join(f"{name:<13} {value}" for name, value in lines.items())


def _fact_lines(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    system, service, runtime = found["os"], found["service"], found["runtime"]
    yield "machine", f"{found['machine']}, {system['pretty'] or 'unknown system'}, Python {found['python']}"
    version = f"{runtime['name']} {runtime['version']}" if runtime else "no TFLite runtime"
    yield "cfvgg", f"{found['cfvgg']}, bundles of {found['manifest_schema']}, {version}"
    yield "store", f"{found['store']}, {found['free_mb']} MB free"
    yield "signed", "bundles must be" if found["signers"] else "bundles need not be"
    yield "service", "; ".join(_service(service))
    for line in bundles_text(found).splitlines():
        yield "bundle", line
    for finding in found["doctor"]:
        yield finding["result"], f"{finding['check']}: {finding['detail']}; {finding['fix']}"


def _service(service: Mapping[str, Any]) -> Iterator[str]:
    if not service["installed"]:
        yield "not installed"
        return
    yield "active" if service["active"] else "not active"
    if service["restarts"] is not None:
        yield f"{service['restarts']} restarts"
    if service["uptime_s"] is not None:
        yield f"up {duration(service['uptime_s'])}"
    if service["rate_hz"] is not None:
        yield f"{service['rate_hz']:.1f} Hz"
    if service["p95_ms"] is not None:
        yield f"p95 {service['p95_ms']:.1f} ms"
