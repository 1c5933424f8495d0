"""One contract over every frame source, then what is particular to each."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import SourceError
from edge_runtime.sources import FakeSource, FolderSource, FrameSource, VideoSource, open_source
from edge_runtime.sources.fake import FakeScript
from edge_runtime.sources.folder import natural_key
from tests.edge.helpers import fake_images, pictures, video

FRAMES = 12
Opener = Callable[[Path], str]

BACKENDS: dict[str, Opener] = {
    "folder": lambda folder: str(pictures(folder / "pictures", fake_images(FRAMES))),
    "video": lambda folder: str(video(folder / "clip.avi", fake_images(FRAMES))),
    "fake": lambda folder: f"fake:frames={FRAMES}",
}


@pytest.fixture(params=BACKENDS)
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return BACKENDS[request.param](tmp_path)


def test_contract_frames_are_numbered_bgr_uint8_of_the_announced_size(uri: str) -> None:
    with open_source(uri) as source:
        frames = list(source)
    assert source.uri == uri
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert source.frame_count == FRAMES
    assert source.frame_size == (320, 240)
    for frame, expected in zip(frames, fake_images(FRAMES), strict=True):
        assert frame.image.dtype == np.uint8
        assert frame.image.shape == (240, 320, 3)
        # JPEG changes values a little; swapped channels or frames would differ by tens.
        assert np.abs(frame.image.astype(int) - expected).mean() < 4


def test_contract_frames_stay_valid_after_the_next_one(uri: str) -> None:
    with open_source(uri) as source:
        iterator = iter(source)
        first = next(iterator).image
        before = first.copy()
        list(iterator)
    np.testing.assert_array_equal(first, before)


def test_contract_capture_times_rise_and_only_live_sources_know_the_wall_clock(uri: str) -> None:
    started_ns, started_s = time.monotonic_ns(), time.time()
    with open_source(uri) as source:
        frames = list(source)
    times_ns = [frame.t_monotonic_ns for frame in frames]
    assert started_ns <= times_ns[0]
    assert times_ns == sorted(times_ns)
    if uri.startswith("fake:"):
        assert all(frame.t_unix is not None and frame.t_unix >= started_s - 1 for frame in frames)
    else:
        assert {frame.t_unix for frame in frames} == {None}


def test_contract_closing_twice_is_harmless(uri: str) -> None:
    source: FrameSource = open_source(uri)
    source.close()
    source.close()


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
        open_source(str(tmp_path))
    broken = pictures(tmp_path / "broken", fake_images(3))
    (broken / "2.png").write_bytes(b"no picture at all")
    with open_source(str(broken)) as source:
        iterator = iter(source)
        assert next(iterator).index == 0
        with pytest.raises(SourceError, match=r"broken/2.png: cannot be decoded as a picture"):
            next(iterator)
    (broken / "1.png").write_bytes(b"")
    with pytest.raises(SourceError, match=r"1.png: cannot be decoded"):
        open_source(str(broken))


def test_a_size_that_changes_is_an_error_naming_the_frame(tmp_path: Path) -> None:
    images = [np.zeros((20, 30, 3), np.uint8)] * 2 + [np.zeros((20, 40, 3), np.uint8)]
    source = open_source(str(pictures(tmp_path / "p", images)))
    with pytest.raises(SourceError, match="frame 2 is 40x20, the first was 30x20"):
        list(source)


# Videos


@pytest.mark.parametrize("content", [b"", b"not a video\n" * 100])
def test_files_that_are_no_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"a.mp4: cannot be decoded as a video"):
        open_source(str(path))


def test_a_cut_off_video_is_an_error_after_its_good_frames(tmp_path: Path) -> None:
    whole = video(tmp_path / "whole.avi", fake_images(40)).read_bytes()
    path = tmp_path / "half.avi"
    path.write_bytes(whole[: len(whole) // 2])
    good = 0
    with (
        pytest.raises(SourceError, match=r"half.avi: frame \d+ of 40 cannot be decoded"),
        open_source(str(path)) as source,
    ):
        for _ in source:
            good += 1
    assert 10 < good < 30


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        open_source(str(tmp_path / "none.mp4"))
    with pytest.raises(SourceError, match="no source is given"):
        open_source("")


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
        open_source(f"fake:{settings}")
    assert expected in str(caught.value)
    assert f"fake:{settings}: " in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "error"),
    [("corrupt", "frame 4 cannot be decoded"), ("resize", "frame 4 is 160x240"), ("end", "")],
)
def test_the_fake_fails_on_cue(fault: str, error: str) -> None:
    seen = []

    def read() -> None:
        for frame in open_source(f"fake:frames=9&fault={fault}&fault_frame=4"):
            seen.append(frame.index)

    if error:
        with pytest.raises(SourceError, match=error):
            read()
    else:
        read()
    assert seen == [0, 1, 2, 3]
