"""The command line, in process and as a user starts it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_runtime import cli, features, trackers
from edge_runtime.config import Config, load_config
from edge_runtime.errors import BundleError
from edge_runtime.sources import FakeSource
from tests.edge.helpers import SHA256, TemplateTracker, otb_truth

ROOT = Path(__file__).parents[2]


class Result:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Run `cfvgg-edge` in this process."""

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["cfvgg-edge", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        sys.stdout.flush()
        out, err = capfd.readouterr()
        status = caught.value.code
        return Result(status if isinstance(status, int) else 0, out, err)

    return call


@pytest.fixture
def template(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """A bundle and tracker that need no model; collects the configurations that were asked for."""
    asked: list[Config] = []

    def make_tracker(config: Config, _: object) -> TemplateTracker:
        asked.append(config)
        return TemplateTracker()

    models = {dtype: SimpleNamespace(sha256=SHA256) for dtype in ("int8", "float32")}
    opened = SimpleNamespace(manifest=SimpleNamespace(name="template", models=models), path=Path("b"))

    def network(config: Config) -> SimpleNamespace | None:
        dtype = dtype_of(config)
        return SimpleNamespace(bundle=opened, dtype=dtype) if config.model.bundle else None

    monkeypatch.setattr(features, "configured_features", network)
    monkeypatch.setattr(trackers, "make_tracker", make_tracker)
    return asked


def dtype_of(config: Config) -> str:
    return "int8" if config.model.dtype == "auto" else config.model.dtype


def fake_box() -> str:
    return ",".join(f"{v:g}" for v in FakeSource().box(0))


def test_run_leaves_its_files_and_six_lines(edge: Any, template: list[Config], tmp_path: Path) -> None:
    truth = otb_truth(tmp_path / "groundtruth_rect.txt", [FakeSource().box(i) for i in range(8)])
    files = {"--tracks": "t.jsonl", "--video": "v.mp4", "--contact-sheet": "s.png"}
    options = [part for option, name in files.items() for part in (option, tmp_path / name)]
    result = edge("run", "--source", "fake:frames=8", "--bundle", "b", "--groundtruth", truth, *options)
    assert (result.status, result.err) == (0, "")
    assert len(result.out.splitlines()) == 6
    assert "success AUC 0.952, precision at 20 px 1.000, over 8 frames" in result.out
    for name in files.values():
        assert f"{tmp_path / name}" in result.out
        assert (tmp_path / name).stat().st_size > 0


def test_tracks_on_standard_output_push_the_summary_aside(edge: Any, template: list[Config]) -> None:
    result = edge(
        "run", "--source", "fake:frames=5", "--bundle", "b", "--box", fake_box(), "--tracks", "-",
        "--device-name", "gate",
    )  # fmt: skip
    lines = [json.loads(line) for line in result.out.splitlines()]
    assert [line["frame"] for line in lines] == list(range(5))
    assert {line["device"] for line in lines} == {"gate"}
    assert len(result.err.splitlines()) == 6


def test_options_win_over_the_file(edge: Any, template: list[Config], tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    box = [float(part) for part in fake_box().split(",")]
    file.write_text(
        f"[source]\nuri='fake:frames=9'\nmax_frames=2\n[model]\nbundle='b'\ndtype='int8'\n"
        f"[target]\nbox={box}\n[tracker.kcf]\nfeature='cnn:low'\n"
    )
    first = edge("run", "--config", file)
    second = edge(
        "run", "--config", file, "--max-frames", 3, "--dtype", "float32",
        "--preset", "kcf", "--set", "tracker.kcf.learning_rate=0.05", "--set", "tracker.colour_names=w2c.mat",
    )  # fmt: skip
    assert first.out.splitlines()[0].startswith("frames    2 of 320x240")
    assert second.out.splitlines()[0].startswith("frames    3 of 320x240")
    assert [dtype_of(c) for c in template] == ["int8", "float32"]
    assert [c.tracker.preset for c in template] == ["fkcf", "kcf"]
    assert [c.tracker.kcf.learning_rate for c in template] == [0.02, 0.05]
    assert [c.tracker.kcf.kernel for c in template] == ["linear", "gaussian"]
    assert [c.tracker.kcf.feature for c in template] == ["cnn:low"] * 2  # the file wins over the preset
    assert template[1].tracker.colour_names == "w2c.mat"
    assert "fkcf, template int8, sha256 abababababab" in first.out
    assert "kcf, template float32, sha256 abababababab" in second.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--set", "tracker.kcf.kernel"], "--set 'tracker.kcf.kernel' is not KEY=VALUE"),
        (["--set", "tracker.kcf.kernal=3"], "unknown key 'kernal'; did you mean 'tracker.kcf.kernel'?"),
        (["--preset", "kcf", "--set", "tracker.preset.x=3"], "unknown key 'tracker.preset.x'"),
        (["--preset", "csrt"], "tracker.preset = 'csrt' has the wrong type; use"),
        (["--bundle", "b", "--box", "1,2,3,4"], "no source is given"),
        (["--bundle", "b", "--source", "fake:"], "no target is given"),
        (["--bundle", "b", "--source", "fake:", "--box", "1,2,x"], "--box '1,2,x' is not a box"),
        (["--bundle", "b", "--source", "fake:", "--box", "1,2,3"], "target.box = [1.0, 2.0, 3.0]"),
        (["--bundle", "b", "--source", "fake:", "--box", "1,2,0,4"], "box 1,2,0,4 is empty"),
        (["--bundle", "b", "--source", "fake:", "--box", "1,2,nan,4"], "is not finite"),
        (["--bundle", "b", "--source", "fake:", "--box", "999,2,3,4"], "outside the 320x240 frame"),
        (["--bundle", "b", "--source", "none.mp4"], "none.mp4: no such file or folder"),
        (["--dtype", "int4"], "command line: model.dtype = 'int4' has the wrong type"),
        (["--config", "none.toml"], "none.toml: cannot be read"),
        (["--video", "a.avi"], "a name that ends in .mp4"),
    ],
)
def test_bad_input_is_one_line(
    edge: Any, template: list[Config], tmp_path: Path, arguments: list[str], expected: str
) -> None:
    with contextlib.chdir(tmp_path):
        result = edge("run", *arguments)
    assert result.status == 2
    assert result.out == ""
    assert result.err.startswith("cfvgg-edge: ")
    assert expected in result.err
    assert result.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_network_tracker_without_a_bundle_is_one_line(edge: Any) -> None:
    result = edge("run", "--source", "fake:", "--box", fake_box())
    assert result.status == 2
    assert result.err == (
        "cfvgg-edge: feature 'cnn:middle' needs a network; set model.bundle or --bundle, or deploy one\n"
    )


def test_a_tracker_without_a_network_needs_no_bundle(edge: Any, tmp_path: Path) -> None:
    tracks = tmp_path / "t.jsonl"
    options = ["--source", "fake:frames=4", "--box", fake_box(), "--tracks", tracks]
    result = edge("run", "--preset", "kcf", *options)
    assert (result.status, result.err) == (0, "")
    assert "kcf without a network" in result.out
    records = [json.loads(line) for line in tracks.read_text().splitlines()]
    assert [record["model_sha256"] for record in records] == [None] * 4


def test_a_bundle_that_is_none(edge: Any, tmp_path: Path) -> None:
    run = ["run", "--source", "fake:", "--box", fake_box(), "--bundle", tmp_path]
    for arguments in (["bundle", "check", tmp_path], run):
        result = edge(*arguments)
        assert result.status == BundleError.exit_code
        assert result.err.count("\n") == 1
        assert "SHA256SUMS" in result.err


def test_config_show_and_check(edge: Any, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[source]\nmax_frames = 7\n")
    shown = edge("config", "show", "--config", file)
    (tmp_path / "shown.toml").write_text(shown.out)
    assert load_config(tmp_path / "shown.toml") == load_config(file)
    assert edge("config", "check", file).out == f"{file}: good\n"
    file.write_text("[source]\nmax_frame = 7\n")
    result = edge("config", "check", file)
    assert (result.status, result.out) == (2, "")
    assert result.err == f"cfvgg-edge: {file}: unknown key 'max_frame'; did you mean 'source.max_frames'?\n"


def test_evaluate_scores_what_run_wrote(edge: Any, template: list[Config], tmp_path: Path) -> None:
    truth = otb_truth(tmp_path / "groundtruth_rect.txt", [FakeSource().box(i) for i in range(6)])
    tracks = tmp_path / "t.jsonl"
    edge("run", "--source", "fake:frames=6", "--bundle", "b", "--box", fake_box(), "--tracks", tracks)
    result = edge("evaluate", tracks, truth)
    lines = [line.rsplit(maxsplit=1) for line in result.out.splitlines()]
    assert lines == [["success AUC", "0.9524"], ["precision at 20 px", "1.0000"], ["frames", "6"]]
    assert edge("evaluate", truth, truth).status == 2


def test_usage_errors_and_help(edge: Any) -> None:
    assert edge("run", "--nonsense").status == 2
    result = edge("--help")
    assert result.status == 0
    for command in ("run", "trax", "evaluate", "config", "bundle"):
        assert command in result.out


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, edge_runtime.cli; print([m for m in ('cv2', 'numpy', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_an_unreadable_video_is_one_line_from_a_fresh_process(tmp_path: Path) -> None:
    """OpenCV and FFmpeg write to standard error on their own unless told not to before they load."""
    video = tmp_path / "a.mp4"
    video.write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 500)
    code = "from edge_runtime.cli import main; main()"
    arguments = ["run", "--source", str(video), "--bundle", "b"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"cfvgg-edge: {video}: cannot be decoded as a video; check it with a video player\n"
    )
