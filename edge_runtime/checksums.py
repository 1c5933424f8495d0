"""SHA256SUMS of a bundle: which files it lists, and whether they are those."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edge_runtime.errors import BundleError
from edge_runtime.manifest import CHECKSUM_FILE

AGAIN = "export the bundle again or copy it anew"
CHUNK = 1 << 20


def listed(folder: Path) -> dict[str, str]:
    """Names, relative to a bundle's folder, to SHA-256 in hex, as its SHA256SUMS has them.

    Raises:
        BundleError: it cannot be read, or a line of it is bad.
    """
    sums = folder / CHECKSUM_FILE
    try:
        lines = sums.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"cannot be read ({error})", where=sums, fix=AGAIN) from error
    digests = {}
    for line in lines:
        digest, _, name = line.partition("  ")
        if not name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise BundleError(f"has a bad line {line!r:.80}", where=sums, fix=AGAIN)
        digests[name] = digest
    return digests


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hex. Raises `BundleError` if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        reason = error.strerror if isinstance(error, OSError) else error
        raise BundleError(f"cannot be read ({reason})", where=path, fix=AGAIN) from error
    return digest.hexdigest()
