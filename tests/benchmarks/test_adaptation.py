"""The cost of adaptation: the script runs, and what it compares."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks import adaptation


def run(times_ms: list[float], **more: float) -> dict[str, object]:
    return {"times_ms": times_ms, "first_ms": 1.0, "rss_mb": 0.0} | more


def test_only_frames_until_the_new_network_tracks_are_compared() -> None:
    told = {"swapped_at": 2, "seconds": 0.1, "worker_rss_mb": 90.0, "taken": True}
    off = [run([1.0, 1.0, 9.0])] * 3
    found = adaptation.compared(off, [run([1.1, 1.5, 1.0], **told)] * 3)
    assert found["frames"] == 2
    assert found["p95_ratio"] == pytest.approx(1.48)
    assert found["frames_affected"] == {"off": 0, "background": 1}


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_the_script(bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "fast.toml"
    config.write_text("[adapt]\niterations = 1\npositives = 2\nnegatives = 2\ncrop_px = 96\nnice = 0\n")
    options = ["--presets", "feco", "--dtypes", "int8", "--repeats", "1", "--frames", "240"]
    core = ["--core", str(min(os.sched_getaffinity(0)))]
    assert adaptation.main(["--bundle", str(bundle_path), "--config", str(config), *options, *core]) == 0
    (found,) = json.loads(capsys.readouterr().out)["results"].values()
    assert 1 <= found["swapped_at"] <= found["frames"] < 240
    assert found["worker_rss_mb"] > 20
