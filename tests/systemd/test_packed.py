"""Which wheels a device gets: .ci/packed.py on wheels with nothing in them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

PROGRAM = Path(__file__).parents[2] / ".ci/packed.py"


def wheel(folder: Path, name: str, version: str, *requirements: str) -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {text}" for text in requirements)]
    with ZipFile(path, "w") as archive:
        archive.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join(lines) + "\n")
    return path


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    wheel(tmp_path, "cfvgg", "1.0", "numpy>=1", 'runtime; extra == "edge"', 'torch; extra == "export"')
    wheel(tmp_path, "numpy", "2.0")
    wheel(
        tmp_path,
        "runtime",
        "3.0",
        'backport; python_version < "3.12"',
        'extra_speed; platform_machine == "x86_64"',
    )
    wheel(tmp_path, "backport", "4.0")
    wheel(tmp_path, "extra_speed", "5.0")
    wheel(tmp_path, "unasked", "6.0")
    (tmp_path / "pins").write_text(
        "numpy==2.0\nRuntime==3.0 # why\nbackport==4.0\nextra-speed==5.0\nunasked==6.0\n"
    )
    return tmp_path


def packed(wheels: Path, python: str, machine: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, PROGRAM, wheels, wheels / "pins", python, machine, "cfvgg[edge]"],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("python", "machine", "names"),
    [
        ("3.11", "aarch64", ["backport", "cfvgg", "numpy", "runtime"]),
        ("3.13", "aarch64", ["cfvgg", "numpy", "runtime"]),
        ("3.13", "x86_64", ["cfvgg", "extra-speed", "numpy", "runtime"]),
    ],
)
def test_what_the_device_needs_stays(wheels: Path, python: str, machine: str, names: list[str]) -> None:
    done = packed(wheels, python, machine)
    assert done.returncode == 0, done.stderr
    assert [line.partition("==")[0] for line in done.stdout.splitlines()] == names
    assert [path.name.partition("-")[0].replace("_", "-") for path in sorted(wheels.glob("*.whl"))] == names
    checksum = hashlib.sha256((wheels / "numpy-2.0-py3-none-any.whl").read_bytes()).hexdigest()
    assert f"numpy==2.0 --hash=sha256:{checksum}\n" in done.stdout


def test_another_version_than_the_pinned_one_is_refused(wheels: Path) -> None:
    (wheels / "pins").write_text("numpy==1.9\nruntime==3.0\nbackport==4.0\n")
    done = packed(wheels, "3.11", "aarch64")
    assert done.returncode == 1
    assert "does not pin numpy 2.0" in done.stderr


def test_a_wheel_that_is_missing_is_named(wheels: Path) -> None:
    next(wheels.glob("runtime-*")).unlink()
    done = packed(wheels, "3.11", "aarch64")
    assert done.returncode == 1
    assert "no wheel of runtime" in done.stderr
