"""Recordings: folders, video files, the fake; in a loop and in real time."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import SourceError
from edge_runtime.sources import FakeSource, FolderSource, VideoSource
from edge_runtime.sources.fake import FakeScript
from edge_runtime.sources.folder import natural_key
from tests.edge.helpers import fake_images, opened, pictures, video


def test_rates(tmp_path: Path) -> None:
    assert FolderSource(pictures(tmp_path / "p", fake_images(1))).frame_rate_hz is None
    with VideoSource(video(tmp_path / "v.avi", fake_images(3), rate_hz=12)) as source:
        assert source.frame_rate_hz == pytest.approx(12)
    assert FakeSource(FakeScript(rate_hz=15)).frame_rate_hz == 15


# Folders


def test_folders_are_read_in_natural_order_without_other_files(tmp_path: Path) -> None:
    names = ["img2.png", "img10.png", "img1.png", "IMG3.PNG"]
    for value, name in enumerate(names):
        cv2.imwrite(str(tmp_path / name), np.full((8, 8, 3), value * 20, np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "img4.png").mkdir()
    values = [int(frame.image[0, 0, 0]) for frame in FolderSource(tmp_path)]
    assert values == [40, 0, 60, 20]


def test_natural_order_compares_numbers_and_is_total() -> None:
    names = ["b", "a10", "a2", "a02", "10", "9", "a2b1", "A1"]
    expected = ["9", "10", "A1", "a02", "a2", "a2b1", "a10", "b"]
    assert sorted(names, key=natural_key) == expected
    assert len({str(natural_key(name)) for name in names}) == len(names)


def test_grey_pictures_come_out_in_colour(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.full((6, 5), 77, np.uint8))
    (frame,) = FolderSource(tmp_path)
    assert frame.image.shape == (6, 5, 3)
    assert (frame.image == 77).all()


def test_folder_errors(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no pictures"):
        opened(str(tmp_path))
    broken = pictures(tmp_path / "broken", fake_images(3))
    (broken / "2.png").write_bytes(b"no picture at all")
    with opened(str(broken)) as source:
        iterator = iter(source)
        assert next(iterator).index == 0
        with pytest.raises(SourceError, match=r"broken/2.png: cannot be decoded as a picture"):
            next(iterator)
    (broken / "1.png").write_bytes(b"")
    with pytest.raises(SourceError, match=r"1.png: cannot be decoded"):
        opened(str(broken))


def test_a_size_that_changes_is_an_error_naming_the_frame(tmp_path: Path) -> None:
    images = [np.zeros((20, 30, 3), np.uint8)] * 2 + [np.zeros((20, 40, 3), np.uint8)]
    source = opened(str(pictures(tmp_path / "p", images)))
    with pytest.raises(SourceError, match="frame 2 is 40x20, the first was 30x20"):
        list(source)


# Videos


@pytest.mark.parametrize("content", [b"", b"not a video\n" * 100])
def test_files_that_are_no_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"a.mp4: cannot be decoded as a video"):
        opened(str(path))


def test_a_cut_off_video_is_an_error_after_its_good_frames(tmp_path: Path) -> None:
    whole = video(tmp_path / "whole.avi", fake_images(40)).read_bytes()
    path = tmp_path / "half.avi"
    path.write_bytes(whole[: len(whole) // 2])
    good = 0
    with (
        pytest.raises(SourceError, match=r"half.avi: frame \d+ of 40 cannot be decoded"),
        opened(str(path)) as source,
    ):
        for _ in source:
            good += 1
    assert 10 < good < 30


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("x" * 300, "File name too long"),
        ("a\0b", "embedded null byte|stat: embedded null character in path"),
        ("v/" * 3000, "File name too long"),
    ],
)
def test_names_that_the_system_does_not_take(uri: str, expected: str) -> None:
    with pytest.raises(SourceError, match=rf"cannot be opened \({expected}\)") as caught:
        opened(uri)
    assert str(caught.value).isprintable()


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        opened(str(tmp_path / "none.mp4"))
    with pytest.raises(SourceError, match="no source is given"):
        opened("")


# The fake


def test_the_fake_shows_its_target_exactly_in_the_box() -> None:
    source = FakeSource(FakeScript(frames=90))
    boxes = [source.box(index) for index in range(90)]
    x, y, w, h = (int(v) for v in boxes[0])
    target = source.image(0)[y : y + h, x : x + w]
    for index, box in enumerate(boxes):
        x, y, w, h = (int(v) for v in box)
        assert min(x, y) >= 0
        assert x + w <= 320
        assert y + h <= 240
        np.testing.assert_array_equal(source.image(index)[y : y + h, x : x + w], target)
    assert len(set(boxes)) > 60


def test_the_fake_is_repeatable_and_its_seed_matters() -> None:
    a, b, c = (FakeSource.from_uri(f"fake:frames=2&seed={seed}") for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.image(1), b.image(1))
    assert (a.image(1) != c.image(1)).mean() > 0.5


def test_the_fake_takes_settings_from_its_uri() -> None:
    source = FakeSource.from_uri("fake:?width=640&height=480&rate_hz=50&target_px=64&frames=3")
    assert source.script == FakeScript(frames=3, width=640, height=480, rate_hz=50.0, target_px=64)
    assert next(iter(source)).image.shape == (480, 640, 3)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("frmes=3", "did you mean 'frames'?"),
        ("frames=0", "frames = 0 is out of range"),
        ("frames=many", "frames = 'many' has the wrong type"),
        ("target_px=200", "target_px = 200 is out of range"),
        ("fault=fire", "fault = 'fire' has the wrong type"),
    ],
)
def test_bad_fake_settings(settings: str, expected: str) -> None:
    with pytest.raises(SourceError) as caught:
        opened(f"fake:{settings}")
    assert expected in str(caught.value)
    assert f"fake:{settings}: " in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "error"),
    [("corrupt", "frame 4 cannot be decoded"), ("resize", "frame 4 is 160x240"), ("end", "")],
)
def test_the_fake_fails_on_cue(fault: str, error: str) -> None:
    seen = []

    def read() -> None:
        for frame in opened(f"fake:frames=9&fault={fault}&fault_frame=4"):
            seen.append(frame.index)

    if error:
        with pytest.raises(SourceError, match=error):
            read()
    else:
        read()
    assert seen == [0, 1, 2, 3]


def test_settings_of_the_fake_are_given_once() -> None:
    with pytest.raises(SourceError, match="seed is given twice; give it once"):
        opened("fake:seed=1&seed=2")
    assert opened("fake:live=false&frames=2").frame_count == 2


# In a loop and in real time


@pytest.mark.parametrize("kind", ["video", "folder", "fake"])
def test_a_loop_starts_again_without_a_seam(tmp_path: Path, kind: str) -> None:
    images = fake_images(5)
    uri = "fake:frames=5"
    if kind == "video":
        uri = str(video(tmp_path / "v.avi", images))
    elif kind == "folder":
        uri = str(pictures(tmp_path / "p", images))
    with opened(uri, loop=True) as source:
        assert (source.frame_count, source.frame_size, source.live) == (None, (320, 240), False)
        frames = list(itertools.islice(source, 17))
    assert [frame.index for frame in frames] == list(range(17))
    for frame in frames:
        assert np.abs(frame.image.astype(int) - images[frame.index % 5]).mean() < 4


def test_a_loop_is_as_fast_as_it_is_asked_for(tmp_path: Path) -> None:
    path = video(tmp_path / "v.avi", fake_images(5), rate_hz=1)
    start_s = time.monotonic()
    with opened(str(path), loop=True) as source:
        assert len(list(itertools.islice(source, 20))) == 20
    assert time.monotonic() - start_s < 10  # at its own rate: 20 s


def test_real_time_is_no_faster_than_the_rate(tmp_path: Path) -> None:
    path = video(tmp_path / "v.avi", fake_images(12), rate_hz=1000)
    with opened(str(path), realtime=True, rate_hz=20) as source:
        assert (source.live, source.frame_rate_hz) == (True, 20)
        start_s = time.monotonic()
        frames = list(source)
    # The first one came with the opening; the last is due 11 periods later, and the end needs no more.
    assert time.monotonic() - start_s > 0.4
    assert frames[-1].index == 11
    assert all(frame.t_unix is not None for frame in frames)
    assert source.dropped["overrun"] == 12 - len(frames)


def test_real_time_at_the_files_own_rate(tmp_path: Path) -> None:
    path = video(tmp_path / "v.avi", fake_images(10), rate_hz=25)
    with opened(str(path), realtime=True) as source:
        assert source.frame_rate_hz == pytest.approx(25)
        start_s = time.monotonic()
        assert [frame.index for frame in source][-1] == 9
    assert time.monotonic() - start_s > 0.25


def test_in_real_time_a_slow_reader_misses_frames_and_none_is_old(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "p", fake_images(5))
    with opened(str(folder), realtime=True, loop=True, rate_hz=100) as source:
        indexes, ages_s = [], []
        for frame in itertools.islice(source, 6):
            ages_s.append((time.monotonic_ns() - frame.t_monotonic_ns) / 1e9)
            indexes.append(frame.index)
            time.sleep(0.1)
        given, dropped = len(indexes), source.dropped["overrun"]
    assert indexes[-1] > 20
    assert dropped >= indexes[-1] + 1 - given
    assert sorted(ages_s)[len(ages_s) // 2] < 0.1


def test_a_folder_in_real_time_needs_a_rate(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "p", fake_images(2))
    with pytest.raises(SourceError, match=r"p: has no rate of its own; set source.rate_hz"):
        opened(str(folder), realtime=True)


def test_what_is_wrong_with_a_recording_stays_an_error_in_real_time(tmp_path: Path) -> None:
    images = [*fake_images(6), np.zeros((20, 30, 3), np.uint8)]
    folder = pictures(tmp_path / "p", images)
    (folder / "4.png").write_bytes(b"no picture at all")
    with (
        opened(str(folder), realtime=True, rate_hz=100) as source,
        pytest.raises(SourceError, match=r"4\.png"),
    ):
        list(source)
    with pytest.raises(SourceError, match="no such file or folder"):
        opened(str(tmp_path / "none.mp4"), realtime=True)


def test_stop_ends_recordings() -> None:
    with opened("fake:", loop=True) as source:
        for frame in source:
            if frame.index == 3:
                source.stop()
    assert frame.index == 3
