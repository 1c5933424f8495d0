"""Copies of a bundle: the same network, and something that is special about them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from edge_runtime.manifest import MANIFEST_FILE
from tests.edge.bundles import summed


class Bundles:
    """Bundles by name. What they do in the service goes by the name too: see `tests.edge.device.BEHAVIOUR`.

    Args:
        network: a real bundle.
        folder: for the copies.
    """

    def __init__(self, network: Path, folder: Path) -> None:
        self._network, self._folder = network, folder

    def named(self, name: str, **described: Any) -> Path:
        """A copy of that name, with other values in its manifest, and true checksums."""
        path = self._folder / name
        if not path.exists():
            shutil.copytree(self._network, path)
            manifest = json.loads((path / MANIFEST_FILE).read_text()) | {"name": name} | described
            (path / MANIFEST_FILE).write_text(json.dumps(manifest))
            summed(path)
        return path

    @property
    def old(self) -> Path:
        """A good one."""
        return self.named("old")

    @property
    def new(self) -> Path:
        """Another good one."""
        return self.named("new")

    @property
    def slow(self) -> Path:
        """Takes a quarter of a second for a frame."""
        return self.named("slow")

    @property
    def crashes(self) -> Path:
        """Ends the service some seconds after its start."""
        return self.named("crashes later")

    @property
    def broken(self) -> Path:
        """Half of each model, with true checksums."""
        path = self.named("broken")
        for model in path.glob("*.tflite"):
            model.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
        return summed(path)
