from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.peers import make_environment
from edge_runtime.adapters import got10k
from edge_runtime.adapters.got10k import Got10kTracker, got10k_tracker
from edge_runtime.errors import BoxError, DependencyError, SourceError
from edge_runtime.sources import FakeSource
from edge_runtime.types import Box
from tests.adapters.helpers import SIZE_CHANGED, ScriptedTracker, result
from tests.edge.helpers import TemplateTracker, fake_images, pictures

ROOT = Path(__file__).parents[2]
BOX = (1, 2, 3, 4)
TOOLKIT = ("got10k==0.1.3", "six", "opencv-python-headless==4.11.0.86", "dacite>=1.9")
FRAMES = 8


@pytest.fixture
def without_toolkit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(got10k.importlib.util, "find_spec", lambda name: None)


@pytest.fixture
def toolkit(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """A stand-in for the toolkit; what it was asked to show."""
    shown: list[tuple[Any, Any]] = []
    names = ("got10k", "got10k.trackers", "got10k.utils", "got10k.utils.viz")
    modules: dict[str, Any] = {name: ModuleType(name) for name in names}
    modules["got10k.trackers"].Tracker = type("Tracker", (), {})
    modules["got10k.utils.viz"].show_frame = lambda image, box: shown.append((image, box))
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(got10k.importlib.util, "find_spec", lambda name: modules[name])
    return shown


def test_rgb_in_boxes_out() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    inner = ScriptedTracker([result((1.25, 2, 3, 4))])
    tracker = Got10kTracker("ours", inner)
    tracker.init(rgb, np.array(BOX))
    box = tracker.update(rgb)
    assert box.dtype == np.float64
    np.testing.assert_array_equal(box, (1.25, 2, 3, 4))
    assert inner.boxes == [Box(*BOX)]
    for shown in inner.shown:
        np.testing.assert_array_equal(shown, rgb[..., ::-1])


def test_a_pass_over_files(tmp_path: Path) -> None:
    images = fake_images(5)
    folder = pictures(tmp_path / "frames", images)
    files = [str(folder / f"{number}.png") for number in range(1, 6)]
    truth = np.array([FakeSource().box(index) for index in range(5)])
    for method in ("forward_test", "track"):
        inner = TemplateTracker()
        boxes, times_s = getattr(Got10kTracker("ours", inner), method)(files, truth[0], visualize=False)
        np.testing.assert_array_equal(boxes, truth)
        assert boxes.shape == (5, 4)
        assert times_s.shape == (5,)
        assert (times_s > 0).all()
    assert np.abs(inner._template.astype(int) - images[0][100:140, 140:180].astype(int)).max() == 0


def test_members_of_the_convention(without_toolkit: None) -> None:
    tracker = got10k_tracker("fKCF-int8", ScriptedTracker())
    assert type(tracker) is Got10kTracker
    assert (tracker.name, tracker.is_deterministic) == ("fKCF-int8", True)
    assert not got10k_tracker("x", ScriptedTracker(), is_deterministic=False).is_deterministic


def test_it_is_the_toolkits_tracker_where_that_is_installed(toolkit: list[Any]) -> None:
    tracker = got10k_tracker("ours", ScriptedTracker())
    assert isinstance(tracker, sys.modules["got10k.trackers"].Tracker)
    assert isinstance(tracker, Got10kTracker)
    assert tracker.name == "ours"


def test_frames_are_shown_by_the_toolkit(toolkit: list[Any], tmp_path: Path) -> None:
    image = fake_images(1)[0]
    folder = pictures(tmp_path / "frames", [image, image])
    tracker = got10k_tracker("ours", ScriptedTracker([result((5, 6, 7, 8))]))
    tracker.forward_test([folder / "1.png", folder / "2.png"], BOX, visualize=True)
    assert [tuple(box) for _, box in toolkit] == [BOX, (5, 6, 7, 8)]
    np.testing.assert_array_equal(toolkit[1][0], image)


def test_showing_frames_needs_the_toolkit(without_toolkit: None) -> None:
    with pytest.raises(DependencyError, match="pip install got10k"):
        got10k_tracker("ours", ScriptedTracker()).forward_test(["1.png"], BOX, visualize=True)


def test_misuse_is_one_line(tmp_path: Path) -> None:
    tracker = Got10kTracker("ours", ScriptedTracker([SIZE_CHANGED]))
    frame = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(BoxError, match=r"^ours.update: there is no target yet; call init first$"):
        tracker.update(frame)
    tracker.init(frame, BOX)
    with pytest.raises(BoxError, match="is empty"):
        tracker.init(frame, (1, 2, 0, 0))
    with pytest.raises(BoxError, match="call init first"):
        tracker.update(frame)
    with pytest.raises(SourceError, match="there are no frames"):
        tracker.forward_test([], BOX)
    with pytest.raises(SourceError, match=r"no\.jpg: cannot be decoded"):
        tracker.forward_test([tmp_path / "no.jpg"], BOX)
    tracker.init(frame, BOX)
    with pytest.raises(SourceError, match=r"^ours\.update: bool"):
        tracker.update(frame > 0)
    with pytest.raises(SourceError, match="the first was"):
        tracker.update(frame)


def write_dataset(root: Path) -> None:
    """A validation set of one sequence, as the toolkit expects it."""
    folder = root / "val" / "Fake_1"
    folder.mkdir(parents=True)
    (root / "val" / "list.txt").write_text("Fake_1\n")
    for number, image in enumerate(fake_images(FRAMES), 1):
        assert cv2.imwrite(str(folder / f"{number:08}.jpg"), image)
    boxes = [FakeSource().box(index) for index in range(FRAMES)]
    (folder / "groundtruth.txt").write_text(
        "".join(",".join(f"{v:.4f}" for v in box) + "\n" for box in boxes)
    )
    (folder / "meta_info.ini").write_text("[METAINFO]\nresolution: (320, 240)\n")
    for name, value in (("cover", 8), ("absence", 0), ("cut_by_image", 0)):
        (folder / f"{name}.label").write_text(f"{value}\n" * FRAMES)


def test_the_toolkits_own_experiment(slow: None, tmp_path: Path) -> None:
    write_dataset(tmp_path / "data")
    program = f"""
import json, matplotlib; matplotlib.use("agg")
from got10k.experiments import ExperimentGOT10k
from got10k.trackers import Tracker
from edge_runtime.adapters.got10k import got10k_tracker
from tests.edge.helpers import TemplateTracker
tracker = got10k_tracker("ours", TemplateTracker())
assert isinstance(tracker, Tracker)
experiment = ExperimentGOT10k({str(tmp_path / "data")!r}, "val", {str(tmp_path / "results")!r},
                              {str(tmp_path / "reports")!r})
experiment.run(tracker)
print(json.dumps(experiment.report(["ours"])["ours"]["seq_wise"]["Fake_1"]))
"""
    python = make_environment("got10k-toolkit", TOOLKIT)
    done = subprocess.run([python, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    performance = json.loads(done.stdout.splitlines()[-1])
    assert performance["ao"] > 0.95
    assert performance["sr"] == 1.0
    assert performance["length"] == FRAMES - 1
    results = tmp_path / "results" / "GOT-10k" / "ours" / "Fake_1"
    # One repetition: the tracker says that it is deterministic.
    assert sorted(path.name for path in results.iterdir()) == ["Fake_1_001.txt", "Fake_1_time.txt"]
    boxes = np.loadtxt(results / "Fake_1_001.txt", delimiter=",")
    np.testing.assert_allclose(boxes, [FakeSource().box(index) for index in range(FRAMES)], atol=1)
