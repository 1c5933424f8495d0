"""The tracker tests' bundle."""

from __future__ import annotations

from tests.tracker.conftest import bundle_path

__all__ = ["bundle_path"]
