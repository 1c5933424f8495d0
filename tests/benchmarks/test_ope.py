from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")

from benchmarks import ope
from benchmarks.ope import main
from tests.benchmarks.fakes import (
    MOVING,
    STILL,
    CountingBuilder,
    build_still,
    write_boxes,
    write_got10k,
    write_otb,
)

# The still tracker's overlap with the moving target: 1, then 9, 8 and 7 of 11, 12 and 13 columns.
MOVING_IOU = np.array([1, 9 / 11, 8 / 12, 7 / 13])
MOVING_AUC = float(np.mean(MOVING_IOU[:, None] > np.arange(21) / 20))
PUBLISHED = """tracker,split,sequence,success_auc,precision_20px
ECO,dev,Still,0.9,1
ECO,dev,Moving,0.5,0.5
KCF,dev,Still,0.4,0.4
KCF,dev,Moving,0.2,0.2
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A split of two sequences, with attributes and published scores."""
    folder = tmp_path / "data"
    write_otb(folder / "dev" / "Still", STILL)
    write_otb(folder / "dev" / "Moving", MOVING)
    (folder / "attributes.csv").write_text("sequence,split,IV,OCC\nStill,dev,1,0\nMoving,dev,1,1\n")
    (folder / "published.csv").write_text(PUBLISHED)
    return folder


def arguments(root: Path, out: Path, *more: str) -> list[str]:
    fixed = ["--root", str(root), "--splits", "dev", "--presets", "kcf", "--jobs", "0", "--out", str(out)]
    return [*fixed, "--no-plots", *more]


def results(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "results.json").read_text())
    return found


def test_a_run_and_what_it_leaves(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, build = tmp_path / "out", CountingBuilder()
    assert main(arguments(root, out, "--published", str(root / "published.csv")), build) == 0
    assert build.built == 2
    found = results(out)
    (summary,) = found["summary"]
    assert (summary["variant"], summary["split"], summary["sequences"]) == ("kcf", "dev", 2)
    assert summary["auc"] == pytest.approx((20 / 21 + MOVING_AUC) / 2)
    assert summary["p20"] == 1
    assert summary["states"] == {"tracking": 6}
    assert summary["fps"] > 0
    assert summary["peak_rss_mb"] > 10
    assert found["about"]["threads"] == [1]
    by_name = {(a["attribute"], a["sequences"]): a["auc"] for a in found["attributes"]}
    assert by_name["OCC", 1] == pytest.approx(MOVING_AUC)
    assert by_name["IV", 2] == pytest.approx(summary["auc"])

    text = (out / "table.md").read_text()
    assert capsys.readouterr().out.strip() == text.strip()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows[0] == "| tracker | dev AUC | dev P20 | dev FPS | dev p95 ms |"
    assert rows[2].startswith(f"| kcf | {summary['auc']:.3f} | 1.000 | ")
    assert rows[3:5] == [
        "| ECO (published) | 0.700 | 0.750 | - | - |",
        "| KCF (published) | 0.300 | 0.300 | - | - |",
    ]
    assert rows[5] == "| tracker | IV (2) | OCC (1) |"
    assert rows[8] == "| ECO (published) | 0.700 | 0.500 |"

    with (out / "results.csv").open(newline="") as file:
        table = {row["sequence"]: row for row in csv.DictReader(file)}
    assert float(table["Moving"]["auc"]) == pytest.approx(MOVING_AUC)
    assert (table["Moving"]["attributes"], table["Moving"]["states"]) == ("IV OCC", "tracking:3")
    assert (table["Still"]["frames"], table["Still"]["preset"], table["Still"]["backend"]) == (
        "4",
        "kcf",
        "none",
    )
    boxes = (out / "boxes" / "kcf" / "dev" / "Moving.txt").read_text().splitlines()
    assert boxes == ["4.000,5.000,10.000,8.000"] * 4
    row = json.loads((out / "results.jsonl").read_text().splitlines()[0])
    assert row.keys() >= {"auc", "p20", "fps", "p50_ms", "p95_ms", "p99_ms", "peak_rss_mb", "cpu", "threads"}
    assert row.keys() >= {"preset", "dtype", "backend", "model_sha256", "bundle_sha256", "revision", "states"}


def test_a_second_run_does_only_what_is_missing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, build = tmp_path / "out", CountingBuilder()
    for more, built in ((["--only", "Still"], 1), ([], 2), ([], 2), (["--frames", "3"], 4), ([], 4)):
        assert main(arguments(root, out, *more), build) == 0
        assert build.built == built, more
    lines = (out / "results.jsonl").read_text().splitlines()
    (out / "results.jsonl").write_text("\n".join([*lines[:-3], lines[-3][:40]]))  # killed while writing
    assert main(arguments(root, out), build) == 0
    assert build.built == 5
    monkeypatch.setattr(ope, "git_revision", lambda: "other")
    assert main(arguments(root, out, "--any-revision"), build) == 0
    assert build.built == 5
    assert main(arguments(root, out), build) == 0
    assert build.built == 7
    shutil.rmtree(out / "boxes")
    assert main(arguments(root, out), build) == 0
    assert build.built == 9


def test_several_starts(root: Path, tmp_path: Path) -> None:
    """From the third of four frames the moving target is missed by one step, not by two and three."""
    out = tmp_path / "out"
    published = ["--published", str(root / "published.csv")]
    assert main(arguments(root, out, "--starts", "2", *published), CountingBuilder()) == 0
    auc = {row["sequence"]: row["auc"] for row in results(out)["sequences"]}
    assert auc.keys() == {"Still", "Still@2", "Moving", "Moving@2"}
    assert auc["Moving@2"] == pytest.approx(np.mean(MOVING_IOU[:2, None] > np.arange(21) / 20))
    assert auc["Moving"] == pytest.approx(MOVING_AUC)
    assert "published" not in (out / "table.md").read_text()


def test_scores_are_made_anew_from_boxes(root: Path, tmp_path: Path) -> None:
    out, build = tmp_path / "out", CountingBuilder()
    assert main(arguments(root, out, "--score-only"), build) == 2
    assert main(arguments(root, out), build) == 0
    before = results(out)
    (out / "results.json").unlink()
    assert main(arguments(root, out, "--score-only"), build) == 0
    assert results(out) == before
    # Boxes of somebody else's tracker, and all that is kept.
    write_boxes(out / "boxes" / "peer_x" / "dev" / "Moving.txt", MOVING)
    everything = [a for a in arguments(root, out, "--score-only") if a not in ("--presets", "kcf")]
    assert main(everything, build) == 0
    assert build.built == 2
    peer = results(out)["summary"][1]
    assert (peer["variant"], peer["sequences"], peer["fps"]) == ("peer x", 1, None)
    assert peer["auc"] == pytest.approx(20 / 21)
    assert "| peer x | 0.952 (1 of 2) | 1.000 |" in (out / "table.md").read_text()


def test_parts_of_sequences_are_kept_apart(root: Path, tmp_path: Path) -> None:
    out, build = tmp_path / "out", CountingBuilder()
    published = ["--published", str(root / "published.csv")]
    assert main(arguments(root, out, "--frames", "2", *published), build) == 0
    assert results(out)["summary"][0]["frames"] == 4
    assert results(out)["published"] == []
    assert main(arguments(root, out), build) == 0
    assert sorted(path.name for path in (out / "boxes").iterdir()) == ["kcf", "kcf_first2"]
    everything = [a for a in arguments(root, out, "--score-only") if a not in ("--presets", "kcf")]
    for more, expected in (([], "kcf"), (["--frames", "2"], "kcf first2")):
        assert main([*everything, *more], build) == 0
        assert [row["variant"] for row in results(out)["summary"]] == [expected]


def test_a_failure_leaves_the_others_alone(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_otb(root / "dev" / "Narrow", [(4, 5, 2, 8)] * 3)
    write_otb(root / "dev" / "Torn", STILL)
    (root / "dev" / "Torn" / "img" / "0003.jpg").write_bytes(b"no picture")
    out = tmp_path / "out"
    write_boxes(out / "boxes" / "kcf" / "dev" / "Torn.txt", STILL)  # of an earlier run: must not count
    assert main(arguments(root, out), CountingBuilder()) == 1
    error = capsys.readouterr().err
    assert f"ope: kcf, dev/Narrow: ZeroDivisionError: too narrow; traceback in {out / 'errors.log'}" in error
    assert "0003.jpg: cannot be decoded as a picture; remove or replace it" in error
    assert "in init" in (out / "errors.log").read_text()
    assert "(2 of 4)" in (out / "table.md").read_text()
    shutil.rmtree(root / "dev" / "Narrow")
    (root / "dev" / "Torn" / "img" / "0003.jpg").write_bytes(
        (root / "dev" / "Torn" / "img" / "0002.jpg").read_bytes()
    )
    build = CountingBuilder()
    assert main(arguments(root, out), build) == 0
    assert build.built == 1


def test_got10k_data_gets_its_own_figures_and_files(tmp_path: Path) -> None:
    write_got10k(tmp_path / "data" / "val" / "A", MOVING)
    write_got10k(tmp_path / "data" / "test" / "B", STILL[:1], pictures=3)
    out = tmp_path / "out"
    more = ["--splits", "val", "test"]
    assert main(arguments(tmp_path / "data", out, *more), CountingBuilder()) == 0
    val, test = results(out)["summary"]
    assert val["ao"] == pytest.approx(MOVING_IOU[1:].mean())
    assert (val["sr50"], val["sr75"]) == (1, pytest.approx(1 / 3))
    assert (test["auc"], test["frames"]) == (None, 3)
    head = (
        "| tracker | val AUC | val P20 | val AO | val SR0.5 | val SR0.75 | val FPS | val p95 ms | test FPS |"
    )
    assert head in (out / "table.md").read_text()
    folder = out / "got10k" / "test" / "kcf" / "B"
    assert (folder / "B_001.txt").read_text() == "4.000,5.000,10.000,8.000\n" * 3
    times_s = np.loadtxt(folder / "B_time.txt")
    assert times_s.shape == (3,)
    assert (times_s < 1).all()


def test_charts_of_every_split(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plotted = [
        a for a in arguments(root, out, "--published", str(root / "published.csv")) if a != "--no-plots"
    ]
    assert main(plotted, CountingBuilder()) == 0
    for name in ("success", "precision", "auc"):
        assert (out / f"{name}_dev.png").stat().st_size > 10_000


def test_workers(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(arguments(root, out, "--jobs", "2"), build_still) == 0
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert sorted(row["sequence"] for row in rows) == ["Moving", "Still"]
    assert {row["jobs"] for row in rows} == {2}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--only", "Stil"], "ope: --only: no sequence is called 'Stil'; did you mean 'Still'?"),
        (["--splits", "val"], "is not a folder; give the folder of the sequences"),
        (["--layout", "vot"], "holds no sequences in layout vot"),
        (["--presets", "fkcf"], "ope: fkcf needs a network"),
        (["--published", "none.csv"], "ope: none.csv: cannot be read"),
        (["--config", "none.toml"], "ope: none.toml: cannot be read"),
    ],
)
def test_mistakes_are_one_line(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], expected: str
) -> None:
    assert main(arguments(root, tmp_path / "out", *more), CountingBuilder()) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "more", [["--jobs", "-1"], ["--frames", "1"], ["--starts", "0"], ["--dtypes", "int4"], ["--layout", "x"]]
)
def test_bad_options(root: Path, tmp_path: Path, more: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments(root, tmp_path / "out", *more), CountingBuilder())
    assert caught.value.code == 2


def test_fkcf_follows_a_clip_from_command_line_to_table(bundle_path: Path, tmp_path: Path) -> None:
    picture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8), (0, 0), 2)
    folder = tmp_path / "data" / "dev" / "Clip"
    write_otb(folder, [(40 + 2 * frame, 30, 24, 20) for frame in range(6)])
    for frame in range(6):
        cv2.imwrite(str(folder / "img" / f"{frame + 1:04d}.jpg"), np.roll(picture, 2 * frame, 1))
    out = tmp_path / "out"
    fkcf = ["--presets", "fkcf", "--bundle", f"random={bundle_path}", "--dtypes", "int8"]
    assert main(arguments(tmp_path / "data", out, *fkcf, "--jobs", "1")) == 0
    (row,) = results(out)["sequences"]
    assert row["variant"] == "fkcf random int8"
    assert row["auc"] > 0.6
    assert row["backend"].split(" ")[0] in ("ai_edge_litert", "tflite_runtime")
    assert len(row["model_sha256"]) == 64
