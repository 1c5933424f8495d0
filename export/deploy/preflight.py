"""What must be so before anything is sent to a device."""

from __future__ import annotations

from edge_runtime.errors import DeviceError
from export.deploy.facts import Facts
from export.deploy.package import Package

MACHINES = frozenset({"aarch64", "arm64", "x86_64", "amd64"})
SPARE_MB = 20.0


def check_device(facts: Facts, host: str) -> None:
    """Refuse a device that could not be tried on. Raises `DeviceError`."""
    if facts.machine not in MACHINES:
        raise DeviceError(
            f"is {facts.machine}, and cfvgg needs 64 bits",
            where=host,
            fix="install the 64-bit Raspberry Pi OS",
        )
    if not facts.service.installed:
        raise DeviceError(
            "has no service that would run the bundle",
            where=host,
            fix="on the device: sudo cfvgg-edge service install --now",
        )


def check_package(facts: Facts, package: Package, host: str) -> None:
    """Refuse a bundle that the device could not take. Raises `DeviceError`."""
    if package.format != facts.manifest_schema:
        raise DeviceError(
            f"its cfvgg {facts.cfvgg} reads bundles of format {facts.manifest_schema}, {package.path} has "
            f"{package.format}",
            where=host,
            fix="update cfvgg there, or export the bundle with the same version",
        )
    if facts.runtime is None:
        fix = "install cfvgg there with its extra `edge` (docs/deploy.md)"
        raise DeviceError("has no TFLite runtime", where=host, fix=fix)
    if facts.signers and not package.signed:
        raise DeviceError(
            f"takes signed bundles only, and {package.path} is not signed",
            where=host,
            fix="deploy with --sign KEY",
        )
    needed_mb = 2 * package.size_mb + SPARE_MB
    if facts.bundle(package.id) is None and facts.free_mb < needed_mb:
        raise DeviceError(
            f"has {facts.free_mb:.0f} MB free in {facts.store}, this bundle needs {needed_mb:.0f}",
            where=host,
            fix=f"cfvgg-export prune {host}, or delete old records there",
        )
