"""A bundle to open: made here where torch is installed, brought along where it is not."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good bundle: $CFVGG_TEST_BUNDLE, or an untrained student exported now."""
    given = os.environ.get("CFVGG_TEST_BUNDLE")
    if given:
        return Path(given)
    if importlib.util.find_spec("torch") is None:
        pytest.skip("no torch to export a bundle with, and no CFVGG_TEST_BUNDLE")
    from export.bundle import export_bundle  # noqa: PLC0415 (torch is optional here)
    from export.calibrate import ExportSettings  # noqa: PLC0415
    from export.checkpoints import random_student  # noqa: PLC0415

    path = tmp_path_factory.mktemp("bundles") / "random"
    export_bundle(random_student(), "random", path, ExportSettings(int8=True, crops=40, checks=10))
    return path
