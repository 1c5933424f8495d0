"""What both command lines do around their commands."""

from __future__ import annotations

import os
import sys

import typer

from edge_runtime.errors import CfvggError


def run_app(app: typer.Typer, name: str) -> None:
    """Run a Typer app; intended errors become one line on standard error and an exit code."""
    # OpenCV and FFmpeg would add lines of their own to every unreadable file.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        app()
    except CfvggError as error:
        typer.echo(f"{name}: {error}", err=True)
        sys.exit(error.exit_code)
