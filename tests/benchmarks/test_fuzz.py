"""The fuzzer finds what is wrong, keeps it, and has nothing to say about what is right."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fuzz.commands import SERVICE_LOG, Raising
from benchmarks.fuzz.mutation import NASTY, mutated
from benchmarks.fuzz.outcome import Target, check_line, check_reply, refusing
from benchmarks.fuzz.targets import MAKERS, OF_BUNDLES
from benchmarks.fuzz.worker import Finder, figures
from edge_runtime.errors import BoxError, ConfigError

ROOT = Path(__file__).parents[2]
NO_BUNDLE = Path("no bundle")
ENGINES = [
    "hypothesis",
    pytest.param(
        "atheris",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("atheris") is None, reason="atheris is not installed"
        ),
    ),
]


@pytest.fixture(autouse=True)
def raising() -> Iterator[None]:
    SERVICE_LOG.addHandler(Raising())
    yield
    # Those of finders, too: what other tests log is theirs.
    for handler in [h for h in SERVICE_LOG.handlers if isinstance(h, Raising)]:
        SERVICE_LOG.removeHandler(handler)


@pytest.mark.parametrize("name", MAKERS)
def test_good_inputs_and_a_hundred_changed_ones_are_answered_as_promised(tmp_path: Path, name: str) -> None:
    target = MAKERS[name](tmp_path)
    draw = random.Random(7)
    for data in [*target.seeds, b"", *(mutated(draw.choice(target.seeds), draw) for _ in range(100))]:
        target.check(data)


def test_a_change_leaves_most_of_an_input_alone() -> None:
    seed = b'{"name": "some text", "number": 12.5, "list": [1, 2, 3, 4, 5, 6, 7, 8, 9]}'
    draw = random.Random(1)
    changed = [mutated(seed, draw, [b"other"]) for _ in range(300)]
    assert len(set(changed)) > 290
    whole = 0
    for data in changed:
        try:
            whole += isinstance(json.loads(data), dict)
        except (ValueError, RecursionError):
            continue
    assert whole > 15
    assert any(NASTY[10] in data for data in changed)
    assert any(b"other" in data for data in changed)


def test_only_the_promised_errors_in_one_line_pass() -> None:
    with refusing(ConfigError):
        raise ConfigError("bad\nvalue")
    with pytest.raises(BoxError), refusing(ConfigError):
        raise BoxError("is empty")
    with pytest.raises(AssertionError, match="not one line"), refusing(ValueError):
        raise ValueError("two\nlines")
    for text in ("", "a\x1bb", "a\u2028b", 3):
        with pytest.raises(AssertionError):
            check_line(text)
    check_reply({"ok": True})
    with pytest.raises(KeyError):
        check_reply({"ok": False})


def test_each_kind_of_crash_is_kept_once_with_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(data: bytes) -> None:
        if data.startswith(b"value"):
            raise ValueError(data)
        if data.startswith(b"key"):
            raise KeyError(data)

    monkeypatch.setitem(MAKERS, "planted", lambda _: Target(check, (b"good",)))
    finder = Finder("planted", tmp_path / "keep")
    finder.open(tmp_path, NO_BUNDLE)
    for data in (b"good", b"value 1", b"key 1", b"value 2", b"good"):
        finder(data)
    assert finder.executions == 5
    kept = {path.read_bytes(): path for path in (tmp_path / "keep").iterdir() if path.suffix != ".txt"}
    assert set(kept) == {b"value 1", b"key 1"}
    text = kept[b"value 1"].with_suffix(".txt").read_text()
    assert text.startswith("ValueError tests/benchmarks/test_fuzz.py:")
    assert "Traceback (most recent call last)" in text


def test_figures_of_both_engines_are_read() -> None:
    libfuzzer = "#9 NEW cov: 5 ft: 6 corp: 2/9b\n#12 DONE   cov: 7 ft: 9 corp: 3/40b lim: 8\n"
    libfuzzer += "stat::number_of_executed_units: 1281\n"
    assert figures(libfuzzer) == {"executions": 1281, "edges": 7, "inputs_with_new_paths": 3}
    assert figures("executions 7 distinct 5\n") == {"executions": 7, "distinct_inputs": 5}
    assert figures("Traceback") == {}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_reports_every_target(tmp_path: Path, engine: str) -> None:
    options = ["--engine", engine, "--minutes", "0.02", "--keep", str(tmp_path / "keep")]
    command = [sys.executable, "-m", "benchmarks.fuzz", *options, "--targets", "groundtruth", "mqtt"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["engine"], result["crashes"]) == (engine, [])
    assert set(result["targets"]) == {"groundtruth", "mqtt"}
    assert all(part["executions"] > 0 for part in result["targets"].values())
    assert result["executions"] == sum(part["executions"] for part in result["targets"].values())


def test_targets_of_bundles_want_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.fuzz", "--bundle", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"fuzz: {tmp_path} is no bundle; make demo, or give --bundle or other --targets\n"
    assert set(OF_BUNDLES) == {"manifest", "bundle"}


def test_an_input_is_checked_again(tmp_path: Path) -> None:
    path = tmp_path / "groundtruth-12345678"
    path.write_bytes(b"1,2,3,4")
    command = [sys.executable, "-m", "benchmarks.fuzz", "--targets", "groundtruth", "--repeat", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{path}: good\n"), done.stderr
