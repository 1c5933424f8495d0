"""What tests of other people's programs share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def slow() -> None:
    """Tests that install something and take minutes run when they are asked for."""
    if os.environ.get("CFVGG_SLOW") != "1":
        pytest.skip("installs a toolkit into build/; run it with CFVGG_SLOW=1 or .ci/vot-check")
