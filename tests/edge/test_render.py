from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime import render
from edge_runtime.errors import StorageError
from edge_runtime.render import COLOURS, TRUTH_COLOUR, ContactSheet, VideoRenderer, View, draw, grid, tile
from edge_runtime.types import Box, Frame, TrackResult, TrackState
from tests.edge.helpers import decoded
from tests.edge.test_publish import largest_file


def grey(index: int = 0) -> Frame:
    return np.full((180, 240, 3), 60 + index % 100, np.uint8)


def view(index: int = 0, state: TrackState = TrackState.TRACKING, box: Box | None = None) -> View:
    result = TrackResult(box or Box(60, 50, 80, 70), 0.876, 9.0, state, 5.0)
    return View(grey(index), index, (result,), None, 123.4)


def share(image: Frame, colour: tuple[int, int, int]) -> float:
    return float((np.abs(image.astype(int) - colour).max(-1) < 12).mean())


@pytest.mark.parametrize("state", [state for state in TrackState if state is not TrackState.SEARCHING])
def test_the_box_has_the_colour_of_its_state_and_is_dashed_when_unsure(state: TrackState) -> None:
    image = draw(view(state=state))
    edge = image[50, 60:140]
    coloured = share(edge[None], COLOURS[state])
    if state in (TrackState.TRACKING, TrackState.REACQUIRED):
        assert coloured > 0.95
    else:
        assert 0.3 < coloured < 0.8
    np.testing.assert_array_equal(image[60:110, 70:130], grey()[60:110, 70:130])


def test_drawing_leaves_the_frame_alone_and_shows_the_truth() -> None:
    shown = View(grey(), 0, (), Box(10, 20, 30, 40), None)
    image = draw(shown)
    assert share(image[20, 12:38][None], TRUTH_COLOUR) > 0.9
    np.testing.assert_array_equal(shown.image, grey())


@pytest.mark.parametrize("box", [Box(-500, -500, 2000, 2000), Box(1e12, 5, 1e15, 3), Box(math.nan, 1, 2, 3)])
def test_boxes_beyond_the_frame_do_no_harm(box: Box) -> None:
    for state in (TrackState.TRACKING, TrackState.LOST):
        assert draw(view(state=state, box=box)).shape == (180, 240, 3)


def test_captions() -> None:
    assert view(7).caption() == "7  tracking  0.88  123 fps"
    assert View(grey(), 3, (), None, None).caption() == "3  searching"


def test_the_video_has_every_frame_and_appears_only_when_saved(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.mp4"
    renderer = VideoRenderer(path, (240, 180), 20.0)
    for index in range(10):
        renderer.add(view(index))
    assert not path.exists()
    renderer.save()
    assert [p.name for p in path.parent.iterdir()] == ["out.mp4"]
    frames = decoded(path)
    assert len(frames) == 10
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == pytest.approx(20)
    assert frames[5].shape == (180, 240, 3)
    # Compression blurs colours; the box's edge is still far from the grey around it.
    edge = frames[5][50, 70:130].astype(int).mean(0)
    assert np.abs(edge - COLOURS[TrackState.TRACKING]).max() < 60
    assert np.abs(frames[5][90, 90].astype(int) - 65).max() < 12


def test_a_discarded_video_leaves_nothing_and_the_old_one_in_place(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    renderer = VideoRenderer(path, (240, 180), None)
    renderer.add(view())
    renderer.discard()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


def test_a_video_on_a_full_disk(tmp_path: Path) -> None:
    renderer = VideoRenderer(tmp_path / "out.mp4", (240, 180), 20.0)
    noise = np.random.default_rng(0)
    with largest_file(20_000):
        for index in range(20):
            image = noise.integers(0, 255, (180, 240, 3), np.uint8)
            renderer.add(View(image, index, (), None, None))
        with pytest.raises(StorageError, match=r"out.mp4: cannot be written \(\d+ of 20 frames fitted\)"):
            renderer.save()
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_cannot_be_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        (tmp_path / "file").touch()
        VideoRenderer(tmp_path / "file" / "out.mp4", (240, 180), None)

    # An unknown codec, which OpenCV answers like any other failure: the writer does not open.
    monkeypatch.setattr(render, "CODEC", "????")
    with pytest.raises(StorageError, match="OpenCV cannot write this video"):
        VideoRenderer(tmp_path / "out.mp4", (240, 180), None)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("count", [1, 5, 12, 13, 24, 25, 26, 100, 301])
def test_the_contact_sheet_shows_evenly_spaced_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(render, "tile", lambda shown: np.full((2, 2, 3), shown.index // 2, np.uint8))
    monkeypatch.setattr(
        render, "grid", lambda tiles: chosen.extend(2 * int(t[0, 0, 0]) for t in tiles) or tiles[0]
    )
    sheet = ContactSheet(tmp_path / "s.png", 12)
    for index in range(count):
        sheet.add(view(2 * index) if count < 128 else view(index))
    sheet.save()
    scale = 2 if count < 128 else 1
    assert len(chosen) == min(count, 12)
    assert chosen[0] == 0
    gaps = np.diff(chosen) / scale
    if count > 1:
        assert chosen[-1] >= scale * (count - 1) * 0.9
        assert gaps.min() >= 0.4 * gaps.max()


def test_a_sheet_is_a_grid_of_captioned_thumbnails(tmp_path: Path) -> None:
    sheet = ContactSheet(tmp_path / "s.png", 5)
    sheet.add(View(grey(), 0, (), None, None))
    for index in range(1, 6):
        sheet.add(view(index))
    sheet.save()
    image = cv2.imread(str(tmp_path / "s.png"))
    height = 320 * 180 // 240 + render.CAPTION_PX
    assert image.shape == (2 * height, 3 * 320, 3)
    np.testing.assert_array_equal(image[:height, :320], tile(view(1)))
    np.testing.assert_array_equal(image[height:, 320:640], tile(view(5)))
    assert (image[height:, 640:] == 32).all()


def test_a_sheet_without_a_tracked_frame_is_not_made(tmp_path: Path) -> None:
    sheet = ContactSheet(tmp_path / "s.png")
    sheet.add(View(grey(), 0, (), None, None))
    sheet.save()
    assert list(tmp_path.iterdir()) == []


def test_one_tile_is_a_grid() -> None:
    np.testing.assert_array_equal(grid([tile(view())]), tile(view()))
