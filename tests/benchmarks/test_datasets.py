from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.datasets import Sequence, open_splits
from calibration.sequence_files import picture_files
from edge_runtime.errors import SourceError
from edge_runtime.evaluation import GroundTruth
from edge_runtime.types import Box
from tests.benchmarks.fakes import MOVING, STILL, write_boxes, write_got10k, write_otb, write_pictures


def opened(folder: Path, layout: str = "auto") -> dict[str, Sequence]:
    return {sequence.name: sequence for sequence in open_splits([folder], layout)}


def stems(sequence: Sequence) -> list[str]:
    return [path.stem for path in sequence.frames]


def boxes_from(first: int, last: int) -> list[tuple[float, ...]]:
    """A box that tells its own picture: x is the number."""
    return [(number, 0, 5, 5) for number in range(first, last + 1)]


def test_otb_is_one_based(tmp_path: Path) -> None:
    write_otb(tmp_path / "dev" / "Basket", MOVING)
    found = opened(tmp_path / "dev")["Basket"]
    assert (found.layout, found.split, stems(found)) == ("otb", "dev", ["0001", "0002", "0003", "0004"])
    np.testing.assert_array_equal(found.truth.boxes, MOVING)
    assert found.first_box() == Box(4, 5, 10, 8)
    assert found.has_truth


def test_otb_folders_with_several_targets(tmp_path: Path) -> None:
    write_pictures(tmp_path / "Jogging" / "img", 4)
    write_boxes(tmp_path / "Jogging" / "groundtruth_rect.1.txt", STILL, offset=1)
    write_boxes(tmp_path / "Jogging" / "groundtruth_rect.2.txt", MOVING, offset=1)
    write_pictures(tmp_path / "Skating2-2" / "img", 4)
    write_boxes(tmp_path / "Skating2-2" / "groundtruth_rect.1.txt", STILL, offset=1)
    write_boxes(tmp_path / "Skating2-2" / "groundtruth_rect.2.txt", MOVING, offset=1)
    found = opened(tmp_path)
    assert list(found) == ["Jogging-1", "Jogging-2", "Skating2-2"]
    for name, boxes in (("Jogging-1", STILL), ("Jogging-2", MOVING), ("Skating2-2", MOVING)):
        np.testing.assert_array_equal(found[name].truth.boxes, boxes)


@pytest.mark.parametrize(
    ("name", "pictures_there", "truth_there", "expected"),
    [
        ("David", (1, 770), (300, 770), (300, 770)),  # more pictures than truth
        ("David", (300, 770), (300, 770), (300, 770)),  # the files themselves start at 300
        ("David", (1, 471), (1, 471), (1, 471)),  # numbered anew
        ("Football1", (1, 79), (1, 79), (1, 74)),  # both too long
        ("Football1", (1, 79), (1, 74), (1, 74)),
        ("BlurCar3", (1, 359), (1, 359), (3, 359)),
        ("BlurCar3", (3, 359), (3, 359), (3, 359)),
        ("BlurCar3", (1, 357), (1, 357), (1, 357)),
        ("Tiger1", (1, 354), (1, 354), (6, 354)),
        ("Tiger1", (6, 354), (6, 354), (6, 354)),
        ("Other", (1, 12), (1, 12), (1, 12)),
    ],
)
def test_otb_ranges(
    tmp_path: Path,
    name: str,
    pictures_there: tuple[int, int],
    truth_there: tuple[int, int],
    expected: tuple[int, int],
) -> None:
    folder = tmp_path / name
    (folder / "img").mkdir(parents=True)
    for number in range(pictures_there[0], pictures_there[1] + 1):
        (folder / "img" / f"{number:04d}.jpg").touch()
    write_boxes(folder / "groundtruth_rect.txt", boxes_from(*truth_there), offset=1)
    found = opened(tmp_path)[name]
    assert (stems(found)[0], stems(found)[-1]) == tuple(f"{number:04d}" for number in expected)
    # Each box still belongs to its picture.
    np.testing.assert_array_equal(found.truth.boxes[:, 0], [int(stem) for stem in stems(found)])


def test_counts_must_agree(tmp_path: Path) -> None:
    write_otb(tmp_path / "Basket", MOVING, pictures=6)
    with pytest.raises(SourceError, match=r"groundtruth_rect.txt: has 4 boxes for 6 pictures; complete"):
        opened(tmp_path)
    (tmp_path / "Basket" / "groundtruth_rect.txt").unlink()
    with pytest.raises(SourceError, match=r"groundtruth_rect.txt: is missing; complete the download"):
        opened(tmp_path)


def test_attributes_of_a_table(tmp_path: Path) -> None:
    for split in ("dev", "report"):
        write_otb(tmp_path / split / "Basket", STILL)
    (tmp_path / "attributes.csv").write_text("sequence,split,IV,OCC\nBasket,dev,1,0\nBasket,report,1,1\n")
    dev, report = open_splits([tmp_path / "dev", tmp_path / "report"])
    assert dev.attributes == frozenset({"IV"})
    assert report.attributes == frozenset({"IV", "OCC"})
    (tmp_path / "attributes.csv").write_text("sequence,IV,OCC\nBasket,1\n")
    with pytest.raises(SourceError, match=r"attributes.csv:2: is not a row of attributes; give the columns"):
        open_splits([tmp_path / "dev"])


def test_got10k_is_zero_based_and_hides_what_cannot_be_seen(tmp_path: Path) -> None:
    write_got10k(tmp_path / "val" / "B", MOVING)
    write_got10k(tmp_path / "val" / "A", STILL)
    (tmp_path / "val" / "A" / "absence.label").write_text("0\n1\n0\n0\n")
    (tmp_path / "val" / "A" / "cover.label").write_text("8\n8\n8\n0\n")
    found = opened(tmp_path / "val")
    assert list(found) == ["A", "B"]
    assert found["A"].layout == "got10k"
    assert stems(found["B"]) == ["00000001", "00000002", "00000003", "00000004"]
    np.testing.assert_array_equal(found["A"].truth.valid, [True, False, True, False])
    np.testing.assert_array_equal(found["B"].truth.boxes, MOVING)
    (tmp_path / "val" / "list.txt").write_text("B\n")
    assert list(opened(tmp_path / "val")) == ["B"]
    (tmp_path / "val" / "list.txt").write_text("B\nC\n")
    with pytest.raises(SourceError, match=r"list.txt: names 'C', which is not there; remove the line"):
        opened(tmp_path / "val")


def test_got10k_test_sets_tell_only_the_first_box(tmp_path: Path) -> None:
    write_got10k(tmp_path / "T", STILL[:1], pictures=3)
    found = opened(tmp_path)["T"]
    np.testing.assert_array_equal(found.truth.valid, [True, False, False])
    assert len(found.frames) == 3
    assert found.first_box() == Box(*STILL[0])
    assert not found.has_truth


def test_vot_polygons_become_rectangles(tmp_path: Path) -> None:
    write_pictures(tmp_path / "ball" / "color", 4, digits=8)
    (tmp_path / "ball" / "groundtruth.txt").write_text(
        "10,20,30,18,32,41.5,12,44\n1.5,2,3,4\n0\nnan,nan,nan,nan,nan,nan,nan,nan\n"
    )
    (tmp_path / "ball" / "sequence").write_text("name=ball one\nfps=30\nchannels.color=color/%08d.jpg\n")
    (tmp_path / "ball" / "occlusion.tag").write_text("0\n1\n")
    (tmp_path / "ball" / "camera_motion.tag").write_text("0\n0\n0\n0\n")
    write_got10k(tmp_path / "bag", STILL)
    (tmp_path / "list.txt").write_text("bag\nball\n")
    found = opened(tmp_path)
    assert list(found) == ["bag", "ball one"]
    ball = found["ball one"]
    assert (ball.layout, found["bag"].layout) == ("vot", "vot")
    assert ball.attributes == frozenset({"occlusion"})
    np.testing.assert_array_equal(ball.truth.boxes[:2], np.array([[10, 18, 22, 26], [1.5, 2, 3, 4]]))
    np.testing.assert_array_equal(ball.truth.valid, [True, True, False, False])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m0,0,5,5,25", "groundtruth.txt:1: is a mask; give rectangles"),
        ("1,2,3,4,5", "groundtruth.txt:1: 5 numbers, neither a rectangle nor a polygon"),
        ("1,2,x,4", "groundtruth.txt:1: '1,2,x,4' is not a region"),
    ],
)
def test_vot_regions_that_are_not_understood(tmp_path: Path, text: str, expected: str) -> None:
    write_pictures(tmp_path / "ball" / "color", 1)
    (tmp_path / "ball" / "groundtruth.txt").write_text(f"{text}\n")
    with pytest.raises(SourceError, match=expected):
        opened(tmp_path)


def write_uav123(root: Path) -> None:
    write_pictures(root / "data_seq" / "UAV123" / "bike1", 4, digits=6)
    write_pictures(root / "data_seq" / "UAV123" / "bird1", 9, digits=6)
    annotations = root / "anno" / "UAV123"
    write_boxes(annotations / "bike1.txt", MOVING, offset=1)
    write_boxes(annotations / "bird1_2.txt", boxes_from(6, 9), offset=1)
    lines = (annotations / "bird1_2.txt").read_text().splitlines()
    (annotations / "bird1_2.txt").write_text("\n".join([*lines[:2], "NaN,NaN,NaN,NaN", lines[3]]))
    (annotations / "att").mkdir()
    (annotations / "att" / "bike1.txt").write_text("1,0,0,0,0,1,0,0,0,0,0,1\n")


MATLAB = r"""
seqUAV123={struct('name','bike1','path','F:\UAV123\data_seq\UAV123\bike1\','startFrame',1,'endFrame',4,
  'nz',6,'ext','jpg','init_rect',[0,0,0,0]),...
  struct('name','bird1_2','path',[dataSet '\bird1\'],'startFrame',6,'endFrame',9,'nz',6)};
seqUAV20L={struct('name','bird1_2','path','bird1\','startFrame',1,'endFrame',2,'nz',6,'ext','jpg')};
"""


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("configSeqs.m", MATLAB),
        ("sequences.csv", "name,folder,first,last\nbird1_2,bird1,6,9\n"),
    ],
)
def test_uav123_sequences_are_ranges_of_folders(tmp_path: Path, file: str, text: str) -> None:
    write_uav123(tmp_path / "UAV123")
    (tmp_path / "UAV123" / file).write_text(text)
    found = opened(tmp_path / "UAV123")
    assert list(found) == ["bike1", "bird1_2"]
    bird = found["bird1_2"]
    assert (bird.layout, bird.split) == ("uav123", "UAV123")
    assert stems(bird) == ["000006", "000007", "000008", "000009"]
    np.testing.assert_array_equal(bird.truth.valid, [True, True, False, True])
    np.testing.assert_array_equal(bird.truth.boxes[[0, 1, 3], 0], [6, 7, 9])
    np.testing.assert_array_equal(found["bike1"].truth.boxes, MOVING)
    assert found["bike1"].attributes == {"SV", "POC", "SOB"}


def test_uav123_without_ranges_or_with_bad_ones(tmp_path: Path) -> None:
    write_uav123(tmp_path)
    with pytest.raises(
        SourceError, match=r"no pictures are known for bird1_2; put the data set's configSeqs.m"
    ):
        opened(tmp_path)
    assert open_splits([tmp_path], only=["bike1"])[0].name == "bike1"
    (tmp_path / "sequences.csv").write_text("name,folder,first\nbird1_2,bird1,6\n")
    with pytest.raises(SourceError, match=r"sequences.csv: is not a table of ranges"):
        opened(tmp_path)
    (tmp_path / "sequences.csv").write_text("name,folder,first,last\nbird1_2,bird1,6,9\n")
    (tmp_path / "anno" / "UAV123" / "att" / "bike1.txt").write_text("1,0,2\n")
    with pytest.raises(SourceError, match=r"bike1.txt: does not hold 12 values 0 or 1"):
        opened(tmp_path)


def test_what_is_asked_for_must_be_there(tmp_path: Path) -> None:
    write_otb(tmp_path / "Basket", STILL)
    write_otb(tmp_path / "Couple", STILL)
    assert [sequence.name for sequence in open_splits([tmp_path], only=["Couple"])] == ["Couple"]
    with pytest.raises(SourceError, match=r"no sequence is called 'Copule'; did you mean 'Couple'\?"):
        open_splits([tmp_path], only=["Copule"])
    with pytest.raises(SourceError, match="holds no sequences in layout got10k; check --root"):
        open_splits([tmp_path], "got10k")
    with pytest.raises(SourceError, match="is not a folder"):
        open_splits([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no sequences in layout uav123, otb, vot, got10k"):
        open_splits([tmp_path / "empty"])
    with pytest.raises(SourceError, match="holds no pictures"):
        picture_files(tmp_path / "empty")


def test_a_first_frame_without_a_box(tmp_path: Path) -> None:
    write_otb(tmp_path / "Basket", [(0, 0, 0, 0), *STILL])
    with pytest.raises(SourceError, match="Basket: the first frame has no valid box"):
        opened(tmp_path)["Basket"].first_box()


def test_later_starts_are_at_frames_with_a_box(tmp_path: Path) -> None:
    boxes = np.array([[1.0, 2, 3, 4]] * 9)
    boxes[:, 0] += np.arange(9)
    boxes[[3, 4]] = np.nan
    boxes[[6, 8]] = np.nan
    truth = GroundTruth(boxes, np.isfinite(boxes).all(1))
    sequence = Sequence("Lost", "otb", tuple(tmp_path / f"{n}.png" for n in range(9)), truth, split="dev")
    whole, later = sequence.segments(3)  # 3 has no box, 5 has; after 7 there is none
    assert (whole is sequence, later.name, later.split) == (True, "Lost@5", "dev")
    assert (later.frames, later.first_box().x) == (sequence.frames[5:], 6)
    assert len(later.truth.boxes) == len(later.truth.valid) == 4
    assert sequence.segments(1) == [sequence]


def test_the_shared_sequences_open(shared_data: Path) -> None:
    root = shared_data / "sequences"
    found = open_splits([root / "dev", root / "report"])
    assert [sum(s.split == split for s in found) for split in ("dev", "report")] == [9, 11]
    for sequence in found:
        assert sequence.layout == "otb"
        assert sequence.truth.valid.all()
        assert sequence.attributes
    videos = open_splits([shared_data / "videos"])
    assert {video.layout for video in videos} == {"got10k"}
    assert len(videos) > 40
