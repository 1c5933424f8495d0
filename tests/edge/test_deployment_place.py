"""Which bundle counts, and what is left when a change is cut off anywhere."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.config import load_config
from edge_runtime.deployment.archive import copy
from edge_runtime.deployment.place import (
    TRIAL_FILE,
    check_trial,
    chosen_bundle,
    deployed,
    effective,
    find_trial,
    store_folder,
)
from edge_runtime.deployment.store import Store
from edge_runtime.doctor.software import model_checks
from edge_runtime.errors import AbandonedError, BundleError
from edge_runtime.features import configured_features
from edge_runtime.installation.service import not_ready
from tests.edge.bundles import made_up

ROOT = Path(__file__).parents[2]
NETWORK = {"fkcf": True, "feco": True, "fdeepstrcf": True, "kcf": False, "eco-hc": False, "strcf": False}


@pytest.fixture
def kept(tmp_path: Path) -> Store:
    """A store with bundles "older", "old", in use, and "new"."""
    store = Store(tmp_path / "store", tmp_path / "allowed_signers")
    for name in ("older", "old", "new"):
        source = made_up(tmp_path / name, name)
        store.add(lambda folder, source=source: copy(source, folder), lambda: None)
    store.selection.switch(ids(store)["older"])
    store.selection.switch(ids(store)["old"])
    return store


def ids(store: Store) -> dict[str, str]:
    return {bundle.name: bundle.id for bundle in store.kept()}


def test_the_current_bundle_counts(kept: Store) -> None:
    named = ids(kept)
    assert deployed(kept.folder) == kept.folder / named["old"]
    assert effective(kept.folder) == (named["old"], named["older"], None)


def test_no_store_no_bundle(tmp_path: Path) -> None:
    assert deployed(tmp_path) is None
    assert deployed(tmp_path / "nowhere") is None
    assert effective(tmp_path) == (None, None, None)


def test_a_trial_counts_while_somebody_runs_it(kept: Store, caplog: pytest.LogCaptureFixture) -> None:
    named = ids(kept)
    unlock = kept.selection.start_trial(named["new"], 30.0)
    assert deployed(kept.folder) == kept.folder / named["new"]
    assert effective(kept.folder) == (named["new"], named["older"], named["new"])
    check_trial(kept.folder / named["new"])
    unlock()
    with caplog.at_level(logging.WARNING):
        assert deployed(kept.folder) == kept.folder / named["old"]
    assert f"the trial of bundle {named['new'][:12]} was cut off, back to {named['old'][:12]}" in caplog.text
    assert effective(kept.folder) == (named["old"], named["older"], None)
    check_trial(kept.folder / named["old"])
    with pytest.raises(AbandonedError, match="was cut off; the service starts with the one before") as caught:
        check_trial(kept.folder / named["new"])
    assert caught.value.exit_code == 6


def test_the_first_bundle_of_all_has_none_before(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", tmp_path / "allowed_signers")
    source = made_up(tmp_path / "new", "new")
    name = store.add(lambda folder: copy(source, folder), lambda: None).id
    unlock = store.selection.start_trial(name, 30.0)
    assert deployed(store.folder) == store.folder / name
    unlock()
    assert deployed(store.folder) is None
    restarted = []
    with store.changing(lambda: restarted.append(deployed(store.folder))):
        assert store.selection.current is None
        assert not (store.folder / TRIAL_FILE).exists()
    assert restarted == [None]


def test_a_trial_that_has_just_ended_well_is_none(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening trial.json and looking at its lock, it is removed and unlocked."""
    named = ids(kept)
    unlock = kept.selection.start_trial(named["new"], 30.0)
    real = fcntl.flock

    def late(handle: int, how: int) -> None:
        monkeypatch.undo()
        kept.selection.commit()
        unlock()
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    assert find_trial(kept.folder) is None
    assert effective(kept.folder) == (named["new"], named["old"], None)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"id": 3}', "[" * 5000, '{"id": "../..", "previous": "x"}']
)
def test_what_no_trial_wrote_is_none_and_goes(kept: Store, text: str) -> None:
    (kept.folder / TRIAL_FILE).write_text(text)
    assert find_trial(kept.folder) is None
    assert deployed(kept.folder) == kept.folder / ids(kept)["old"]
    with kept.changing(lambda: pytest.fail("no trial was cut off")):
        assert not (kept.folder / TRIAL_FILE).exists()


@pytest.mark.parametrize("target", ["../old", "/etc", "old", "A" * 64, ""])
def test_links_that_lead_elsewhere_lead_nowhere(kept: Store, target: str) -> None:
    (kept.folder / "current").unlink()
    if target:
        (kept.folder / "current").symlink_to(target)
    else:
        (kept.folder / "current").write_text("")
    assert deployed(kept.folder) is None


@pytest.mark.parametrize(("preset", "network"), NETWORK.items())
def test_an_empty_setting_stands_for_the_deployed_bundle(
    kept: Store, preset: str, network: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CFVGG_BUNDLES_DIR", str(kept.folder))
    assert store_folder() == kept.folder
    place = kept.folder / ids(kept)["old"]
    config = load_config(None, {"tracker.preset": preset})
    assert chosen_bundle(config) == (place if network else None)
    named = dataclasses.replace(config, model=dataclasses.replace(config.model, bundle="/own"))
    assert chosen_bundle(named) == Path("/own")


def test_the_system_s_store_is_meant_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CFVGG_BUNDLES_DIR", raising=False)
    assert store_folder() == Path("/var/lib/cfvgg-bundles")


def test_whoever_opens_a_bundle_follows_the_rule(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tracker, `service install` and `doctor`; made-up bundles have no model."""
    monkeypatch.setenv("CFVGG_BUNDLES_DIR", str(kept.folder))
    place = kept.folder / ids(kept)["old"]
    network = load_config(None, {"tracker.preset": "fkcf", "source.uri": "fake:"})
    with pytest.raises(BundleError, match=f"{place}: has no int8 model"):
        configured_features(network)
    assert str(place) in (not_ready(network, Path("c.toml")) or "")
    checks = list(model_checks(network))
    assert [(check.state, f"{place}: has no int8 model" in check.found) for check in checks] == [
        ("failure", True)
    ]
    plain = load_config(None, {"tracker.preset": "kcf", "source.uri": "fake:"})
    assert configured_features(plain) is None
    assert not_ready(plain, Path("c.toml")) is None
    assert [check.found for check in model_checks(plain)] == ["tracker kcf needs none"]

    (kept.folder / "current").unlink()
    assert configured_features(network) is None
    needed = "feature 'cnn:middle' needs a network; set model.bundle or --bundle, or deploy one"
    assert not_ready(network, Path("c.toml")) == needed


def rounds(what: str, kept: Store, tmp_path: Path) -> list[dict[str, Any]]:
    """Of `killed`: every step of a change, the last one undisturbed."""
    command = [sys.executable, "-m", "tests.edge.killed", what, str(kept.folder), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [f["killed"] for f in found] == [True] * (len(found) - 1) + [False]
    assert found[-1]["exit"] == 0
    clean = {".lock", "current", "previous"} | set(ids(kept).values())
    for one in found:
        assert not one["settled"]["trial"]
        assert {name for name in one["settled"]["files"] if name.startswith(".")} == {".lock"}
        # Whoever looks before anything is cleared away sees the bundle in use that stays in use.
        assert one["left"]["deployed"] == one["settled"]["deployed"]
        assert clean & set(one["settled"]["files"]) >= {".lock", "current", "previous"}
    return found


def test_adding_is_cut_off_at_every_step(kept: Store, tmp_path: Path) -> None:
    made_up(tmp_path / "added", "added")
    found = rounds("add", kept, tmp_path)
    assert len(found) > 30
    assert {one["left"]["deployed"] for one in found} == {"old"}
    there = ["added" in one["settled"]["bundles"] for one in found]
    assert there[0] is False
    assert there[-1] is True
    assert there == sorted(there)  # from one step on it is there, and stays


def test_switching_is_cut_off_at_every_step(kept: Store, tmp_path: Path) -> None:
    found = rounds("switch", kept, tmp_path)
    assert len(found) > 10
    using = [one["left"]["deployed"] for one in found]
    assert using == ["old"] * using.count("old") + ["new"] * using.count("new")
    assert using[-1] == "new"


def test_a_good_trial_is_cut_off_at_every_step(kept: Store, tmp_path: Path) -> None:
    named = ids(kept)
    found = rounds("commit", kept, tmp_path)
    assert len(found) > 15
    using = [one["left"]["deployed"] for one in found]
    assert using == ["old"] * using.count("old") + ["new"] * using.count("new")
    assert using.count("old") > 10
    for one in found:
        back = {"old": "older", "new": "old"}[one["settled"]["deployed"]]
        assert one["settled"]["previous"] == named[back]
        assert one["restarted"] == one["left"]["trial"]
    assert any(one["restarted"] for one in found)


def test_going_back_is_cut_off_at_every_step(kept: Store, tmp_path: Path) -> None:
    named = ids(kept)
    found = rounds("revert", kept, tmp_path)
    assert len(found) > 15
    for one in found:
        assert one["settled"]["deployed"] == "old"
        assert one["settled"]["previous"] == named["older"]


def test_removing_is_cut_off_at_every_step(kept: Store, tmp_path: Path) -> None:
    found = rounds("prune", kept, tmp_path)
    assert {one["left"]["deployed"] for one in found} == {"old"}
    for one in found:
        assert set(one["settled"]["bundles"]) >= {"old", "older"}
    assert found[-1]["settled"]["bundles"] == ["old", "older"]
    shutil.rmtree(kept.folder.with_name("store-prune"))
