"""A wheel of ours as another version, or with a fault, for install-check: WHEEL FOLDER VERSION [FAULT].

Faults: "import" cannot start at all; "service" starts, but not as a service; "later" ends seconds after it
started as a service.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path
from zipfile import ZipFile

FAULTS = {
    "import": ("edge_runtime/cli.py", "raise SystemExit('made not to start')\n"),
    "service": (
        "edge_runtime/notify.py",
        "import os\nif 'NOTIFY_SOCKET' in os.environ:\n    raise SystemExit('made not to serve')\n",
    ),
    "later": (
        "edge_runtime/notify.py",
        "import os, threading\nif 'NOTIFY_SOCKET' in os.environ:\n"
        "    threading.Timer(3, os._exit, [9]).start()\n",
    ),
}


def main() -> None:
    """See above."""
    wheel, folder, version = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    old = wheel.name.split("-")[1]
    parts: dict[str, bytes] = {}
    with ZipFile(wheel) as archive:
        for name in archive.namelist():
            parts[name.replace(f"cfvgg-{old}.", f"cfvgg-{version}.")] = archive.read(name)
    info = f"cfvgg-{version}.dist-info"
    metadata = parts[f"{info}/METADATA"].decode()
    parts[f"{info}/METADATA"] = metadata.replace(f"Version: {old}\n", f"Version: {version}\n", 1).encode()
    if len(sys.argv) > 4:
        name, code = FAULTS[sys.argv[4]]
        future = "from __future__ import annotations\n"
        parts[name] = parts[name].replace(future.encode(), (future + code).encode(), 1)
    del parts[f"{info}/RECORD"]
    parts[f"{info}/RECORD"] = b"".join(record_line(name, data) for name, data in parts.items()) + (
        f"{info}/RECORD,,\n".encode()
    )
    folder.mkdir(parents=True, exist_ok=True)
    with ZipFile(folder / wheel.name.replace(f"cfvgg-{old}-", f"cfvgg-{version}-"), "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def record_line(name: str, data: bytes) -> bytes:
    """A line of RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n".encode()


if __name__ == "__main__":
    main()
