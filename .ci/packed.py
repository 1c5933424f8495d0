"""Which of the wheels in a folder a device needs: names, versions and checksums on standard output, for pip.

Follows what the wheels say they require, as a Python of the given version on the given machine would. pip
evaluates such conditions for the Python that runs it, and takes too much for another; the rest is removed.
"""

from __future__ import annotations

import hashlib
import sys
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename


def requirements(wheel: Path) -> list[Requirement]:
    """What a wheel says it requires."""
    with ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        fields = HeaderParser().parsestr(archive.read(name).decode())
    return [Requirement(line) for line in fields.get_all("Requires-Dist") or []]


def needed(wheels: dict[str, Path], wanted: list[str], python: str, machine: str) -> set[str]:
    """Names of all that `wanted` ("cfvgg[edge]") requires, itself included."""
    environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.0"}
    environment["platform_machine"] = machine
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in wanted]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in wheels:
            sys.exit(f"no wheel of {name}")
        for extra in {"", *requirement.extras} - {extra for known, extra in found if known == name}:
            found.add((name, extra))
            waiting += [
                more
                for more in requirements(wheels[name])
                if more.marker is None or more.marker.evaluate({**environment, "extra": extra})
            ]
    return {name for name, _ in found}


def main() -> None:
    """Arguments: folder, file of pins, version of Python, machine, what is wanted."""
    folder, pins, python, machine, *wanted = sys.argv[1:]
    wheels = {parse_wheel_filename(path.name)[0]: path for path in sorted(Path(folder).glob("*.whl"))}
    lines = [line.partition("#")[0].strip() for line in Path(pins).read_text().splitlines()]
    pinned = {
        canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)
    }
    keep = needed({str(name): path for name, path in wheels.items()}, wanted, python, machine)
    for name, path in wheels.items():
        if name not in keep:
            path.unlink()
            continue
        version = str(parse_wheel_filename(path.name)[1])
        if name != "cfvgg" and pinned.get(name) not in (version, None if name == "pip" else version):
            sys.exit(f"{pins} does not pin {name} {version}")
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        sys.stdout.write(f"{name}=={version} --hash=sha256:{checksum}\n")


if __name__ == "__main__":
    main()
