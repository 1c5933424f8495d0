"""Fuzzed: a bundle folder in which one file is not as it should be, with checksums that say otherwise.

Not the model itself: TFLite crashes by one in some hundred changes of its bytes. What has happened to a file
on its way shows in its checksum, and who makes that right could as well have made the model.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from benchmarks.fuzz.outcome import Target, refusing
from benchmarks.fuzz.texts import short_manifest
from edge_runtime.bundle import Bundle
from edge_runtime.errors import BundleError
from edge_runtime.manifest import CHECKSUM_FILE, MANIFEST_FILE, MEAN_FILE, MODEL_FILES

DTYPE = "int8"
FILES = (MANIFEST_FILE, MEAN_FILE, CHECKSUM_FILE)


def bundle_folder(folder: Path, bundle: Path) -> Target:
    """`Bundle.open`. An input is a file's name, a line end, and its content."""
    good = small_bundle(bundle, folder / "good")
    path = Path(shutil.copytree(good, folder / "bundle"))
    Bundle.open(path)

    def check(data: bytes) -> None:
        name, _, content = data.partition(b"\n")
        changed = name.decode(errors="replace")
        if changed not in FILES:
            return
        (path / changed).write_bytes(content)
        if changed != CHECKSUM_FILE:
            seal(path)
        try:
            with refusing(BundleError):
                Bundle.open(path)
        finally:
            for file in {changed, CHECKSUM_FILE}:
                shutil.copyfile(good / file, path / file)

    return Target(check, tuple(f"{name}\n".encode() + (good / name).read_bytes() for name in FILES))


def small_bundle(bundle: Path, path: Path) -> Path:
    """A copy with one model, and a mean image of zeros, which changes nothing and is read and resized."""
    shutil.copytree(bundle, path)
    data = json.loads(short_manifest(bundle))
    data["models"] = {DTYPE: data["models"][DTYPE]}
    data["preprocessing"]["mean"] = "image"
    (path / MANIFEST_FILE).write_text(json.dumps(data, indent=1))
    np.save(path / MEAN_FILE, np.zeros((4, 5, 3), np.float32))
    seal(path)
    return path


def seal(path: Path) -> None:
    """Make the checksums right, of what is read."""
    names = (MANIFEST_FILE, MEAN_FILE, MODEL_FILES[DTYPE])
    sums = {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in names}
    (path / CHECKSUM_FILE).write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))
