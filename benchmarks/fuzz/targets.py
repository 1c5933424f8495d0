"""All targets by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.fuzz import bundles, commands, frames, texts
from benchmarks.fuzz.outcome import Target

MAKERS: dict[str, Callable[[Path], Target]] = {
    "config": texts.settings_file,
    "set": texts.assignment,
    "control": commands.control,
    "preview": commands.preview,
    "preview-stream": commands.preview_stream,
    "mqtt": commands.mqtt,
    "source": frames.source_uri,
    "records": texts.records,
    "groundtruth": texts.groundtruth,
}
OF_BUNDLES: dict[str, Callable[[Path, Path], Target]] = {
    "manifest": texts.manifest,
    "bundle": bundles.bundle_folder,
}


def make_target(name: str, folder: Path, bundle: Path) -> Target:
    """A target.

    Args:
        name: a key of one of the tables above.
        folder: empty; for its files.
        bundle: a good bundle.
    """
    return MAKERS[name](folder) if name in MAKERS else OF_BUNDLES[name](folder, bundle)
