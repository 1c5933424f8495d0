"""What tests of the device's commands use."""

from __future__ import annotations

from tests.tracker.conftest import bundle_path

__all__ = ["bundle_path"]
