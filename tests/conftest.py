"""What every test may use."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

# Before tests load any library: trackers are meant for one core, and small matrices on two are slower.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
    os.environ.setdefault(variable, "1")
# Nor use the bundle that is deployed to this machine, if it is a device.
os.environ["CFVGG_BUNDLES_DIR"] = os.devnull + "/bundles"


# A shell starts background jobs with interrupts ignored, and a process that a test starts would inherit that.
if (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Third-party data (weights, photos, sequences), which is not part of the project."""
    default = Path(__file__).parents[2] / "shared"
    root = Path(os.environ.get("CFVGG_DATA", default))
    folder = root / "data" if (root / "data").is_dir() else root
    if not (folder / "weights").is_dir():
        pytest.skip(f"no shared data in {root} (set CFVGG_DATA)")
    return folder
