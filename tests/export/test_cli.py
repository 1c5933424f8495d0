from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import export.bundle
from edge_runtime.manifest import Manifest
from export import cli
from tests.export.conftest import Converted

QUICK = ["--crops", "40", "--sizes", "65,96,128"]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["cfvgg-export", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


def test_exports_a_checkpoint(
    tmp_path: Path,
    student_file: Path,
    plain: Converted,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(export.bundle, "to_onnx", lambda network: plain.onnx)
    out = tmp_path / "b"
    assert run(monkeypatch, "--int8", "--weights", str(student_file), "--out", str(out), *QUICK) == 0
    manifest = Manifest.from_json((out / "manifest.json").read_text(), "test")
    assert manifest.name == "random"
    assert set(manifest.models) == {"float32", "int8"}
    printed = capsys.readouterr()
    assert "calibrating int8 with 40 crops" in printed.out
    assert printed.out.count("| int8 ") == 4
    assert printed.err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "none.mat"], "none.mat: does not exist"),
        (["--weights", "none.safetensors"], "none.safetensors: cannot be read"),
        (["--weights", "student.pt"], "student.pt: has an unknown suffix"),
        (["--sizes", "big"], "--sizes 'big' is not a list of numbers"),
        (["--min-sqnr-db", "30,28,24"], "--min-sqnr-db 30,28,24 is not four limits"),
        (["--weights", "{student}", "--calibration", "none", "--out", "b"], "none: does not exist"),
        (["--weights", "{student}", "--sizes", "12", "--out", "b"], "input size 12 px is too small"),
        (
            ["distill", "--teacher", "squeezenet=none.npz", "--photos", "none", "--out", "run"],
            "none.npz: cannot be read",
        ),
        (
            ["distill", "--teacher", "none.npz", "--photos", "none", "--out", "run"],
            "'none.npz' is no network; give NAME=FILE",
        ),
        (
            ["distill", "--loss", "tracking", "--photos", "none", "--out", "run"],
            "none: does not exist",
        ),
        (
            ["distill", "--loss", "tracking", "--videos", "none", "--out", "run"],
            "none: is not a folder",
        ),
        (["distill", "--config", "none.toml", "--out", "run"], "none.toml: cannot be read"),
        (
            ["distill", "--loss", "tracking", "--photos", "p", "--out", "run", "--set", "run.step=1"],
            "did you mean 'run.steps'?",
        ),
        (
            ["distill", "--teacher", "t.npz", "--photos", "p", "--out", "run", "--ratio", "7"],
            "student.ratio = 7 is not allowed",
        ),
        (
            [
                "distill",
                "--teacher",
                "t.npz",
                "--photos",
                "p",
                "--out",
                "run",
                "--set",
                "loss.level_weights=[1]",
            ],
            "level_weights",
        ),
    ],
)
def test_bad_input_is_one_line(  # noqa: PLR0917
    tmp_path: Path,
    student_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code = run(monkeypatch, *[a.format(student=student_file) for a in arguments])
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("cfvgg-export: ")
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_inaccurate_model_has_its_own_exit_code(
    tmp_path: Path,
    student_file: Path,
    plain: Converted,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(export.bundle, "to_onnx", lambda network: plain.onnx)
    arguments = ["--int8", "--weights", str(student_file), "--out", str(tmp_path / "b"), *QUICK]
    assert run(monkeypatch, *arguments, "--min-sqnr-db", "30,90,25,24") == 3
    assert "level middle at 65 px: SQNR is" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_interruption_is_one_line(
    tmp_path: Path,
    student_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(network: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export.bundle, "to_onnx", interrupt)
    assert run(monkeypatch, "--weights", str(student_file), "--out", str(tmp_path / "b")) == 130
    assert capsys.readouterr().err == "cfvgg-export: interrupted, nothing was written\n"
    assert list(tmp_path.iterdir()) == []


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys; from export.cli import app; app(['--help'], standalone_mode=False); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")
    assert "--int8" in done.stdout
