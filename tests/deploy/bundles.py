"""Bundles that no network is in, which is enough for everything but the runtime; and copies with changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_runtime.manifest import CHECKSUM_FILE, FORMAT, MANIFEST_FILE


def hollow_bundle(folder: Path, name: str = "hollow", **files: bytes) -> Path:
    """A folder with a manifest that says little, other files, and true checksums."""
    manifest = json.dumps({"format": FORMAT, "name": name}).encode()
    return write_bundle(folder, {MANIFEST_FILE: manifest, "report/accuracy.json": b"{}", **files})


def write_bundle(folder: Path, files: Mapping[str, bytes]) -> Path:
    """A folder with these files and their checksums."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    sums = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items())]
    (folder / CHECKSUM_FILE).write_text("".join(sums))
    return folder


def edited(bundle: Path, folder: Path, manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> Path:
    """A copy of a bundle with other values in its manifest and other files, and true checksums."""
    listed = [line.partition("  ")[2] for line in (bundle / CHECKSUM_FILE).read_text().splitlines()]
    contents = {name: (bundle / name).read_bytes() for name in listed} | dict(files)
    described = json.loads(contents[MANIFEST_FILE]) | dict(manifest)
    return write_bundle(folder, contents | {MANIFEST_FILE: json.dumps(described).encode()})
