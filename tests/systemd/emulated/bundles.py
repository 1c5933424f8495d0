"""Makes the bundles that are deployed: python -m tests.systemd.emulated.bundles FOLDER."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

SLOW_CHANNELS = (48, 128, 256, 256, 256)  # four times ours: a network of sixteen times the size
CROPS = 50


@dataclass(frozen=True)
class Bundles:
    """Folders of bundles.

    Attributes:
        first, second: good.
        slow: good as well, and slow.
        broken: its checksums are right, its model is half of one.
    """

    first: Path
    second: Path
    slow: Path
    broken: Path


def bundles(folder: Path) -> Bundles:
    """Where they are."""
    return Bundles(folder / "first", folder / "second", folder / "slow", folder / "broken")


def bundle_id(bundle: Path) -> str:
    """As a device names it."""
    return hashlib.sha256((bundle / "SHA256SUMS").read_bytes()).hexdigest()


def make(folder: Path) -> None:
    """All that are not there."""
    from calibration.report import Limits  # noqa: PLC0415 (torch, which the checks do without)
    from export.bundle import export_bundle  # noqa: PLC0415
    from export.calibrate import ExportSettings  # noqa: PLC0415
    from export.checkpoints import load_student, random_student  # noqa: PLC0415
    from export.cli import SHIPPED_WEIGHTS  # noqa: PLC0415

    found, weights = bundles(folder), Path("export") / SHIPPED_WEIGHTS
    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate((found.first, found.second)):
        if not path.exists():
            settings = ExportSettings(int8=True, crops=CROPS + number)
            export_bundle(load_student(weights), path.name, path, settings, False)
    if not found.slow.exists():
        settings = ExportSettings(int8=False, crops=CROPS, limits=Limits())
        export_bundle(random_student(SLOW_CHANNELS), found.slow.name, found.slow, settings, False)
    if not found.broken.exists():
        break_model(found.first, found.broken)


def break_model(bundle: Path, broken: Path) -> None:
    """A copy whose models are cut off, and say that they are whole."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    files = {
        path: (bundle / path).read_bytes()
        for path in (line.partition("  ")[2] for line in (bundle / "SHA256SUMS").read_text().splitlines())
    }
    for model in manifest["models"].values():
        half = files[model["file"]][: model["bytes"] // 2]
        files[model["file"]] = half
        model |= {"bytes": len(half), "sha256": hashlib.sha256(half).hexdigest()}
    files["manifest.json"] = json.dumps(manifest).encode()
    for path, data in files.items():
        (broken / path).parent.mkdir(parents=True, exist_ok=True)
        (broken / path).write_bytes(data)
    sums = (f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in sorted(files.items()))
    (broken / "SHA256SUMS").write_text("".join(sums))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
