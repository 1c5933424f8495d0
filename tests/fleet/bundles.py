"""Bundles for a fleet: a good one, the same by another name, and one whose network is far too slow."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

SUMS, MANIFEST = "SHA256SUMS", "manifest.json"
SLOW = """
import sys
from pathlib import Path
from export.checkpoints import random_student, save_student
save_student(random_student((48, 128, 256, 256, 256)), Path(sys.argv[1]))
"""


def export(python: str, folder: Path) -> None:
    """`good`, `other` and `slow` in a folder; those that are there stay."""
    if not (folder / "good").exists():
        _run(python, "-m", "export", "--int8", "--out", str(folder / "good"))
    if not (folder / "slow").exists():
        weights = folder / "slow.safetensors"
        _run(python, "-c", SLOW, str(weights))  # sixteen times the arithmetic of ours
        _run(
            python, "-m", "export", "--weights", str(weights), "--sizes", "129", "--out", str(folder / "slow")
        )
    shutil.rmtree(folder / "other", ignore_errors=True)
    renamed(folder / "good", folder / "other", "other")


def renamed(bundle: Path, folder: Path, name: str) -> None:
    """The same models under another name, which makes it another bundle."""
    shutil.copytree(bundle, folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"name": name}))
    names = [line.split(maxsplit=1)[1] for line in (folder / SUMS).read_text().splitlines()]
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / SUMS).write_text("".join(lines))


def identity(bundle: Path) -> str:
    return hashlib.sha256((bundle / SUMS).read_bytes()).hexdigest()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
