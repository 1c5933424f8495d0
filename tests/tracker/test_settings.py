"""Presets and the limits of every tracker's settings."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any, get_args

import pytest

from edge_runtime.config import load_config
from edge_runtime.errors import ConfigError
from edge_runtime.trackers import make_tracker
from edge_runtime.trackers.eco import EcoTracker
from edge_runtime.trackers.kcf import KcfTracker
from edge_runtime.trackers.presets import FAMILIES, PRESETS, PresetName, with_preset
from edge_runtime.trackers.settings import (
    EcoConfig,
    KcfConfig,
    KcfScaleConfig,
    ScaleFilterConfig,
    StrcfConfig,
)
from edge_runtime.trackers.strcf import StrcfTracker

TABLES: dict[str, type] = {"kcf": KcfConfig, "eco": EcoConfig, "strcf": StrcfConfig}
TRACKERS = {"kcf": KcfTracker, "eco": EcoTracker, "strcf": StrcfTracker}
WITHOUT_NETWORK = ["kcf", "eco-hc", "strcf"]
INFINITE, NO_NUMBER = float("inf"), float("nan")


def test_every_preset_has_a_family_and_changes_only_settings_that_it_has() -> None:
    assert set(get_args(PresetName)) == set(FAMILIES) == set(PRESETS)
    for name, changes in PRESETS.items():
        known = {field.name for field in dataclasses.fields(TABLES[FAMILIES[name]])}
        assert set(changes) <= known


@pytest.mark.parametrize("preset", WITHOUT_NETWORK)
def test_a_preset_without_a_network_makes_its_tracker_from_nothing(preset: str) -> None:
    tracker = make_tracker(load_config(None, {"tracker.preset": preset}), None)
    assert type(tracker) is TRACKERS[FAMILIES[preset]]


@pytest.mark.parametrize(
    ("preset", "feature"), [("fkcf", "cnn:middle"), ("feco", "cnn:low"), ("fdeepstrcf", "cnn:conv3")]
)
def test_a_preset_with_a_network_says_that_it_needs_one(preset: str, feature: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_tracker(load_config(None, {"tracker.preset": preset}), None)
    assert (
        str(caught.value)
        == f"feature '{feature}' needs a network; set model.bundle or --bundle, or deploy one"
    )


@pytest.mark.parametrize("preset", ["eco-hc", "strcf"])
def test_colour_names_without_a_table_are_refused(preset: str) -> None:
    family = FAMILIES[preset]
    config = load_config(None, {"tracker.preset": preset, f"tracker.{family}.features": ["hog", "cn"]})
    with pytest.raises(ConfigError) as caught:
        make_tracker(config, None)
    assert str(caught.value) == "feature 'cn' needs a table of colour names; set tracker.colour_names"


def test_more_channels_than_a_feature_has_are_refused() -> None:
    config = load_config(None, {"tracker.preset": "eco-hc", "tracker.eco.channels": [32, 1]})
    with pytest.raises(ConfigError) as caught:
        make_tracker(config, None)
    assert str(caught.value) == "tracker.eco.channels = 32 for hog, which has 31; use at most 31"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_fills_in_what_is_not_given_and_changes_nothing_else(preset: str) -> None:
    family = FAMILIES[preset]
    others = {name: {"learning_rate": 0.5} for name in TABLES if name != family}
    data = {"source": {"uri": "fake:"}, "tracker": {"preset": preset, "colour_names": "a", **others}}
    before = copy.deepcopy(data)
    filled = with_preset(data)
    assert data == before
    assert filled["source"] == data["source"]
    assert filled["tracker"] == {**data["tracker"], family: dict(PRESETS[preset])}
    given = {"learning_rate": 0.25, "search_scale": 3.5}
    filled = with_preset({"tracker": {"preset": preset, family: given}})
    assert filled["tracker"][family] == {**PRESETS[preset], **given}


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"tracker": 3},
        {"tracker": {}},
        {"tracker": {"preset": "none"}},
        {"tracker": {"preset": ["kcf"]}},
        {"tracker": {"preset": "kcf", "kcf": 4}},
    ],
)
def test_what_is_no_preset_is_left_for_the_type_check(data: dict[str, Any]) -> None:
    assert with_preset(data) == data


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("hand_crafted_cell_px", [1, 17]),
        ("kernel_sigma", [0.0, 101.0, NO_NUMBER]),
        ("search_scale", [1.0, 9.0, INFINITE]),
        ("input_px", [-1, 63, 513]),
        ("label_sigma", [0.0, 1.5, NO_NUMBER]),
        ("regularisation", [0.0, -1.0, INFINITE]),
        ("learning_rate", [-0.1, 1.1]),
    ],
)
def test_kcf_settings_out_of_range_are_named(setting: str, values: list[Any]) -> None:
    refused("tracker.kcf", KcfConfig, setting, values)


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("features", [(), ("hog",) * 9]),
        ("pooling", [(1, 1), (2, 1, 0), (2, 1, 9)]),
        ("channels", [(1, 1), (0, 1, 1), (1, 1, 513)]),
        ("hand_crafted_cell_px", [1, 17]),
        ("search_scale", [1.0, 9.0, NO_NUMBER]),
        ("min_area_px", [63.0**2, 100000.0, NO_NUMBER]),
        ("max_area_px", [513.0**2, INFINITE]),
        ("label_sigma", [0.0, 1.5]),
        ("learning_rate", [0.0, 1.0]),
        ("samples", [0, 501]),
        ("train_every", [0, 1001]),
        ("train_always_before", [0]),
        ("iterations", [0, 101]),
        ("first_gauss_newton", [0, 101]),
        ("first_iterations", [0, 101]),
        ("forgetting", [0.0, 1001.0]),
        ("precondition_data", [-0.1, 1.1]),
        ("precondition_regularisation", [0.0, 1.0]),
        ("precondition_projection", [0.0, -1.0, INFINITE]),
        ("projection_regularisation", [0.0, INFINITE]),
        ("window_least", [0.0, 1.0]),
        ("window_edge", [INFINITE]),
        ("window_threshold", [0.0, 1.0]),
        ("newton_iterations", [-1, 51]),
    ],
)
def test_eco_settings_out_of_range_are_named(setting: str, values: list[Any]) -> None:
    refused("tracker.eco", EcoConfig, setting, values)


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("scales", [1, 4, 67]),
        ("interpolated_scales", [9, 34, 131]),
        ("step", [1.0, 2.0]),
        ("label_sigma", [0.0, 1.1]),
        ("learning_rate", [-0.1, 1.1]),
        ("regularisation", [0.0, INFINITE]),
        ("model_area_px", [63.0, 16385.0, NO_NUMBER]),
    ],
)
def test_settings_of_the_scale_filter_out_of_range_are_named(setting: str, values: list[Any]) -> None:
    refused("tracker.eco.scale", ScaleFilterConfig, setting, values)
    refused("tracker.kcf.scale", KcfScaleConfig, setting, values)


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("features", [(), ("hog",) * 9]),
        ("hand_crafted_cell_px", [1, 17]),
        ("search_scale", [1.0, 9.0]),
        ("min_area_px", [63.0**2, 70000.0]),
        ("max_area_px", [513.0**2]),
        ("label_sigma", [0.0, 1.5]),
        ("window_cells_px", [(), (4.0,), (4.0, 0.0), (4.0, NO_NUMBER), (4.0, INFINITE)]),
        ("window_inside", [0.0, 1e5]),
        ("window_outside", [1e7, INFINITE]),
        ("temporal", [(15.0, -1.0), (NO_NUMBER, 15.0), (15.0, INFINITE)]),
        ("iterations", [0, 21]),
        ("penalty", [0.0, 1e5]),
        ("penalty_growth", [0.9, 1e4]),
        ("penalty_most", [0.0, 1e5]),
        ("scales", [0, 2, 17]),
        ("scale_step", [1.0, 2.0]),
        ("newton_iterations", [-1, 51]),
    ],
)
def test_strcf_settings_out_of_range_are_named(setting: str, values: list[Any]) -> None:
    refused("tracker.strcf", StrcfConfig, setting, values)


def test_no_groups_at_all_are_refused_like_any_other_number() -> None:
    with pytest.raises(ConfigError, match=r"^tracker\.strcf\."):
        StrcfConfig(window_cells_px=(), temporal=())


def refused(table: str, kind: type, setting: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ConfigError) as caught:
            kind(**{setting: value})
        numbers = value if isinstance(value, tuple) else (value,)
        finite = all(math.isfinite(v) for v in numbers if isinstance(v, float))
        wrong = "out of range" if finite else "not finite"
        too_many = (
            ""
            if not isinstance(value, tuple)
            else f"{table}.{setting} = {list(value)} has {len(value)} values"
        )
        assert str(caught.value) == f"{table}.{setting} = {value} is {wrong}" or (
            too_many and str(caught.value).startswith(too_many)
        )
