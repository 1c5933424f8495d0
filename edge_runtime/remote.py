"""Commands to the running service: what `cfvgg-edge` says to its sockets."""

# ruff: noqa: PLC0415 (see cli.py)

from __future__ import annotations

from typing import Annotated, Any

import typer

INTERRUPTED = 130

remote_app = typer.Typer()


@remote_app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """What the running service does: frames, rate, targets, publishers, health."""
    import json

    from edge_runtime.status import screen

    found = _ask({"command": "status"})["status"]
    typer.echo(json.dumps(found) if as_json else screen(found))


@remote_app.command()
def select(x: float, y: float, width: float, height: float) -> None:
    """Start a target on a box, in pixels of the frame."""
    _ask({"command": "select", "box": [x, y, width, height]})


@remote_app.command()
def clear(
    track_id: Annotated[int | None, typer.Argument(help="Of one target; all without it.")] = None,
) -> None:
    """Give targets up."""
    _ask({"command": "clear"} if track_id is None else {"command": "clear", "track_id": track_id})


@remote_app.command()
def pause() -> None:
    """Stop tracking; frames still flow."""
    _ask({"command": "pause"})


@remote_app.command()
def resume() -> None:
    """Go on tracking after `pause`."""
    _ask({"command": "resume"})


@remote_app.command()
def preview(
    *,
    stdout: Annotated[
        bool, typer.Option("--stdout", help="Binary stream to standard output; commands from standard input.")
    ] = False,
    width: Annotated[int | None, typer.Option(help="Of the pictures, px.")] = None,
    quality: Annotated[int | None, typer.Option(help="Of the JPEGs, 10 to 95.")] = None,
    max_rate: Annotated[float | None, typer.Option(help="Most pictures a second.")] = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Draw box and state into the pictures of --stdout.")
    ] = False,
) -> None:
    """Watch the running service, in this terminal or through ssh (cfvgg-export preview HOST)."""
    from edge_runtime.runtime_folder import runtime_folder

    wanted = {"width": width, "quality": quality, "max_rate_hz": max_rate, "overlay": overlay or None}
    request = {name: value for name, value in wanted.items() if value is not None}
    socket = runtime_folder() / "preview.sock"
    try:
        if stdout:
            from edge_runtime.preview.relay import relay

            relay(socket, request)
        else:
            from edge_runtime.preview.terminal import watch_in_terminal

            watch_in_terminal(socket, request)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    from edge_runtime.control import ask
    from edge_runtime.runtime_folder import runtime_folder

    return ask(runtime_folder() / "control.sock", request)
