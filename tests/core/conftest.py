"""The same bundle as for the trackers' tests."""

from tests.tracker.conftest import bundle_path

__all__ = ["bundle_path"]
