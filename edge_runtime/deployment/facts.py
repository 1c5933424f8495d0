"""What a device says about itself to whoever wants to deploy to it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from edge_runtime.deployment.health import status_of
from edge_runtime.deployment.place import effective
from edge_runtime.deployment.signatures import signer, trusted
from edge_runtime.deployment.store import Store
from edge_runtime.deployment.unit import Unit
from edge_runtime.errors import CfvggError
from edge_runtime.manifest import FORMAT

SCHEMA = "cfvgg-facts/1"


def facts(store: Store, *, examine: bool) -> dict[str, Any]:
    """Everything, for JSON; changes nothing and raises nothing.

    Args:
        store: of bundles.
        examine: whether `doctor` looks around, which runs the model.
    """
    return {
        "schema": SCHEMA,
        "cfvgg": _version("cfvgg"),
        "machine": platform.machine(),
        "os": _system(),
        "python": platform.python_version(),
        "uid": os.geteuid(),
        "store": str(store.folder),
        "free_mb": _free_mb(store.folder),
        "manifest_schema": FORMAT,
        "runtime": _runtime(),
        "signers": trusted(store.signers),
        "service": service_facts(),
        **listing(store),
        "doctor": list(_findings()) if examine else [],
    }


def listing(store: Store) -> dict[str, Any]:
    """Which bundles there are, the newest first, and which of them counts."""
    current, previous, trial = effective(store.folder)
    return {"current": current, "previous": previous, "trial": trial, "bundles": _bundles(store)}


def _bundles(store: Store) -> list[dict[str, Any]]:
    return [
        {
            "id": kept.id,
            "name": kept.name,
            "added_unix": round(kept.added_unix, 3),
            "size_bytes": kept.size_bytes,
            "signed_by": _signed_by(store, kept.id),
        }
        for kept in store.kept()
    ]


def service_facts() -> dict[str, Any]:
    """Whether it is there and runs, and how fast."""
    state = Unit().state()
    status = status_of(state)
    loop = status["loop"] if status is not None else {}
    return {
        "installed": state.installed,
        "active": state.active,
        "restarts": state.restarts,
        "rate_hz": loop.get("rate_hz"),
        "p95_ms": loop.get("p95_ms"),
        "uptime_s": status["uptime_s"] if status is not None else None,
    }


def _signed_by(store: Store, name: str) -> str | None:
    try:
        return signer(store.folder / name, store.signers)
    except (CfvggError, OSError):
        return None


def _findings() -> Iterator[dict[str, Any]]:
    """What `doctor` finds that is not good."""
    from edge_runtime.doctor.examine import examine  # noqa: PLC0415 (slow)
    from edge_runtime.doctor.machine import Machine  # noqa: PLC0415
    from edge_runtime.runtime_folder import runtime_folder  # noqa: PLC0415

    for check in examine(Machine(), None, runtime_folder()):
        if check.state in ("warning", "failure"):
            yield {"check": check.name, "result": check.state, "detail": check.found, "fix": check.fix}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _runtime() -> dict[str, str | None] | None:
    from edge_runtime.interpreter import find_runtime  # noqa: PLC0415 (slow)

    try:
        name = find_runtime()[0].replace("_", "-")
    except CfvggError:
        return None
    return {"name": name, "version": _version(name)}


def _system() -> dict[str, str]:
    try:
        said = platform.freedesktop_os_release()
    except OSError:
        said = {}
    names = {"id": "ID", "version_id": "VERSION_ID", "codename": "VERSION_CODENAME", "pretty": "PRETTY_NAME"}
    return {ours: said.get(theirs, "") for ours, theirs in names.items()}


def _free_mb(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free // 1_000_000
