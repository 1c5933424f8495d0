"""Fuzzed: a bundle folder in which one file is not as it should be, with checksums that say otherwise."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np

from benchmarks.fuzz.outcome import Target, refusing
from benchmarks.fuzz.texts import short_manifest
from edge_runtime.bundle import Bundle
from edge_runtime.errors import BundleError, InterpreterError
from edge_runtime.manifest import CHECKSUM_FILE, MANIFEST_FILE, MEAN_FILE, MODEL_FILES

DTYPE = "int8"
MODEL_FILE = MODEL_FILES[DTYPE]
TEXTS = (MANIFEST_FILE, CHECKSUM_FILE, MEAN_FILE)
CHANGE = re.compile(rb"(\d{1,7})=(\d{1,3})")


def bundle_folder(folder: Path, bundle: Path) -> Target:
    """`Bundle.open`. An input is a file's name, a line end, and its content; of a model, its changes."""
    good = small_bundle(bundle, folder / "good")
    path = Path(shutil.copytree(good, folder / "bundle"))
    Bundle.open(path)

    def check(data: bytes) -> None:
        name, _, content = data.partition(b"\n")
        files = spoiled(good, name.decode(errors="replace"), content)
        for changed, new in files.items():
            (path / changed).write_bytes(new)
        if CHECKSUM_FILE not in files:
            seal(path)
        try:
            with refusing(BundleError, InterpreterError):
                Bundle.open(path)
        finally:
            for changed in {*files, CHECKSUM_FILE}:
                shutil.copyfile(good / changed, path / changed)

    changes = [f"{MODEL_FILE}\n{n}={n % 256},{n * 7}=255" for n in (0, 20, 200, 120_000)]
    texts = [f"{name}\n".encode() + (good / name).read_bytes() for name in TEXTS]
    return Target(check, (*texts, *(change.encode() for change in changes)))


def spoiled(good: Path, name: str, content: bytes) -> dict[str, bytes]:
    """The files that an input changes, with what then is in them."""
    if name in TEXTS:
        return {name: content}
    if name != MODEL_FILE:
        return {}
    model = bytearray((good / MODEL_FILE).read_bytes())
    for place, value in CHANGE.findall(content):
        model[int(place) % len(model)] = int(value) % 256
    manifest = json.loads((good / MANIFEST_FILE).read_text())
    manifest["models"][DTYPE]["sha256"] = hashlib.sha256(model).hexdigest()
    return {MODEL_FILE: bytes(model), MANIFEST_FILE: json.dumps(manifest).encode()}


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
    names = (MANIFEST_FILE, MEAN_FILE, MODEL_FILE)
    sums = {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in names}
    (path / CHECKSUM_FILE).write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))
