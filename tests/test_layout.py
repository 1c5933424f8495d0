"""Imports point one way, and the device side needs nothing of the workstation's."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "edge_runtime": {"calibration", "export", "torch", "onnx", "onnxruntime", "skimage", "matplotlib", "PIL"},
    "calibration": {"export", "torch"},
}


def imported(path: Path) -> set[str]:
    """Top-level names of every import in a file, late ones included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_one_way(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert len(files) > 3
    for path in files:
        assert not imported(path) & FORBIDDEN[package], path
