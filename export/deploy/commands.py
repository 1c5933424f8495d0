"""`cfvgg-export deploy`, `rollback`, `list`, `prune` and `sign`."""

# Imports are inside the commands, so that other commands start without them.
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from export.options import HostArgument, RemoteCommandOption, SshOption
from export.session import session

if TYPE_CHECKING:
    from export.deploy.device import Device

GOES_BACK = "interrupted; a bundle on trial is taken back by the device itself"

deploy_app = typer.Typer()
HealthOption = Annotated[float, typer.Option(min=1, help="How long the service is watched, seconds.")]
RateOption = Annotated[
    float | None, typer.Option(min=0, help="Least frames a second; default: 0.8 of those before.")
]
P95Option = Annotated[
    float | None,
    typer.Option(min=0, help="Most ms of the tracker in 95 % of frames; default: twice those before."),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check, and only say what would be done.")]
BundleArgument = Annotated[Path, typer.Argument(help="Bundle folder.")]


@deploy_app.command()
def deploy(
    host: HostArgument,
    bundle: BundleArgument,
    *,
    dry_run: DryRunOption = False,
    sign: Annotated[Path | None, typer.Option(metavar="KEY", help="Sign it first with this ssh key.")] = None,
    health_s: HealthOption = 30.0,
    min_rate_hz: RateOption = None,
    max_p95_ms: P95Option = None,
    remote_command: RemoteCommandOption = "cfvgg-edge",
    ssh_option: SshOption = None,
) -> None:
    """Put a bundle to use on a device, over ssh; back to the old one if the service does not do well with it.

    Exit code 2: refused, nothing was changed there. 5: no connection. 7: it did not stand the trial, and the
    old bundle is in use again.
    """
    from edge_runtime.deployment.health import Limits
    from export.deploy.deployment import deploy as run_deployment
    from export.deploy.package import read_package
    from export.deploy.signing import save_signature, signed

    with session(GOES_BACK):
        package = read_package(bundle)
        if sign is not None:
            package = signed(package, sign)
            if not dry_run:
                save_signature(package)
        limits = Limits(health_s, min_rate_hz, max_p95_ms)
        run_deployment(_device(host, remote_command, ssh_option), package, limits, dry_run)


@deploy_app.command()
def rollback(
    host: HostArgument,
    *,
    dry_run: DryRunOption = False,
    health_s: HealthOption = 30.0,
    min_rate_hz: RateOption = None,
    max_p95_ms: P95Option = None,
    remote_command: RemoteCommandOption = "cfvgg-edge",
    ssh_option: SshOption = None,
) -> None:
    """Put a device's previous bundle to use again, watched in the same way."""
    from edge_runtime.deployment.health import Limits
    from export.deploy.deployment import rollback as run_rollback

    with session(GOES_BACK):
        limits = Limits(health_s, min_rate_hz, max_p95_ms)
        run_rollback(_device(host, remote_command, ssh_option), limits, dry_run)


@deploy_app.command("list")
def list_bundles(
    host: HostArgument,
    *,
    remote_command: RemoteCommandOption = "cfvgg-edge",
    ssh_option: SshOption = None,
) -> None:
    """What a device is, how its service does, and the bundles that it has."""
    from export.deploy.facts import screen

    typer.echo(screen(host, _device(host, remote_command, ssh_option).facts()))


@deploy_app.command()
def prune(
    host: HostArgument,
    *,
    keep: Annotated[int, typer.Option(min=0, help="How many of the newest bundles stay.")] = 3,
    remote_command: RemoteCommandOption = "cfvgg-edge",
    ssh_option: SshOption = None,
) -> None:
    """Remove old bundles from a device; never those in use, before or on trial."""
    device = _device(host, remote_command, ssh_option)
    facts = device.facts()
    removed = device.prune(keep)
    for bundle_id in removed:
        typer.echo(f"removed {facts.named(bundle_id)}")
    if not removed:
        typer.echo("nothing to remove")


@deploy_app.command()
def sign(
    bundle: BundleArgument,
    *,
    key: Annotated[Path, typer.Option(help="An ssh key; the public half will do if your agent has the key.")],
) -> None:
    """Sign a bundle for devices that take signed ones only."""
    from export.deploy.package import read_package
    from export.deploy.signing import save_signature, signed, signer_line

    save_signature(signed(read_package(bundle), key))
    typer.echo(f"signed {bundle}")
    if line := signer_line(key):
        typer.echo(
            f"devices that are to trust this key need this line in /etc/cfvgg/allowed_signers:\n{line}"
        )


def _device(host: str, remote_command: str, ssh_option: list[str] | None) -> Device:
    from export.deploy.connection import SshConnection
    from export.deploy.device import Device

    return Device(SshConnection(host, remote_command, ssh_option or ()))
