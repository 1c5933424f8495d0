"""What every command does around its work: progress to the user, and a clean end on Ctrl-C."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import typer

INTERRUPTED = 130


@contextlib.contextmanager
def session(interrupted: str) -> Iterator[None]:
    """Progress to standard output, warnings to standard error, Ctrl-C to a line and exit code 130."""
    logger = logging.getLogger("export")
    logger.setLevel(logging.INFO)
    logger.handlers, logger.propagate = [_EchoHandler()], False
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"cfvgg-export: {interrupted}", err=True)
        raise typer.Exit(INTERRUPTED) from None


class _EchoHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        warning = record.levelno >= logging.WARNING
        typer.echo(f"{'warning: ' if warning else ''}{record.getMessage()}", err=warning)
