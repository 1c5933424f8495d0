"""Bundles with a network. Importing this takes seconds, as torch does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edge_runtime.manifest import MODEL_FILES
from export.bundle import export_bundle
from export.calibrate import ExportSettings
from export.checkpoints import random_student
from tests.deploy.bundles import edited

QUICKLY = ExportSettings(crops=4, checks=2, sizes_px=(129,))
SLOW_CHANNELS = (192, 384, 16, 16, 16)  # some twenty times the work up to the level that is used


@dataclass(frozen=True)
class Bundles:
    """Bundles with a network, float32, each made when it is first asked for.

    Attributes:
        folder: for them.
    """

    folder: Path

    @cached_property
    def old(self) -> Path:
        """A good one."""
        export_bundle(random_student(), "old", self.folder / "old", QUICKLY)
        return self.folder / "old"

    @cached_property
    def new(self) -> Path:
        """The same network under another name."""
        return self.named("new")

    @cached_property
    def crashes(self) -> Path:
        """The same; see `loopback.CRASHING`."""
        return self.named("crashes")

    @cached_property
    def broken(self) -> Path:
        """Half a model, with true checksums."""
        model = MODEL_FILES["float32"]
        half = (self.old / model).read_bytes()
        return self.named("broken", {model: half[: len(half) // 2]})

    @cached_property
    def slow(self) -> Path:
        """A large network."""
        export_bundle(random_student(SLOW_CHANNELS), "slow", self.folder / "slow", QUICKLY)
        return self.folder / "slow"

    def named(self, name: str, files: Mapping[str, bytes] | None = None) -> Path:
        """The good one under another name, with other files."""
        return edited(self.old, self.folder / name, {"name": name}, files or {})
