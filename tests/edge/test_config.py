from __future__ import annotations

import dataclasses
import math
import socket
import tomllib
from pathlib import Path

import pytest

from edge_runtime.config import Config, load_config
from edge_runtime.errors import ConfigError
from edge_runtime.host import host_name
from edge_runtime.settings_file import parse_assignment, to_toml
from edge_runtime.structure import field_names
from edge_runtime.trackers.presets import FAMILIES, PRESETS
from edge_runtime.trackers.settings import EcoConfig, KcfConfig, StrcfConfig

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
    path = written(tmp_path, '[source]\nuri = "a.mp4"\nmax_frames = 5\n[tracker.kcf]\nsearch_scale = 2\n')
    config = load_config(path, {"source.uri": "fake:", "target.box": [1, 2, 3, 4], "model.dtype": None})
    assert (config.source.uri, config.source.max_frames) == ("fake:", 5)
    assert config.tracker.kcf.search_scale == 2
    assert config.target.box == (1.0, 2.0, 3.0, 4.0)
    assert config.model.dtype == "auto"


def test_show_writes_what_load_reads_back(tmp_path: Path) -> None:
    config = load_config(None, {"source.uri": 'a "quoted"\\ é.mp4', "target.box": [1.5, 2, 3, 4]})
    assert load_config(written(tmp_path, to_toml(config))) == config


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_loads_and_is_shown_as_what_loads_the_same(tmp_path: Path, preset: str) -> None:
    config = load_config(None, {"tracker.preset": preset})
    family = getattr(config.tracker, FAMILIES[preset])
    changes = {name: tuple(x) if isinstance(x, list) else x for name, x in PRESETS[preset].items()}
    assert family == dataclasses.replace(type(family)(), **changes)
    shown = to_toml(config)
    assert load_config(written(tmp_path, shown)) == config
    assert to_toml(load_config(written(tmp_path, shown))) == shown
    assert load_config(written(tmp_path, f'[tracker]\npreset = "{preset}"\n')) == config


@pytest.mark.parametrize("name", ["caf\u00e9 \U0001f600 \u2028", "\x00\x1b\x7f\t", '\\U0000 "quoted"'])
@pytest.mark.parametrize("box", [(), (math.nan, math.inf, -math.inf, 1e-320)])
def test_show_writes_any_text_and_number_as_toml(tmp_path: Path, name: str, box: tuple[float, ...]) -> None:
    config = load_config(None, {"device.name": name, "target.box": list(box), "target.max_lost_s": math.inf})
    shown = to_toml(config)
    assert shown.isascii()
    assert repr(load_config(written(tmp_path, shown))) == repr(config)


def test_a_preset_leaves_the_other_families_alone() -> None:
    tracker = load_config(None, {"tracker.preset": "eco-hc"}).tracker
    assert (tracker.kcf, tracker.strcf) == (KcfConfig(), StrcfConfig())
    assert tracker.eco != EcoConfig()


@pytest.mark.parametrize("reverse", [False, True])
def test_what_is_given_wins_over_the_preset_in_whichever_order(tmp_path: Path, reverse: bool) -> None:
    preset = load_config(None, {"tracker.preset": "eco-hc"}).tracker.eco
    assert preset.samples == 30
    expected = dataclasses.replace(preset, samples=10)
    options = [("tracker.preset", "eco-hc"), ("tracker.eco.samples", 10)]
    assert load_config(None, dict(options[::-1] if reverse else options)).tracker.eco == expected
    tables = ['[tracker]\npreset = "eco-hc"\n', "[tracker.eco]\nsamples = 10\n"]
    path = written(tmp_path, "".join(tables[::-1] if reverse else tables))
    assert load_config(path).tracker.eco == expected
    # Half in the file, half in the options.
    for table, option in zip(tables, options[::-1], strict=True):
        assert load_config(written(tmp_path, table), dict([option])).tracker.eco == expected
    assert load_config(path, {"tracker.eco.samples": 11}).tracker.eco.samples == 11


def test_an_option_replaces_the_preset_of_the_file_altogether(tmp_path: Path) -> None:
    path = written(tmp_path, '[tracker]\npreset = "eco-hc"\n')
    assert load_config(path, {"tracker.preset": "feco"}).tracker.eco == EcoConfig()
    tracker = load_config(path, {"tracker.preset": "kcf"}).tracker
    assert (tracker.kcf.feature, tracker.eco) == ("hog", EcoConfig())


def test_an_empty_name_is_the_host() -> None:
    assert host_name() == socket.gethostname()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[tracker.kcf]\nlearning_rat = 0.1", "did you mean 'tracker.kcf.learning_rate'?"),
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
        ("[tracker.kcf]\nsearch_scale = 1", "tracker.kcf.search_scale = 1.0 is out of range"),
        ("[tracker.kcf.scale]\nscales = 4", "tracker.kcf.scale.scales = 4 is out of range"),
        ("[tracker]\npreset = 'mosse'", "tracker.preset = 'mosse' has the wrong type"),
        ("[tracker]\npreset = 3", "tracker.preset = 3 has the wrong type"),
        ("[tracker.eco]\nsamples = 0", "tracker.eco.samples = 0 is out of range"),
        ("[tracker.eco.scale]\nscales = 4", "tracker.eco.scale.scales = 4 is out of range"),
        ("[tracker.strcf]\niterations = 0", "tracker.strcf.iterations = 0 is out of range"),
        ("[tracker]\npreset = 'eco-hc'\neco = 3", "tracker.eco = 3 has the wrong type"),
        ("[tracker.eco]\nfeatures = 'hog'", "tracker.eco.features = 'hog' has the wrong type"),
        ("[tracker.eco]\nchannels = [10.5, 1, 1]", "tracker.eco.channels = (10.5, 1, 1) has the wrong type"),
        ("[source\n", "is not TOML"),
        ("source = 3", "source = 3 has the wrong type"),
        # What follows was found by benchmarks.fuzz.
        (f"[udp]\nport = {'9' * 5000}", "is not TOML (Exceeds the limit"),
        (f"[udp]\nport = 0x{'f' * 5000}", "Exceeds the limit"),
        (f"[target]\nbox = 0x{'f' * 5000}", "target.box = an endless number has the wrong type"),
        (f"[target]\nmax_lost_s = 1{'0' * 400}", "is too large for a number"),
        (f"[target]\nbox = {'[' * 2000}", "is not TOML (maximum recursion depth exceeded"),
        (f"{'a.' * 2000}a = 1", "is nested too deeply"),
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


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 2000, "1\n[x", "\udcff"])
def test_a_value_that_is_no_toml_is_text(value: str) -> None:
    assert parse_assignment(f"source.uri={value}", "") == {"source.uri": value}
    assert load_config(None, parse_assignment(f"source.uri={value}", "")).source.uri == value
    with pytest.raises(ConfigError, match=r"^command line: target.box = .* has the wrong type"):
        load_config(None, parse_assignment(f"target.box={value}", ""))


def test_what_is_no_text_is_shown_escaped() -> None:
    error = ConfigError("bad\x1b[31m\x00\udcff\u2028name\u00e9", where="a\nb")
    assert str(error) == r"a b: bad\x1b[31m\x00\udcff name\u00e9".replace(r"\u00e9", "\u00e9")
    assert str(error).isprintable()


def test_errors_in_options_name_the_command_line_and_missing_files_themselves(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^command line: model.dtype = 'int4'"):
        load_config(None, {"model.dtype": "int4"})
    with pytest.raises(ConfigError, match=r"^command line: tracker.preset = 'mosse'") as caught:
        load_config(None, {"tracker.preset": "mosse"})
    assert all(preset in str(caught.value) for preset in PRESETS)
    with pytest.raises(ConfigError, match=r"none.toml: cannot be read \(No such file"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"[device]\nname = '\xe9'\n")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_config(tmp_path / "latin.toml")
