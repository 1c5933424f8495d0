"""A bundle as it is sent: the files that its SHA256SUMS lists, verified, as a tar archive."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.checksums import AGAIN, listed
from edge_runtime.deployment.contents import SIGNATURE_FILE
from edge_runtime.errors import BundleError
from edge_runtime.manifest import CHECKSUM_FILE, MANIFEST_FILE

CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class Package:
    """A verified bundle, in memory. The models are not run: the device does that, with its own runtime.

    Attributes:
        path: its folder.
        id: SHA-256 of SHA256SUMS, 64 hex digits.
        name: of the network, by the manifest.
        format: of the manifest, which may be one that only other versions know.
        files: names to contents, the signature among them if there is one.
    """

    path: Path
    id: str
    name: str
    format: str
    files: Mapping[str, bytes]

    @property
    def size_mb(self) -> float:
        """Of all files."""
        return sum(map(len, self.files.values())) / 1e6

    @property
    def signed(self) -> bool:
        """Whether it carries a signature, whoever made it."""
        return SIGNATURE_FILE in self.files

    def chunks(self) -> Iterator[bytes]:
        """The tar archive, the same for the same files."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, data in sorted(self.files.items()):
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(data), 0o644
                tar.addfile(member, io.BytesIO(data))
        view = archive.getbuffer()
        for start in range(0, len(view), CHUNK_BYTES):
            yield bytes(view[start : start + CHUNK_BYTES])


def read_package(path: Path) -> Package:
    """Read a bundle's folder. What SHA256SUMS does not list is left out.

    Raises:
        BundleError: it is no bundle, or a file is missing or changed.
    """
    if not path.is_dir():
        raise BundleError("is not a bundle folder", where=path, fix="make one with cfvgg-export --int8")
    digests = listed(path)
    files = {name: _read(path / name) for name in digests}
    for name, digest in digests.items():
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise BundleError("checksum does not match SHA256SUMS", where=path / name, fix=AGAIN)
    if MANIFEST_FILE not in files:
        raise BundleError(f"does not list {MANIFEST_FILE}", where=path / CHECKSUM_FILE, fix=AGAIN)
    name, manifest_format = _described(files[MANIFEST_FILE], path / MANIFEST_FILE)
    sums = files[CHECKSUM_FILE] = _read(path / CHECKSUM_FILE)
    if (path / SIGNATURE_FILE).is_file():
        files[SIGNATURE_FILE] = _read(path / SIGNATURE_FILE)
    return Package(path, hashlib.sha256(sums).hexdigest(), name, manifest_format, files)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        reason = error.strerror if isinstance(error, OSError) else error
        raise BundleError(f"cannot be read ({reason})", where=path, fix=AGAIN) from error


def _described(data: bytes, where: Path) -> tuple[str, str]:
    """Name and format. Only these: the device may know a format that is not known here."""
    try:
        manifest: Any = json.loads(data)
    except (ValueError, RecursionError):
        manifest = None
    found = manifest if isinstance(manifest, dict) else {}
    name, manifest_format = found.get("name"), found.get("format")
    if not isinstance(name, str) or not isinstance(manifest_format, str):
        raise BundleError("names no network and no format", where=where, fix=AGAIN)
    return name, manifest_format
