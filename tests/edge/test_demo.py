from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import demo
from benchmarks.demo import Step


def counting_step(folder: Path) -> Step:
    """Copies its input and counts its runs."""
    code = (
        "import sys, pathlib; source, target, log = map(pathlib.Path, sys.argv[1:]);"
        "target.write_text(source.read_text()); log.open('a').write('x'); print('copied', source.read_text())"
    )
    source, target, log = folder / "in", folder / "out", folder / "log"
    command = [sys.executable, "-c", code, str(source), str(target), str(log)]
    return Step("copy", command, [source], [target])


def test_a_step_runs_again_only_when_something_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").write_text("one")
    step, stamps = counting_step(tmp_path), tmp_path / "steps"
    runs = []
    for change in (None, None, "input", "output", None):
        if change == "input":
            (tmp_path / "in").write_text("two")
        if change == "output":
            (tmp_path / "out").unlink()
        step.run(stamps)
        runs.append(len((tmp_path / "log").read_text()))
    assert runs == [1, 1, 2, 3, 3]
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        "== copy", "copied one", "== copy (up to date)", "copied one", "== copy", "copied two",
        "== copy", "copied two", "== copy (up to date)", "copied two",
    ]  # fmt: skip


def test_a_step_that_fails_ends_the_demo_and_is_tried_again(tmp_path: Path) -> None:
    step = Step("bad", [sys.executable, "-c", "import sys; sys.exit(3)"], [], [])
    for _ in range(2):
        with pytest.raises(SystemExit) as caught:
            step.run(tmp_path)
        assert caught.value.code == 3
    assert list(tmp_path.iterdir()) == []


def test_steps_depend_on_code_bundle_and_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "bikes_video", lambda: tmp_path / "bikes.mp4")
    monkeypatch.setattr(demo, "script", lambda name: name)
    steps = {step.name: step for step in demo.steps(tmp_path)}
    assert list(steps) == ["bundle", "bikes", "synthetic-clip", "synthetic"]
    assert {path.name for path in steps["bundle"].inputs} == {"edge_runtime", "calibration", "export"}
    for name in ("bikes", "synthetic"):
        assert tmp_path / "bundle" in steps[name].inputs
        assert {path.suffix for path in steps[name].outputs} == {".jsonl", ".mp4", ".png"}


def test_missing_pieces_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="no-such-script is missing"):
        demo.script("no-such-script")
    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"bikes.mp4 is missing; install it"):
        demo.bikes_video()
