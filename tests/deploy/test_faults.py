"""The fault table: whatever goes wrong, the old bundle runs."""

from __future__ import annotations

import pytest

from edge_runtime.deployment.place import find_trial
from tests.deploy.bundles import Bundles
from tests.deploy.faults import EXPECTED, Fault, tried
from tests.deploy.loopback import Loopback
from tests.edge.bundles import id_of


@pytest.mark.parametrize("fault", EXPECTED, ids=lambda fault: fault.__name__)
def test_the_old_bundle_runs(device: Loopback, bundles: Bundles, fault: Fault) -> None:
    try:
        row = tried(fault, device, bundles)
    except PermissionError as error:
        pytest.skip(str(error))
    expected = EXPECTED[fault]
    assert row.exit_code == expected.exit_code, row.said
    assert expected.says in row.said
    # The next command clears away what was cut off, and finds a device as it was.
    with device.kept.changing(device.restart_if_active):
        assert find_trial(device.store) is None
        assert not list(device.store.glob(".incoming-*"))
    selection = device.kept.selection
    if expected.runs == "old":
        assert (selection.current, selection.previous) == (id_of(bundles.old), None)
    else:
        assert (selection.current, selection.previous) == (id_of(bundles.new), id_of(bundles.old))
    assert device.runs(expected.runs)
