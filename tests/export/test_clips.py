from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import ConfigError, SourceError
from export.pairs.clips import Clip, read_clips, split_clips
from tests.benchmarks.fakes import MOVING, STILL, write_boxes, write_got10k, write_pictures

OBJECT = """
  <object>
    <trackid>{track}</trackid>
    <name>n02084071</name>
    <bndbox><xmax>{xmax}</xmax><xmin>{xmin}</xmin>
      <ymax>{ymax}</ymax><ymin>{ymin}</ymin></bndbox>
    <occluded>0</occluded>
  </object>"""
Objects = dict[int, tuple[int, int, int, int]]  # track to xmin, ymin, xmax, ymax


def write_vid(root: Path, snippet: str, objects: Sequence[Objects]) -> Path:
    """One snippet; the folder of its annotations."""
    pictures, annotations = (root / kind / "VID" / snippet for kind in ("Data", "Annotations"))
    write_pictures(pictures, len(objects), first=0, digits=6)  # 40 x 30 px
    for path in pictures.iterdir():
        path.rename(path.with_suffix(".JPEG"))
    annotations.mkdir(parents=True)
    for number, boxes in enumerate(objects):
        corners = [
            OBJECT.format(track=t, xmin=b[0], ymin=b[1], xmax=b[2], ymax=b[3]) for t, b in boxes.items()
        ]
        text = f"<annotation>\n  <size><width>40</width></size>{''.join(corners)}\n</annotation>\n"
        (annotations / f"{number:06d}.xml").write_text(text)
    return annotations


def clips_of(root: Path) -> dict[str, Clip]:
    return {clip.name: clip for clip in read_clips(root)}


def named(*names: str) -> list[Clip]:
    return [Clip(name, (), np.zeros((0, 4))) for name in names]


def test_got10k(tmp_path: Path) -> None:
    write_got10k(tmp_path / "ball", MOVING)
    write_got10k(tmp_path / "train" / "car", STILL)
    write_got10k(tmp_path / "val" / "dog", STILL)
    (tmp_path / "meta").mkdir()
    found = clips_of(tmp_path)
    assert list(found) == ["ball", "car", "dog"]
    ball = found["ball"]
    assert [path.name for path in ball.frames] == [f"{n:08d}.jpg" for n in (1, 2, 3, 4)]
    assert ball.boxes.dtype == np.float64
    np.testing.assert_array_equal(ball.boxes, MOVING)
    np.testing.assert_array_equal(ball.present, [0, 1, 2, 3])


def test_got10k_list_and_labels(tmp_path: Path) -> None:
    write_got10k(tmp_path / "ball", MOVING)
    write_got10k(tmp_path / "unlisted", MOVING)
    (tmp_path / "list.txt").write_text("ball\n")
    (tmp_path / "ball" / "absence.label").write_text("1\n0\n0\n0\n")
    (tmp_path / "ball" / "cover.label").write_text("8\n8\n0\n8\n")
    (clip,) = read_clips(tmp_path)
    np.testing.assert_array_equal(clip.present, [1, 3])
    assert np.isnan(clip.boxes[[0, 2]]).all()


@pytest.mark.parametrize(
    "absent",
    [
        (4, 5, 0, 8),
        (4, 5, 10, -1),
        (np.nan,) * 4,
        (-40, 5, 10, 8),  # outside on the left
        (36, 5, 10, 8),  # its centre is at 40.5, and the frame 40 px wide
        (4, 27, 10, 8),
    ],
)
def test_empty_boxes_and_those_outside_count_as_absent(tmp_path: Path, absent: tuple[float, ...]) -> None:
    write_got10k(tmp_path / "ball", [(4, 5, 10, 8), absent, (-4, 5, 10, 8), (34, 5, 10, 8)])
    (clip,) = read_clips(tmp_path)
    np.testing.assert_array_equal(clip.present, [0, 2, 3])
    assert np.isnan(clip.boxes[1]).all()


def test_a_damaged_first_picture_does_not_hide_the_frame_size(tmp_path: Path) -> None:
    write_got10k(tmp_path / "ball", [(4, 5, 10, 8), (100, 5, 10, 8), (4, 5, 10, 8)])
    (tmp_path / "ball" / "00000001.jpg").write_bytes(b"no picture")
    (clip,) = read_clips(tmp_path)
    np.testing.assert_array_equal(clip.present, [0, 2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4,5,10,8\n4,5,10\n", r"ball/groundtruth.txt:2: 3 numbers, not the four of a box; give x,y,w,h"),
        ("4,5,10,8\n4,5,x,8\n", r"ball/groundtruth.txt:2: '4,5,x,8' is not a box; give x,y,w,h"),
        ("4,5,10,8\n" * 3, r"ball/groundtruth.txt: has 3 boxes for 2 pictures; complete the download"),
        ("", r"ball/groundtruth.txt: holds no boxes"),
        ("0,0,0,0\n" * 2, r"no two frames of any of the 1 clips show their target; check the boxes"),
    ],
)
def test_broken_truth_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    write_pictures(tmp_path / "ball", 2)
    (tmp_path / "ball" / "groundtruth.txt").write_text(text)
    with pytest.raises(SourceError, match=message) as error:
        read_clips(tmp_path)
    assert "\n" not in str(error.value)


def test_no_clips(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no clips in layout ILSVRC-2015 VID or GOT-10k"):
        read_clips(tmp_path)
    with pytest.raises(SourceError, match="is not a folder"):
        read_clips(tmp_path / "none")


def test_clips_with_one_usable_frame_are_left_out(tmp_path: Path) -> None:
    write_got10k(tmp_path / "ball", MOVING)
    write_pictures(tmp_path / "first_only", 4)
    write_boxes(tmp_path / "first_only" / "groundtruth.txt", STILL[:1])  # as in GOT-10k's test set
    assert list(clips_of(tmp_path)) == ["ball"]


def test_vid(tmp_path: Path) -> None:
    box, other = (4, 5, 13, 12), (20, 6, 29, 25)
    train = "train/ILSVRC2015_VID_train_0000/ILSVRC2015_train_00000000"
    write_vid(tmp_path, train, [{0: box, 7: other}, {7: other}, {0: box}, {}])
    write_vid(tmp_path, "val/ILSVRC2015_val_00000003", [{1: other}, {1: other}])
    found = clips_of(tmp_path)
    assert list(found) == [
        "ILSVRC2015_train_00000000/0",
        "ILSVRC2015_train_00000000/7",
        "ILSVRC2015_val_00000003/1",
    ]
    first, second, third = found.values()
    # Corners are both included.
    np.testing.assert_array_equal(first.boxes[[0, 2]], [(4, 5, 10, 8)] * 2)
    np.testing.assert_array_equal(first.present, [0, 2])
    np.testing.assert_array_equal(second.boxes[[0, 1]], [(20, 6, 10, 20)] * 2)
    np.testing.assert_array_equal(second.present, [0, 1])
    assert [path.name for path in third.frames] == ["000000.JPEG", "000001.JPEG"]
    assert third.frames[0].is_file()
    assert first.video == second.video != third.video


def test_vid_parts_that_were_not_downloaded(tmp_path: Path) -> None:
    both = [{0: (4, 5, 13, 12)}] * 2
    write_vid(tmp_path, "val/ILSVRC2015_val_00000000", both)
    write_vid(tmp_path, "val/ILSVRC2015_val_00000001", both)
    for path in (tmp_path / "Data/VID/val/ILSVRC2015_val_00000001").iterdir():
        path.unlink()
    (tmp_path / "Data/VID/val/ILSVRC2015_val_00000001").rmdir()
    assert list(clips_of(tmp_path)) == ["ILSVRC2015_val_00000000/0"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</bndbox>", "", r"000001.xml:9: is broken XML \(mismatched tag\); complete the download"),
        ("<xmax>13<", "<xmax>wide<", r"000001.xml:6: <xmax> is 'wide', not a number"),
        ("<ymin>5</ymin>", "", r"000001.xml:3: the object has no <ymin>"),
        ("<trackid>0</trackid>", "<trackid></trackid>", r"000001.xml:4: the object has no <trackid>"),
    ],
)
def test_broken_annotations_are_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    folder = write_vid(tmp_path, "val/ILSVRC2015_val_00000000", [{0: (4, 5, 13, 12)}] * 2)
    text = (folder / "000001.xml").read_text()
    assert old in text
    (folder / "000001.xml").write_text(text.replace(old, new))
    with pytest.raises(SourceError, match=message) as error:
        read_clips(tmp_path)
    assert "\n" not in str(error.value)


def test_vid_annotations_must_match_the_pictures(tmp_path: Path) -> None:
    folder = write_vid(tmp_path, "val/ILSVRC2015_val_00000000", [{0: (4, 5, 13, 12)}] * 3)
    (folder / "000001.xml").unlink()
    with pytest.raises(SourceError, match=r"00000000: 2 annotations do not match the 3 pictures in .*Data"):
        read_clips(tmp_path)


@pytest.mark.parametrize(
    ("name", "video"),
    [
        ("vot-ball2", "vot-ball"),
        ("uav-truck4_1", "uav-truck"),
        ("Jogging-2", "Jogging"),
        ("davis-bmx-trees", "davis-bmx-trees"),
        ("GOT-10k_Train_000012", "GOT-10k_Train_000012"),  # a serial number
        ("ILSVRC2015_train_00000012/3", "ILSVRC2015_train_00000012"),
        ("001", "001"),
    ],
)
def test_clips_of_one_video(name: str, video: str) -> None:
    assert named(name)[0].video == video


def test_split_keeps_videos_whole() -> None:
    clips = named(*(f"v{chr(97 + video)}-{part}" for video in range(20) for part in range(1 + video % 3)))
    sides = set()
    for seed in range(30):
        trained, held = split_clips(clips, 0.2, seed)
        assert not {clip.video for clip in trained} & {clip.video for clip in held}
        assert sorted(c.name for c in trained + held) == sorted(c.name for c in clips)
        assert abs(len(held) - 0.2 * len(clips)) <= 1.5  # half the largest video
        sides.add(tuple(clip.name for clip in held))
    assert len(sides) > 20  # the seed matters
    assert split_clips(clips, 0.2, 3) == split_clips(clips, 0.2, 3)
    assert split_clips(clips, 0, 0) == (clips, [])


def test_split_does_not_shuffle_when_clips_are_added() -> None:
    clips = named(*(f"video{chr(97 + n)}" for n in range(20)))
    before = {clip.name for clip in split_clips(clips, 0.5, 0)[1]}
    after = {clip.name for clip in split_clips(clips + named("another", "more"), 0.5, 0)[1]}
    assert len(before - after) <= 2


def test_split_always_leaves_something_on_both_sides() -> None:
    clips = named("ball1", "ball2", "car")
    for share in (0.01, 0.99):
        assert all(split_clips(clips, share, 0))
    with pytest.raises(ConfigError, match="single video"):
        split_clips(clips[:2], 0.1, 0)
    with pytest.raises(ConfigError, match="1 is not a share"):
        split_clips(clips, 1, 0)


def test_the_reference_videos(shared_data: Path) -> None:
    clips = read_clips(shared_data / "videos")
    assert len(clips) > 40
    for clip in clips:
        boxes = clip.boxes[clip.present]
        assert len(boxes) > 10
        assert (boxes[:, 2:] >= 1).all()
    for seed in range(5):
        trained, held = split_clips(clips, 0.15, seed)
        assert not {clip.video for clip in trained} & {clip.video for clip in held}
        assert 4 <= len(held) <= 10
