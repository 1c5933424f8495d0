"""Other people's trackers to measure beside ours, in environments of their own that this makes.

Their packages exclude ours (two OpenCVs in one environment overwrite each other), so nothing here imports
them: `speed_worker.py` does, run by such an environment's Python.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_runtime.errors import DependencyError

CACHE = Path(__file__).parents[1] / "build"
# Not 4.12: there CSRT takes ten times as long on the same frames.
OPENCV = "opencv-contrib-python-headless==4.11.0.86"
OPENCV_TRACKERS = ("CSRT", "KCF", "MOSSE")
NANOTRACK = "nanotrack"  # what folders of its models start with
ONNX = ("onnx>=1.17", "onnxruntime>=1.20")
STAMP_FILE = "requirements.txt"


def make_environment(name: str, requirements: Sequence[str], cache: Path = CACHE) -> Path:
    """The Python of a virtual environment with these requirements; made at the first call, then kept.

    Args:
        name: of its folder in `cache`.
        requirements: as pip takes them; other ones than before make it anew.

    Raises:
        DependencyError: it cannot be made; pip's last line tells why.
    """
    folder = cache / name
    python, stamp = folder / "bin" / "python", folder / STAMP_FILE
    wanted = "\n".join([f"# Python {sys.version_info.major}.{sys.version_info.minor}", *requirements]) + "\n"
    if python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"making {folder} with {', '.join(requirements)}", file=sys.stderr, flush=True)
    stamp.unlink(missing_ok=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", "--clear", str(folder)], [*pip, *requirements]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
            raise DependencyError(f"cannot be made ({reason})", where=folder, fix="check the network and pip")
    stamp.write_text(wanted, encoding="utf-8")
    return python
