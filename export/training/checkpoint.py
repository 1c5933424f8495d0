"""What a run keeps in its folder: the checkpoint it goes on from, the log, the student."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from edge_runtime.errors import ConfigError, WeightsError
from edge_runtime.files import write_atomic

CHECKPOINT, STUDENT, LOG, CONFIG = "checkpoint.pt", "student.safetensors", "log.csv", "config.toml"

Row = dict[str, float]


def write_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Replace the checkpoint, atomically: a power cut leaves the last one or this one."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_atomic(folder / CHECKPOINT, buffer.getvalue())


def read_checkpoint(folder: Path, config: Mapping[str, Any], device: torch.device) -> dict[str, Any] | None:
    """The state that `write_checkpoint` was given, or None if there is no checkpoint.

    Raises:
        WeightsError: it cannot be read.
        ConfigError: it was made with other settings than `config`.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises several types for a damaged file
        first_line = str(error).partition("\n")[0]
        raise WeightsError(f"cannot be read ({first_line})", where=path, fix="remove it") from error
    changed = sorted(_changed(state["config"], config, ""))
    if changed:
        raise ConfigError(
            f"was made with another {', '.join(changed)}", where=path, fix="choose another --out"
        )
    return state


def write_log(folder: Path, rows: Sequence[Row]) -> None:
    """All rows as CSV; a row need not have every column."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, columns, lineterminator=os.linesep)
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(folder / LOG, table.getvalue().encode())


def _changed(old: Any, new: Any, name: str) -> list[str]:
    """Dotted names of the settings that differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        names = old.keys() | new.keys()
        return [n for key in names for n in _changed(old.get(key), new.get(key), f"{name}.{key}".lstrip("."))]
    return [] if old == new else [name]
