"""From a bundle here to a bundle in use there, step by step. Whatever fails, the old bundle is in use."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from edge_runtime.deployment.health import Limits
from edge_runtime.deployment.place import short
from edge_runtime.errors import DeploymentError, DeviceError, ServiceError
from export.deploy.device import Device
from export.deploy.facts import Facts, screen
from export.deploy.package import Package
from export.deploy.preflight import check_device, check_package

# After a connection was lost: the device notices, goes back, and has its service up again meanwhile.
AFTERMATH_S = 120.0
ASK_AGAIN_S = 2.0

log = logging.getLogger(__name__)


def deploy(device: Device, package: Package, limits: Limits, dry_run: bool = False) -> None:
    """Check the device, send the bundle unless it is there, try it, and keep it if it does well.

    Args:
        device: the device.
        package: the bundle.
        limits: what "well" means.
        dry_run: only check, and say what would be done.

    Raises:
        DeviceError, StorageError: refused; the old bundle is in use as before.
        DeploymentError: the bundle did not stand its trial; the old one is in use again.
        ServiceError: the device cannot be reached.
    """
    host = device.host
    facts = _looked_at(device)
    check_package(facts, package, host)
    stored = facts.bundle(package.id)
    # It may be there without a signature that this device asks for.
    sends = stored is None or (facts.signers and stored.signed_by is None)
    label = f"{package.name} {short(package.id)}"
    if facts.current == package.id and not facts.trial and not sends:
        if not facts.service.active:
            fix = "on the device: sudo systemctl restart cfvgg-edge, and journalctl -u cfvgg-edge"
            raise DeviceError(
                f"has {label} in use already, but its service does not run", where=host, fix=fix
            )
        log.info("%s runs %s already", host, label)
        return
    if dry_run:
        todo = f"send {package.size_mb:.1f} MB, " if sends else ""
        log.info(
            "would %sput %s in the place of %s, and watch it for %g s; nothing was changed",
            todo, label, facts.named(facts.current), limits.health_s,
        )  # fmt: skip
        return
    if sends:
        log.info("sending %s, %.1f MB", label, package.size_mb)
        _sent(device, package)
    else:
        log.info("%s has %s already", host, label)
    log.info("trying %s in the place of %s", label, facts.named(facts.current))
    done = _tried(device, package.id, lambda: device.use(package.id, limits))
    log.info("%s runs %s%s", host, label, _figures(done))


def rollback(device: Device, limits: Limits, dry_run: bool = False) -> None:
    """Go back to the previous bundle, on the same trial. Raises what `deploy` does."""
    facts = _looked_at(device)
    target = facts.previous
    if target is None:
        fix = "cfvgg-export deploy another one"
        raise DeviceError("has no previous bundle to go back to", where=device.host, fix=fix)
    change = f"{facts.named(target)} in the place of {facts.named(facts.current)}"
    if dry_run:
        log.info("would put %s, and watch it for %g s; nothing was changed", change, limits.health_s)
        return
    log.info("putting %s", change)
    done = _tried(device, target, lambda: device.rollback(limits))
    log.info("%s runs %s%s", device.host, facts.named(target), _figures(done))


def _looked_at(device: Device) -> Facts:
    facts = device.facts(examine=True)
    for line in screen(device.host, facts).splitlines()[:2]:
        log.info("%s", line)
    for finding in facts.doctor:
        fix = f" (fix: {finding.fix})" if finding.fix else ""
        log.warning("doctor there: %s: %s%s", finding.check, finding.detail, fix)
    check_device(facts, device.host)
    return facts


def _sent(device: Device, package: Package) -> None:
    try:
        device.add(package)
    except ServiceError as lost:
        raise ServiceError(
            f"the connection was lost while sending ({lost.what})",
            where=device.host,
            fix="nothing was changed there; deploy again",
        ) from lost


def _tried(device: Device, bundle_id: str, attempt: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run a trial. If the connection is lost in it, find out what the device did then."""
    try:
        return attempt()
    except ServiceError as lost:
        log.warning("%s; asking the device what it did", lost)
        facts = _aftermath(device)
        if facts is None:
            look = f"cfvgg-export list {device.host}"
            raise ServiceError(
                f"the connection was lost during the trial ({lost.what}), and the device is not back since",
                where=device.host,
                fix=f"it goes back to the old bundle by itself; look with {look}",
            ) from lost
        if facts.current == bundle_id:
            log.warning("the connection was lost after the trial had succeeded")
            return {}
        raise DeploymentError(
            f"the connection was lost during the trial, {facts.named(facts.current)} is in use again",
            where=device.host,
            fix="deploy again",
        ) from lost


def _aftermath(device: Device) -> Facts | None:
    """The device's facts once it has gone back, or has not had to; None if it does not come to that."""
    end_s = time.monotonic() + AFTERMATH_S
    while True:
        # No connection yet, or it is still at it.
        with contextlib.suppress(ServiceError, DeviceError):
            device.settle()
            return device.facts()
        if time.monotonic() >= end_s:
            return None
        time.sleep(ASK_AGAIN_S)


def _figures(done: dict[str, Any]) -> str:
    """What the trial measured, where the device tells."""
    texts = [
        text.format(done[key])
        for key, text in (("rate_hz", "{:.1f} Hz"), ("p95_ms", "p95 {:.1f} ms"))
        if isinstance(done.get(key), int | float)
    ]
    return f": {', '.join(texts)}" if texts else ""
