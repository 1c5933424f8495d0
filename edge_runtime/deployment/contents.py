"""What is in a bundle's folder: nothing but what SHA256SUMS lists, unchanged. Its id is that file's hash."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.checksums import AGAIN, listed, sha256_of
from edge_runtime.errors import BundleError
from edge_runtime.manifest import CHECKSUM_FILE, MANIFEST_FILE, Manifest

SIGNATURE_FILE = f"{CHECKSUM_FILE}.sig"


@dataclass(frozen=True)
class Contents:
    """A verified folder.

    Attributes:
        id: SHA-256 of SHA256SUMS, 64 hex digits.
        name: of the network, by the manifest.
        size_bytes: of all files.
        signed: whether there is a signature, whoever made it.
    """

    id: str
    name: str
    size_bytes: int
    signed: bool


def verified(folder: Path) -> Contents:
    """Look at every file of a bundle's folder; the models are not opened.

    Raises:
        BundleError: a file is missing, changed or not listed, is a link or no file, or the manifest is of
            another format.
    """
    digests, sizes = listed(folder), dict(walked(folder))
    sums = folder / CHECKSUM_FILE
    if MANIFEST_FILE not in digests:
        raise BundleError(f"does not list {MANIFEST_FILE}", where=sums, fix=AGAIN)
    extra = sizes.keys() - digests.keys() - {CHECKSUM_FILE, SIGNATURE_FILE}
    if extra:
        raise BundleError("is not listed in SHA256SUMS", where=folder / min(extra), fix=AGAIN)
    for name, digest in digests.items():
        if name not in sizes:
            raise BundleError("is missing", where=folder / name, fix=AGAIN)
        if sha256_of(folder / name) != digest:
            raise BundleError("checksum does not match SHA256SUMS", where=folder / name, fix=AGAIN)
    manifest = folder / MANIFEST_FILE
    described = Manifest.from_json(manifest.read_text(errors="replace"), str(manifest))
    return Contents(sha256_of(sums), described.name, sum(sizes.values()), SIGNATURE_FILE in sizes)


def walked(folder: Path) -> Iterator[tuple[str, int]]:
    """Name, relative to the folder, and bytes of every file below it.

    Raises:
        BundleError: there is something else than files and folders, or it cannot be read.
    """
    try:
        for place, folders, files in os.walk(folder, onerror=_refuse):
            for name in (*folders, *files):
                path = Path(place, name)
                found = path.lstat()
                if stat.S_ISREG(found.st_mode):
                    yield path.relative_to(folder).as_posix(), found.st_size
                elif not stat.S_ISDIR(found.st_mode):
                    raise BundleError("is a link or a device, no file", where=path, fix=AGAIN)
    except OSError as error:
        raise BundleError(f"cannot be read ({error.strerror})", where=error.filename, fix=AGAIN) from error


def _refuse(error: OSError) -> None:
    raise error
