"""Settings of training runs: read, refused, documented."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.errors import ConfigError
from edge_runtime.settings_file import to_toml
from export.training.config import DistillConfig, load_distill_config
from tests.export.training_data import config

REFERENCE = Path(__file__).parents[2] / "docs" / "distill.toml"
SOMETHING = {
    "data.photos": "photos",
    "loss.terms": ["tracking"],
}  # without any data there is no configuration


RUNS = REFERENCE.parents[1] / "benchmarks" / "training"


def lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: lists(inner) for key, inner in value.items()}
    return [lists(inner) for inner in value] if isinstance(value, tuple) else value


def test_the_reference_has_every_setting_with_its_default() -> None:
    defaults = lists(asdict(load_distill_config(None, SOMETHING)))
    defaults["data"]["photos"], defaults["loss"]["terms"] = "", ["fidelity", "tracking"]
    assert tomllib.loads(REFERENCE.read_text()) == defaults


def test_every_line_of_the_reference_is_explained() -> None:
    lines = [line for line in REFERENCE.read_text().splitlines() if " = " in line]
    assert [line for line in lines if "  # " not in line] == []


def test_settings_are_read_back_as_they_are_written(tmp_path: Path) -> None:
    settings = config(tmp_path)
    (tmp_path / "run.toml").write_text(to_toml(settings))
    assert load_distill_config(tmp_path / "run.toml", {}) == settings


@pytest.mark.parametrize("path", sorted(RUNS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_runs_on_record_can_be_repeated(path: Path) -> None:
    settings = load_distill_config(path, {})
    read_from = [settings.data.videos, settings.data.photos, *settings.teacher.networks]
    assert all(not where or "../shared/" in where for where in read_from)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss__terms": ["fidelity"], "teacher__networks": []}, "needs a teacher"),
        ({"loss__terms": ["background"]}, "negatives"),
        ({"data__videos": "", "data__photos": ""}, "nothing to train on"),
        ({"data__held_out": 0.0}, r"data\.held_out = 0\.0"),
        ({"student__ratio": 48}, r"student\.ratio = 48"),
        ({"student__channels": [1, 2]}, "five numbers"),
        ({"optimiser__learning_rat": 1.0}, r"did you mean 'optimiser\.learning_rate'"),
        ({"loss__terms": ["faith"]}, "fidelity"),
        ({"filter__regularisation": 0.0}, r"filter\.regularisation"),
        ({"loss__level_weights": [1.0, 1.0]}, "level_weights"),
        ({"optimiser__average": 1.0}, r"optimiser\.average"),
    ],
)
def test_settings_that_cannot_work_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        config(tmp_path, **changes)
    assert "\n" not in str(caught.value)


def test_a_config_is_frozen() -> None:
    settings = load_distill_config(None, SOMETHING)
    assert isinstance(settings, DistillConfig)
    with pytest.raises(AttributeError):
        settings.run.steps = 1  # type: ignore[misc]  # the point of the test
