"""`cfvgg-edge service`."""

# Imports are inside the commands, so that other commands start without them.
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

NOT_RUNNING = 3  # as `systemctl status` has it

service_app = typer.Typer(no_args_is_help=True, help="The service that systemd runs.")
OfflineOption = Annotated[
    bool, typer.Option("--offline", help="systemd does not run here, as in an image that is being made.")
]
RootOption = Annotated[Path, typer.Option(help="Of another system, which does not run.", metavar="DIR")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


@service_app.command("install")
def install(
    *,
    config: Annotated[Path | None, typer.Option("--config", help="Settings to start with, TOML.")] = None,
    now: Annotated[bool, typer.Option("--now", help="Start it, anew if it runs.")] = False,
    dry_run: DryRunOption = False,
    root: RootOption = Path("/"),
    offline: OfflineOption = False,
) -> None:
    """Install the service, or bring it up to date; it starts with the system. Your settings stay."""
    from edge_runtime.config import load_config
    from edge_runtime.errors import InstallationError
    from edge_runtime.installation.layout import Layout, packaged
    from edge_runtime.installation.service import install_steps, not_ready, require_root
    from edge_runtime.installation.status import service_status
    from edge_runtime.installation.steps import perform

    layout = Layout(root.resolve(), offline)
    if now and not layout.live:
        raise InstallationError("--now is for the running system", fix="leave out --root and --offline")
    if not dry_run:
        require_root(layout)
    steps = install_steps(layout, config, now)
    for line in perform(steps, dry_run):
        typer.echo(line)
    path = layout.config if layout.config.exists() else config or packaged("cfvgg.toml")
    if layout.live and not now and (reason := not_ready(load_config(path), layout.config)):
        typer.echo(f"before it can run: {reason}")
    elif layout.live and not now and not service_status(layout).active:
        typer.echo("start it with: sudo systemctl start cfvgg-edge")


@service_app.command("uninstall")
def uninstall(
    *,
    purge: Annotated[bool, typer.Option("--purge", help="Settings, records and bundles as well.")] = False,
    dry_run: DryRunOption = False,
    root: RootOption = Path("/"),
    offline: OfflineOption = False,
) -> None:
    """Stop the service and remove all of it but your settings, records and bundles."""
    from edge_runtime.installation.layout import Layout
    from edge_runtime.installation.service import require_root, uninstall_steps
    from edge_runtime.installation.steps import perform

    layout = Layout(root.resolve(), offline)
    if not dry_run:
        require_root(layout)
    for line in perform(uninstall_steps(layout, purge), dry_run):
        typer.echo(line)
    places = (layout.config, layout.dropins, layout.state, layout.bundles)
    if kept := [str(path) for path in places if path.exists()]:
        typer.echo(f"kept: {', '.join(kept)}")


@service_app.command("status")
def status(*, root: RootOption = Path("/")) -> None:
    """How systemd sees the service; exit code 3 when it does not run."""
    from edge_runtime.installation.layout import Layout
    from edge_runtime.installation.status import describe, service_status

    layout = Layout(root.resolve())
    found = service_status(layout)
    typer.echo(describe(found, layout))
    if not found.active:
        raise typer.Exit(NOT_RUNNING)
