"""The compiled core in every build that runs here."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from edge_runtime.core import LEVELS


def every_level() -> list[Any]:
    """Parameters for `pytest.mark.parametrize`: the modules, with their levels as names."""
    return [
        pytest.param(importlib.import_module(f"edge_runtime.core._core_{level}"), id=level)
        for level in LEVELS
    ]
