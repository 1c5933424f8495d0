"""`cfvgg-edge doctor`."""

# Imports are inside the command, so that other commands start without them.
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    *,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file; else the service's.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Look for what keeps the tracker from its work, and how to mend it; exit code 1 if something does."""
    from edge_runtime.doctor.checks import screen, to_json
    from edge_runtime.doctor.examine import examine
    from edge_runtime.doctor.machine import Machine
    from edge_runtime.runtime_folder import runtime_folder

    machine = Machine()
    checks = list(examine(machine, config, runtime_folder()))
    typer.echo((to_json if json else screen)(machine.name, checks))
    if any(check.state == "failure" for check in checks):
        raise typer.Exit(1)
