"""Bundles for tests of the store: made up, or made from a real one."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

from edge_runtime.manifest import CHECKSUM_FILE, MANIFEST_FILE, Manifest, Preprocessing


def made_up(folder: Path, name: str = "made up", size_bytes: int = 1000) -> Path:
    """A bundle that is whole but holds no model that runs."""
    (folder / "report").mkdir(parents=True)
    manifest = Manifest(
        name=name,
        source="nowhere",
        licence="none",
        created_utc="2026-01-01T00:00:00Z",
        git_revision="unknown",
        parameters=0,
        network_channels=(),
        lrn=False,
        preprocessing=Preprocessing("RGB", "folded", (0.0, 0.0, 0.0)),
        levels=(),
        models={},
        calibration=None,
        accuracy={},
        checked_sizes_px=(),
        versions={},
    )
    (folder / MANIFEST_FILE).write_text(manifest.to_json())
    (folder / "int8.tflite").write_bytes(hashlib.sha256(name.encode()).digest() * (size_bytes // 32))
    (folder / "report" / "accuracy.json").write_text("{}")
    return summed(folder)


def summed(folder: Path) -> Path:
    """Write SHA256SUMS anew."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CHECKSUM_FILE)
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files
    ]
    (folder / CHECKSUM_FILE).write_text("".join(lines))
    return folder


def renamed(bundle: Path, folder: Path, name: str) -> Path:
    """The same models under another name, which makes it another bundle."""
    shutil.copytree(bundle, folder)
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest | {"name": name}))
    return summed(folder)


def id_of(folder: Path) -> str:
    return hashlib.sha256((folder / CHECKSUM_FILE).read_bytes()).hexdigest()


def tar_of(folder: Path, *more: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A plain tar archive of a folder's files, and of what else is given."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            archive.add(path, path.relative_to(folder).as_posix(), recursive=False)
        for info, data in more:
            info.size = len(data) if info.isreg() else info.size
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info
