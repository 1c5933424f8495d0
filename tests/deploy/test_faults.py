"""The fault table: whatever goes wrong, the old bundle runs."""

from __future__ import annotations

import os

import pytest

from edge_runtime.deployment.place import find_trial
from tests.deploy.bundles import Bundles
from tests.deploy.faults import EXPECTED, Fault, tried
from tests.deploy.loopback import Loopback
from tests.edge.bundles import id_of
from tests.preview.helpers import wait_for

# Half a minute or more each: both ends wait until they are sure. `make deploy-faults` runs them as well.
SLOW = {
    "connection_lost_before_the_switch",
    "connection_is_refused_before_the_switch",
    "connection_lost_in_the_trial",
    "connection_falls_silent_in_the_trial",
    "connection_lost_after_the_commit",
    "client_killed_in_the_trial",
    "command_killed_in_the_trial",
    "user_interrupts_the_trial",
}


@pytest.mark.parametrize("fault", EXPECTED, ids=lambda fault: fault.__name__)
def test_the_old_bundle_runs(device: Loopback, bundles: Bundles, fault: Fault) -> None:
    if fault.__name__ in SLOW and os.environ.get("CFVGG_SLOW") != "1":
        pytest.skip("takes half a minute; run it with CFVGG_SLOW=1 or make deploy-faults")
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
    wait_for(lambda: device.runs(expected.runs), f"{expected.runs} to run")
