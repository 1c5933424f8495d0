"""The fault table: whatever goes wrong, the old bundle runs."""

from __future__ import annotations

import pytest

from tests.deploy.faults import EXPECTED, Fault, tried
from tests.deploy.loopback import Loopback
from tests.deploy.networks import Bundles


@pytest.mark.parametrize("fault", EXPECTED, ids=lambda fault: fault.__name__)
def test_the_old_bundle_runs(device: Loopback, bundles: Bundles, fault: Fault) -> None:
    before = device.device().facts()
    try:
        row = tried(fault, device, bundles)
    except PermissionError as error:
        pytest.skip(str(error))
    expected = EXPECTED[fault]
    assert row.exit_code == expected.exit_code, row.said
    assert expected.says in row.said
    # The next command clears away what was cut off, and finds a device as it was.
    device.device().settle()
    after = device.device().facts()
    assert after.trial is None
    assert after.service.active
    assert after.named(after.current).startswith(expected.runs)
    assert after.previous == (before.previous if expected.runs == "old" else before.current)
    assert not list(device.store.glob(".incoming-*"))
    assert device.runs(expected.runs)
