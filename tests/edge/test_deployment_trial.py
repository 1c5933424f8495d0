"""Bundles on trial in a real service, good ones and bad ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_runtime.deployment.opening import open_apart
from edge_runtime.errors import BundleError
from tests.edge.device import LENIENT, SHORT, Device, Make, device, in_use
from tests.edge.service import until

__all__ = ["device", "in_use"]


def test_bundles_come_and_go(device: Make) -> None:
    one = device()
    first = one.bundle("use", one.first[:10], *SHORT, "--json")
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    assert (found["id"], found["previous"], found["changed"]) == (one.first, None, True)
    assert found["rate_hz"] > 5  # half of the source's
    assert found["p95_ms"] > 0
    assert "switching from no bundle to bundle" in first.stderr
    one.runs(one.first)

    second = one.bundle("use", one.second, *LENIENT)
    assert second.returncode == 0, second.stderr
    assert second.stdout.startswith(f"bundle {one.second[:12]} is in use: ")
    assert "health 3/3 s: " in second.stderr
    one.runs(one.second)
    facts = one.facts()
    assert (facts["current"], facts["previous"], facts["trial"]) == (one.second, one.first, None)
    assert facts["service"]["active"]
    assert facts["service"]["restarts"] == 0
    assert one.bundle("use", one.second).stdout == f"bundle {one.second[:12]} is in use already\n"

    back = one.bundle("rollback", *LENIENT)
    assert back.returncode == 0, back.stderr
    one.runs(one.first)
    assert one.store.selection.previous == one.second


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("slow", "failed: too slow: "),
        ("crashes", "failed: it does not start ("),
        ("crashes later", ""),
        ("cannot be opened", ""),
    ],
)
def test_bad_bundles_do_not_stay(in_use: Device, name: str, said: str) -> None:
    bad = in_use.add(name)
    done = in_use.bundle("use", bad, "--health-s", "12", "--min-rate-hz", "6")
    assert done.stdout == ""
    if name == "cannot be opened":
        assert done.returncode == 2
        assert "ends the program that opens it (SIGSEGV); deploy another one" in done.stderr
        assert in_use.systemd.starts == 1  # the service was left alone
    else:
        assert done.returncode == 7, done.stderr
        last = done.stderr.splitlines()[-1]
        assert last.startswith(f"cfvgg-edge: bundle {bad[:12]} failed: ")
        assert said in last
        assert last.endswith(f"; bundle {in_use.first[:12]} runs again")
    in_use.stays_as_it_was()


def test_a_bundle_that_never_gets_ready(in_use: Device) -> None:
    bad = in_use.add("hangs")
    in_use.systemd.start_s = 15.0
    done = in_use.bundle("use", bad, *SHORT)
    assert done.returncode == 7
    assert "it does not start" in done.stderr
    in_use.stays_as_it_was()


def test_a_bundle_that_is_slower_than_the_one_before(in_use: Device) -> None:
    until(lambda: in_use.systemd.pid and in_use.running(), "the service")
    bad = in_use.add("slow")
    done = in_use.bundle("use", bad, *SHORT)
    assert done.returncode == 7, done.stderr
    assert "too slow: " in done.stderr
    assert " before)" in done.stderr
    in_use.stays_as_it_was()


def test_a_service_that_was_stopped_is_stopped_again(in_use: Device) -> None:
    in_use.systemd.systemctl("stop")
    done = in_use.bundle("use", in_use.add("crashes"), *SHORT)
    assert done.returncode == 7
    assert "is in its place again, and the service is stopped as before" in done.stderr
    assert in_use.systemd.state == "inactive"
    assert in_use.store.selection.current == in_use.first


def test_without_a_service_it_is_only_put_in_its_place(device: Make) -> None:
    one = device()
    one.systemd.installed = False
    refused = one.bundle("use", one.first)
    assert refused.returncode == 2
    assert (
        "the service is not installed; sudo cfvgg-edge service install, or use --no-restart" in refused.stderr
    )
    assert one.store.selection.current is None
    done = one.bundle("use", one.first, "--no-restart", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rate_hz"] is None
    assert one.store.selection.current == one.first
    bad = one.bundle("use", one.add("cannot be opened"), "--no-restart")
    assert bad.returncode == 2
    assert one.store.selection.current == one.first
    assert one.systemd.starts == 0


def test_settings_that_name_a_bundle(device: Make) -> None:
    one = device(settings='[model]\nbundle = "/srv/bundle"\n')
    done = one.bundle("use", one.first)
    assert done.returncode == 2
    assert "model.bundle = '/srv/bundle' would be used instead of a deployed bundle" in done.stderr
    assert one.store.selection.current is None


def test_a_tracker_without_a_network(device: Make) -> None:
    one = device(preset="kcf")
    done = one.bundle("use", one.first, *LENIENT)
    assert done.returncode == 0, done.stderr
    assert "the tracker kcf takes no network: the bundle will not be used" in done.stderr
    assert one.running() == ""


def test_without_a_target_the_latency_is_measured_apart(device: Make) -> None:
    one = device(settings="")
    one.store.selection.switch(one.first)
    one.systemd.systemctl("start")
    one.runs(one.first)
    good = one.bundle("use", one.second, *SHORT, "--min-rate-hz", "0.5", "--max-p95-ms", "5000", "--json")
    assert good.returncode == 0, good.stderr
    assert "no target was tracked; measuring the tracker's latency apart" in good.stderr
    assert json.loads(good.stdout)["p95_ms"] > 0
    bad = one.bundle("use", one.add("slow"), *SHORT, "--min-rate-hz", "0.5")
    assert bad.returncode == 7, bad.stderr
    assert "too slow: p95 2" in bad.stderr or "too slow: p95 3" in bad.stderr
    one.runs(one.second)


def test_a_bundle_that_takes_too_long_to_open(bundle_path: Path) -> None:
    with pytest.raises(BundleError, match=r"could not be opened in 0\.01 s"):
        open_apart(bundle_path, None, lambda: None, timeout_s=0.01)


def test_a_bundle_that_the_settings_cannot_use(bundle_path: Path, tmp_path: Path) -> None:
    config = tmp_path / "cfvgg.toml"
    config.write_text('[tracker.kcf]\nfeature = "cnn:none"\n')
    with pytest.raises(BundleError, match=r"cannot be used here: .*no feature level 'none'"):
        open_apart(bundle_path, config, lambda: None)
