from __future__ import annotations

import dataclasses
import socket
import tomllib
from pathlib import Path

import pytest

from edge_runtime.config import Config, load_config, to_toml
from edge_runtime.errors import ConfigError
from edge_runtime.host import host_name
from edge_runtime.structure import field_names

REFERENCE = Path(__file__).parents[2] / "systemd" / "cfvgg.toml"


def written(folder: Path, text: str) -> Path:
    path = folder / "c.toml"
    path.write_text(text)
    return path


def dotted(table: dict[str, object], prefix: str = "") -> set[str]:
    names = set()
    for key, value in table.items():
        names |= dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key}
    return names


def test_the_reference_file_names_every_setting_with_its_default() -> None:
    assert load_config(REFERENCE) == Config()
    assert dotted(tomllib.loads(REFERENCE.read_text())) == set(field_names(Config))


def test_every_setting_of_the_reference_file_is_explained() -> None:
    lines = REFERENCE.read_text().splitlines()
    tables = "".join(line if line.strip() else "\n\n" for line in (f"{x}\n" for x in lines)).split("\n\n")
    for table in filter(lambda text: text.lstrip().startswith("["), tables):
        assert table.split("]", 1)[1].lstrip().startswith("#"), table


def test_a_file_and_options_override_in_this_order(tmp_path: Path) -> None:
    path = written(tmp_path, '[source]\nuri = "a.mp4"\nmax_frames = 5\n[tracker.fkcf]\nscales = 1\n')
    config = load_config(path, {"source.uri": "fake:", "target.box": [1, 2, 3, 4], "model.dtype": None})
    assert (config.source.uri, config.source.max_frames) == ("fake:", 5)
    assert config.tracker.fkcf.scales == 1
    assert config.target.box == (1.0, 2.0, 3.0, 4.0)
    assert config.model.dtype == "auto"


def test_show_writes_what_load_reads_back(tmp_path: Path) -> None:
    config = load_config(None, {"source.uri": 'a "quoted"\\ é.mp4', "target.box": [1.5, 2, 3, 4]})
    assert load_config(written(tmp_path, to_toml(config))) == config


def test_auto_runs_int8_and_an_empty_name_is_the_host() -> None:
    assert Config().model.chosen_dtype == "int8"
    assert dataclasses.replace(Config().model, dtype="float32").chosen_dtype == "float32"
    assert host_name() == socket.gethostname()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[tracker.fkcf]\nlearning_rat = 0.1", "did you mean 'tracker.fkcf.learning_rate'?"),
        ("[sorce]\nuri = 'x'", "did you mean 'source'?"),
        ("[source]\nmax_frames = 'many'", "source.max_frames = 'many' has the wrong type"),
        ("[source]\nmax_frames = -1", "source.max_frames = -1 is not allowed; use 0 (all) or more"),
        ("[source]\nmax_frames = true", "true is given where a number belongs"),
        ("[target]\nbox = [1, 2, 3]", "target.box = [1.0, 2.0, 3.0] is not allowed"),
        ("[target]\nframe = -2", "target.frame = -2 is not allowed"),
        ("[model]\ndtype = 'int4'", "model.dtype = 'int4' has the wrong type"),
        ("[output]\nvideo = 'a.avi'", "a name that ends in .mp4"),
        ("[output]\ncontact_sheet = 'a.jpg'", "a name that ends in .png"),
        ("[output]\ncontact_sheet_frames = 0", "output.contact_sheet_frames = 0 is not allowed"),
        ("[tracker.fkcf]\nscales = 2", "tracker.fkcf.scales = 2 is out of range"),
        ("[source\n", "is not TOML"),
        ("source = 3", "source = 3 has the wrong type"),
    ],
)
def test_bad_settings_are_one_line_that_names_file_and_key(tmp_path: Path, text: str, expected: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert expected in message
    assert message.startswith(f"{path}: ")
    assert "\n" not in message


def test_errors_in_options_name_the_command_line_and_missing_files_themselves(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^command line: model.dtype = 'int4'"):
        load_config(None, {"model.dtype": "int4"})
    with pytest.raises(ConfigError, match=r"none.toml: cannot be read \(No such file"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"[device]\nname = '\xe9'\n")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_config(tmp_path / "latin.toml")
