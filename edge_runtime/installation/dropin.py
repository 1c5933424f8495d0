"""The part of the unit that depends on this machine and its settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge_runtime.errors import InstallationError
from edge_runtime.installation.layout import Layout
from edge_runtime.installation.needs import PLAIN, Needs


def dropin(program: Path, needs: Needs, layout: Layout) -> str:
    """The text of `layout.dropin`.

    Raises:
        InstallationError: a path holds characters that unit files give a meaning to.
    """
    for path in (program, *needs.shown, *needs.written):
        if not PLAIN.fullmatch(str(path)):
            raise InstallationError(
                "cannot stand in a unit file", where=path, fix="use a folder of letters, digits and ._-"
            )
    return "\n".join(_lines(program, needs, Path("/", layout.config.relative_to(layout.root)))) + "\n"


def _lines(program: Path, needs: Needs, config: Path) -> Iterator[str]:
    yield f"# Written by `cfvgg-edge service install` from {config}. When paths, addresses or the source"
    yield "# change there, run it again; changes here are lost then."
    yield "[Service]"
    yield "ExecStart="
    yield f"ExecStart={program} run --config {config}"
    if needs.shown:
        yield "# The service sees nothing of people's homes but this, and may only read it."
        yield from (f"BindReadOnlyPaths=-{path}" for path in needs.shown)
    if needs.written:
        yield "# Files outside its own folder."
        yield from (f"ReadWritePaths=-{path}" for path in needs.written)
    if needs.watchdog_s is not None:
        yield "# Opening the source again is tried for so long."
        yield f"WatchdogSec={needs.watchdog_s}s"
    if needs.camera_events:
        yield "# libcamera asks udev which cameras come and go."
        yield "RestrictAddressFamilies=AF_NETLINK"
    if needs.addresses or needs.loopback:
        yield f"# {', '.join(needs.addresses + needs.loopback)}"
        yield "PrivateNetwork=no"
        yield "RestrictAddressFamilies=AF_INET AF_INET6"
        yield "IPAddressDeny=" if needs.addresses else "IPAddressAllow=localhost"
