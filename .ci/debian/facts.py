"""What the package says of the wheels in it: facts.py depends|copyright SITE_PACKAGES."""

from __future__ import annotations

import re
import sys
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from elftools.elf.elffile import ELFFile

# Debian's package of each library that wheels may leave to the system.
PACKAGES = {
    "libc.so.6": "libc6",
    "libdl.so.2": "libc6",
    "libm.so.6": "libc6",
    "libpthread.so.0": "libc6",
    "librt.so.1": "libc6",
    "libutil.so.1": "libc6",
    "ld-linux-aarch64.so.1": "libc6",
    "ld-linux-x86-64.so.2": "libc6",
    "libgcc_s.so.1": "libgcc-s1",
    "libstdc++.so.6": "libstdc++6",
    "libz.so.1": "zlib1g",
}


def depends(site: Path) -> str:
    """The packages with libraries that the wheels need and do not bring along, as a field of `control`."""
    # LiteRT has parts for accelerators that no Pi has, each to be loaded beside its maker's own library.
    files = [path for path in site.rglob("*.so*") if path.is_file() and "vendors" not in path.parts]
    brought = {path.name for path in files}
    packages, glibc = set(), (2, 17)
    for path in files:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            for tag in elf.get_section_by_name(".dynamic").iter_tags("DT_NEEDED"):
                if tag.needed not in brought:
                    if tag.needed not in PACKAGES:
                        sys.exit(f"{path} needs {tag.needed}: say in {__file__} which package has it")
                    packages.add(PACKAGES[tag.needed])
            versions = elf.get_section_by_name(".gnu.version_r")
            for _, needed in versions.iter_versions() if versions else ():
                for version in needed:
                    if found := re.fullmatch(r"GLIBC_(\d+)\.(\d+)(\.\d+)?", version.name):
                        glibc = max(glibc, (int(found[1]), int(found[2])))
    packages.discard("libc6")
    return ", ".join([f"libc6 (>= {glibc[0]}.{glibc[1]})", *sorted(packages)])


def licence(fields: Message) -> str:
    """In a few words, from where wheels say it."""
    for name in ("License-Expression", "License"):
        text = fields.get(name, "").strip()
        if text and "\n" not in text and len(text) < 80:
            return text
    said = [
        text.split(" :: ")[-1] for text in fields.get_all("Classifier") or [] if text.startswith("License ::")
    ]
    return ", ".join(said) or "see its folder"


def copyright_text(site: Path) -> str:
    """`copyright` of the package."""
    lines = [
        "cfvgg is under the Apache License 2.0, see /usr/share/common-licenses/Apache-2.0.",
        "Copyright 2026 the authors of cfvgg.",
        "",
        "It brings these packages along, unchanged, as their authors publish them for Python. The texts of",
        f"their licences are in their folders *.dist-info in /{site.relative_to(site.parents[4])}.",
        "",
    ]
    for path in sorted(site.glob("*.dist-info/METADATA")):
        fields = HeaderParser().parsestr(path.read_text())
        if fields["Name"] != "cfvgg":
            lines.append(f"{fields['Name']} {fields['Version']}: {licence(fields)}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write({"depends": depends, "copyright": copyright_text}[sys.argv[1]](Path(sys.argv[2])) + "\n")
