from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from calibration.pictures import Picture, find_pictures
from edge_runtime.errors import ConfigError, SourceError
from edge_runtime.types import Box, Frame
from export.pairs import dataset
from export.pairs.augment import augment, grey, light_table
from export.pairs.clips import Clip, read_clips
from export.pairs.dataset import Pair, PairCrops, PairSettings
from export.pairs.frames import ReducedFrame, read_frame, without_corrupt
from export.pairs.geometry import Turn, cut
from export.pairs.obstacles import distract, occlude
from export.pairs.regions import context_centre, structured_region
from export.pairs.sheet import TARGET, contact_sheet

FRAME_PX = 240, 320
GROUND = 40
PLAIN: dict[str, Any] = {"crop_px": 96, "augment": False}


def blob(centre: tuple[float, float], sigma_px: float, frame_px: tuple[int, int] = FRAME_PX) -> Frame:
    """A bright spot on a dark ground."""
    rows, columns = np.mgrid[: frame_px[0], : frame_px[1]]
    spot = np.exp(-((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2) / (2 * sigma_px**2))
    return np.repeat(np.rint(GROUND + 200 * spot).astype(np.uint8)[..., None], 3, 2)


def blob_clip(folder: Path, name: str = "blob", frames: int = 6, suffix: str = ".png") -> Clip:
    """A spot that wanders and grows; its box reaches 2 deviations either way."""
    rng = np.random.default_rng(len(name))
    folder.mkdir(exist_ok=True)
    paths, boxes = [], []
    for number in range(frames):
        sigma = 6 * 1.1**number
        row, column = rng.uniform(60, 180), rng.uniform(60, 260)
        paths.append(folder / f"{name}{number}{suffix}")
        cv2.imwrite(str(paths[-1]), blob((row, column), sigma))
        boxes.append(Box.from_centre(row, column, 4 * sigma, 4 * sigma))
    return Clip(name, tuple(paths), np.array(boxes))


def centroid(crop: Tensor | Frame) -> NDArray[np.float64]:
    """(row, column) of the spot from the crop's centre, px."""
    image = np.asarray(crop, np.float64)
    light = image.mean(0) if len(image) == 3 else image.mean(-1)
    light = np.maximum(light - GROUND - 8, 0)
    places = np.indices(light.shape) - (len(light) - 1) / 2
    return np.asarray((places * light).sum((1, 2)) / light.sum())


def ramp() -> Frame:
    """A photo whose green and red tell the place: green = row / 2, red = 0.35 column."""
    rows, columns = np.mgrid[:500, :700]
    values = np.stack([np.zeros_like(rows), rows * 0.5, columns * 0.35], -1)
    return np.asarray(values.round(), np.uint8)


def place_in_ramp(crop: Tensor, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """The photo's (row, column) that a crop shows at a place from its centre, from a plane fitted around."""
    image = crop.numpy().astype(np.float64)
    places = np.indices(image.shape[1:]) - (image.shape[1] - 1) / 2 - at[:, None, None]
    near = (abs(places) <= 6).all(0)
    design = np.column_stack([places[:, near].T, np.ones(near.sum())])
    green, red = (np.linalg.lstsq(design, image[channel][near], rcond=None)[0][2] for channel in (1, 0))
    return np.array([green / 0.5, red / 0.35])


def photo(name: str, image: Frame | None) -> Picture:
    return Picture(name, lambda: image)


def noise(seed: int, px: int = 200) -> Frame:
    return np.random.default_rng(seed).integers(0, 255, (px, px, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_video_pairs_tell_the_displacement(tmp_path: Path, suffix: str) -> None:
    clip = blob_clip(tmp_path, suffix=suffix)
    settings = PairSettings(**PLAIN, scale_jitter=0.3, padding_range=(3.0, 5.0), max_shift=0.8)
    shifts, targets = [], []
    for pair in PairCrops([clip], [], settings, 40, 0):
        np.testing.assert_allclose(centroid(pair.template), 0, atol=0.3)
        np.testing.assert_allclose(centroid(pair.search), pair.shift_px, atol=0.3)
        shifts.append(pair.shift_px.numpy())
        targets.append(float(pair.target_px[0]))
        assert pair.target_px[0] == pair.target_px[1]
    assert 3 < np.abs(shifts).mean() < 12
    assert 96 / 5 <= min(targets) < 22
    assert 28 < max(targets) <= 96 / 3
    assert np.abs(shifts).max() <= 0.8 * 96 / 3


def test_the_target_has_its_size_in_template(tmp_path: Path) -> None:
    clip = blob_clip(tmp_path)
    pairs = PairCrops([clip], [], PairSettings(**PLAIN, padding_range=(4.0, 4.0)), 5, 0)
    for pair in pairs:
        light = np.maximum(pair.template[0].numpy().astype(float) - GROUND, 0)
        sigma = np.sqrt(light.sum() / light.max() / (2 * np.pi))  # of a Gaussian
        assert 4 * sigma == pytest.approx(float(pair.target_px[0]), rel=0.05)
        assert float(pair.target_px[0]) == pytest.approx(24)


def test_photo_pairs_tell_the_displacement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "augment", lambda crop, rng, light: crop)  # flips and turns stay
    monkeypatch.setattr(dataset, "LIGHT_SHARE", 0.0)
    monkeypatch.setattr(dataset, "GREY_SHARE", 0.0)
    settings = PairSettings(crop_px=96, scale_jitter=0.2, max_shift=0.6)
    pairs = PairCrops([], [photo("ramp", ramp())], settings, 40, 1)
    flips = set()
    for pair in pairs:
        target = place_in_ramp(pair.template, np.zeros(2))
        # How many of the photo's pixels a pixel of the crop is.
        px = np.linalg.norm(place_in_ramp(pair.template, np.array([0.0, 9.0])) - target) / 9
        found = place_in_ramp(pair.search, pair.shift_px.numpy().astype(np.float64))
        assert np.linalg.norm(found - target) < 0.3 * px + 0.1  # 8 bits tell a place to about 0.1
        right = place_in_ramp(pair.template, np.array([0.0, 9.0]))[1] - target[1]
        flips.add(bool(right > 0))
    assert flips == {True, False}


@pytest.mark.parametrize("side_px", [60.0, 96.0, 150.3, 260.0])
@pytest.mark.parametrize("turn", [None, Turn(12, 1.2), Turn(-30, 0.8)])
def test_cut_puts_the_target_where_it_is_wanted(side_px: float, turn: Turn | None) -> None:
    centre = 100.3, 180.6
    frame = ReducedFrame(blob(centre, 9), 1)
    crop = cut(frame, centre, side_px, 97, shift_px=(8.25, -12.5), turn=turn)
    assert crop.shape == (97, 97, 3)
    np.testing.assert_allclose(centroid(crop), (8.25, -12.5), atol=0.1)
    # Nothing but ground and spot: turning brought no corners in.
    assert crop.min() >= GROUND - 1


def test_turning_turns_and_stretching_stretches() -> None:
    frame = ReducedFrame(blob((120, 160), 8), 1)
    wide = cut(frame, (120, 160), 96, 96, turn=Turn(0, 2.0)).astype(float)[..., 0] - GROUND
    places = np.indices(wide.shape) - 47.5
    down, across = np.sqrt((places**2 * wide).sum((1, 2)) / wide.sum())
    assert across / down == pytest.approx(2.0, rel=0.05)
    beside = ReducedFrame(blob((120, 190), 8), 1)
    found = centroid(cut(beside, (120, 160), 96, 96, turn=Turn(30)))
    assert np.hypot(*found) == pytest.approx(30, abs=0.2)
    assert abs(np.degrees(np.arctan2(*found))) == pytest.approx(30, abs=0.5)


@pytest.mark.parametrize("side_px", [96, 192, 384, 800])
def test_reduced_decoding_keeps_the_place(tmp_path: Path, side_px: int) -> None:
    centre = 201.3, 377.8
    path = tmp_path / "spot.JPEG"
    cv2.imwrite(str(path), blob(centre, 40, (403, 601)), [cv2.IMWRITE_JPEG_QUALITY, 98])
    frame = read_frame(path, side_px, 96)
    assert frame is not None
    assert frame.reduction == side_px // 96
    np.testing.assert_allclose(centroid(cut(frame, centre, 384, 96)), 0, atol=0.1)


def test_png_files_are_not_reduced(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "spot.png"), blob((120, 160), 8))
    frame = read_frame(tmp_path / "spot.png", 800, 96)
    assert frame is not None
    assert (frame.reduction, frame.image.shape) == (1, (*FRAME_PX, 3))


def test_shifts_are_near_and_far(tmp_path: Path) -> None:
    pairs = PairCrops([blob_clip(tmp_path)], [], PairSettings(**PLAIN, padding_range=(4.0, 4.0)), 200, 0)
    shifts = np.abs(np.array([pair.shift_px.numpy() for pair in pairs])) / 24  # in target sides
    assert shifts.max() <= 0.6
    assert 0.15 < (shifts > 0.3).mean() < 0.4  # of half of them one in two, of the others one in twenty
    assert (shifts < 0.15).mean() > 0.3


def test_gaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = blob_clip(tmp_path, frames=12)
    clip = Clip("blob", clip.frames, np.where(np.arange(12)[:, None] == 5, np.nan, clip.boxes))
    opened: list[int] = []

    def note(path: Path, side_px: float, crop_px: int) -> ReducedFrame | None:
        opened.append(clip.frames.index(path))
        return read_frame(path, side_px, crop_px)

    monkeypatch.setattr(dataset, "read_frame", note)
    assert len(list(PairCrops([clip], [], PairSettings(**PLAIN, max_gap_frames=2), 100, 0))) == 100
    frames = np.array(opened).reshape(-1, 2)
    gaps = np.abs(np.diff(frames))
    assert set(gaps.ravel()) == {1, 2}
    assert set(frames.ravel()) == set(range(12)) - {5}


def equal(a: Pair, b: Pair) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_items_hang_on_seed_and_index_only(tmp_path: Path) -> None:
    clips = [blob_clip(tmp_path, "a"), blob_clip(tmp_path, "bb")]
    pictures = [photo(str(n), noise(n)) for n in range(3)]
    settings = PairSettings(crop_px=64, negatives=2, hard=0.5)

    def made(seed: int = 3) -> PairCrops:
        return PairCrops(clips, pictures, settings, 12, seed)

    forwards = [made()[i] for i in range(12)]
    again = made()
    assert all(equal(again[i], forwards[i]) for i in reversed(range(12)))
    assert not equal(made(4)[0], forwards[0])
    assert len({pair.search.numpy().tobytes() for pair in forwards}) == 12
    batches = list(DataLoader(made(), 4, num_workers=2))
    assert all(isinstance(batch, Pair) for batch in batches)
    assert batches[0].negatives.shape == (4, 2, 3, 64, 64)
    assert batches[0].template.dtype == torch.uint8
    assert batches[0].shift_px.dtype == batches[0].target_px.dtype == torch.float32
    for i, pair in enumerate(forwards):
        assert equal(Pair(*(field[i % 4] for field in batches[i // 4])), pair)


def test_no_negatives_is_an_empty_tensor(tmp_path: Path) -> None:
    pair = PairCrops([blob_clip(tmp_path)], [], PairSettings(crop_px=64), 1, 0)[0]
    assert pair.negatives.shape == (0, 3, 64, 64)
    assert pair.template.shape == pair.search.shape == (3, 64, 64)
    assert pair.shift_px.shape == pair.target_px.shape == (2,)


def test_indices_beyond_the_length(tmp_path: Path) -> None:
    pairs = PairCrops([blob_clip(tmp_path)], [], PairSettings(**PLAIN), 3, 0)
    assert len(pairs) == len(list(pairs)) == 3
    for index in (-1, 3):
        with pytest.raises(IndexError):
            pairs[index]


def test_photo_share(tmp_path: Path) -> None:
    blue = np.zeros((200, 200, 3), np.uint8)
    blue[..., 0] = 255
    clips, pictures = [blob_clip(tmp_path)], [photo("blue", blue)]
    for share in (0.0, 0.25, 1.0):
        pairs = PairCrops(clips, pictures, PairSettings(**PLAIN, photo_share=share), 200, 0)
        photos = np.mean([bool((pair.template[2] == 255).all()) for pair in pairs])
        assert photos == pytest.approx(share, abs=0.07)


def test_negatives_show_no_target_in_their_middle(tmp_path: Path) -> None:
    clips = [blob_clip(tmp_path, "a"), blob_clip(tmp_path, "bb")]
    pairs = PairCrops(clips, [], PairSettings(**PLAIN, negatives=3, padding_range=(4.0, 4.0)), 30, 0)
    for pair in pairs:
        for negative in pair.negatives:
            # The target-size middle, 24 px; the spot has 4 % of its light left just beside its box.
            assert negative[0, 36:60, 36:60].max() < GROUND + 40
            assert negative.min() >= GROUND - 1
        assert pair.search.max() > 230


def test_negatives_come_from_another_picture_where_there_is_no_room() -> None:
    red, blue = np.zeros((100, 100, 3), np.uint8), np.zeros((100, 100, 3), np.uint8)
    red[..., 2], blue[..., 0] = 200, 200
    assert context_centre((100, 100), Box(10, 10, 80, 80), 300, np.random.default_rng(0)) is None
    whole = Clip("whole", (Path("red.png"),) * 2, np.array([[10.0, 10, 80, 80]] * 2))
    pictures = [photo("blue", blue)]
    pairs = PairCrops([whole], pictures, PairSettings(**PLAIN, negatives=2, photo_share=0.0), 5, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "read_frame", lambda *args: ReducedFrame(red, 1))
        for pair in pairs:
            assert (pair.template[0] == 200).all()
            assert (pair.negatives[:, 2] == 200).all()
            assert (pair.negatives[:, 0] == 0).all()


def test_context_shows_as_little_of_the_target_as_there_is_room_for() -> None:
    rng, box = np.random.default_rng(0), Box(20, 90, 40, 40)
    for _ in range(50):
        centre = context_centre((240, 640), box, 160, rng)
        assert centre is not None
        assert 0 <= centre[0] < 240
        assert np.abs(np.subtract(centre, box.centre)).max() >= 100  # all of it is outside, here


def test_regions_have_structure() -> None:
    image = np.full((240, 320, 3), 180, np.uint8)
    image[140:220, 40:120] = noise(0, 80)
    rng = np.random.default_rng(0)
    boxes = [structured_region(image, rng) for _ in range(60)]
    textured = [box.x < 120 and box.x + box.w > 40 and box.y < 220 and box.y + box.h > 140 for box in boxes]
    assert np.mean(textured) > 0.8  # a random one in three
    for box in boxes:
        assert box.x >= 0
        assert box.x + box.w <= 320
        assert box.y + box.h <= 240
        assert 0.1 <= np.sqrt(box.w * box.h / (240 * 320)) <= 0.35


@pytest.mark.parametrize("px", [1, 5, 30])
def test_tiny_photos_do(px: int) -> None:
    pair = PairCrops([], [photo("tiny", noise(0, px))], PairSettings(), 1, 0)[0]
    assert pair.search.shape == (3, 192, 192)


def target_mask(target: tuple[float, ...], px: int) -> NDArray[np.bool_]:
    distance = np.abs(np.indices((px, px)) - np.array(target[:2])[:, None, None])
    return np.asarray((distance <= np.array(target[2:])[:, None, None] / 2).all(0))


@pytest.mark.parametrize("seed", range(20))
def test_obstacles(seed: int) -> None:
    crop, thing = np.full((96, 96, 3), 50, np.uint8), np.full((30, 30, 3), 220, np.uint8)
    target = 50.0, 40.0, 20.0, 30.0
    inside = target_mask(target, 96)
    covered = occlude(crop, thing, target, np.random.default_rng(seed))[..., 0] > 60
    assert 0.02 < covered[inside].mean() < 0.75
    beside = distract(crop, thing, target, np.random.default_rng(seed))[..., 0] > 60
    assert beside.any()
    assert not beside[inside].any()
    assert (crop == 50).all()  # neither writes into what it was given


def test_harder_pairs_keep_the_truth(tmp_path: Path) -> None:
    clips = [blob_clip(tmp_path)]
    pictures = [photo("noise", noise(0))]
    easy, hard = (
        PairCrops(clips, pictures, PairSettings(**PLAIN, hard=share, photo_share=0.0), 60, 0)
        for share in (0.0, 1.0)
    )
    assert not any(equal(a, b) for a, b in zip(easy, hard, strict=True))
    clean = 0
    for pair in hard:
        np.testing.assert_allclose(centroid(pair.template), 0, atol=0.3)
        clean += bool(np.abs(centroid(pair.search) - pair.shift_px.numpy()).max() < 0.3)
    assert 8 < clean < 35  # a third: those that only have a larger gap


def test_augmentation_changes_both_crops_on_their_own() -> None:
    pictures = [photo("a", cv2.GaussianBlur(noise(0), (0, 0), 4).astype(np.uint8))]
    pairs = PairCrops([], pictures, PairSettings(crop_px=64, max_shift=0, scale_jitter=0), 60, 0)
    same = grey_pairs = 0
    for pair in pairs:
        same += torch.equal(pair.template, pair.search)
        a, b = ((crop == crop[:1]).all() for crop in (pair.template, pair.search))
        grey_pairs += bool(a) and bool(b)
    assert same < 20
    assert 1 <= grey_pairs <= 15


def test_light_changes_the_pair_together_more_than_its_crops_apart() -> None:
    """The same region twice: means differ from pair to pair, and within one by what `light` allows."""
    pictures = [photo("a", np.full((120, 160, 3), 120, np.uint8))]

    def means(light: float) -> NDArray[np.float64]:
        settings = PairSettings(crop_px=32, max_shift=0, scale_jitter=0, light=light)
        pairs = PairCrops([], pictures, settings, 200, 0)
        return np.array([(p.template.double().mean(), p.search.double().mean()) for p in pairs])

    still, mild, strong = (means(light) for light in (0.0, 0.3, 1.0))
    assert np.abs(np.diff(still)).max() < 4  # noise and compression only
    assert still.mean(1).std() > 15
    assert 2 < np.diff(mild).std() < 0.6 * np.diff(strong).std()


def test_augmented_crops() -> None:
    crop = cv2.GaussianBlur(noise(0, 64), (0, 0), 3).astype(np.uint8)
    changed = [augment(crop, np.random.default_rng(seed), 1.0) for seed in range(200)]
    assert all(c.shape == crop.shape and c.dtype == np.uint8 for c in changed)
    untouched = np.mean([np.array_equal(c, crop) for c in changed])
    assert 0.15 < untouched < 0.5
    assert np.std([c.mean() for c in changed]) > 10
    assert (grey(crop) == grey(crop)[..., :1]).all()
    for seed in range(20):
        table = light_table(np.random.default_rng(seed), 1.0).astype(int)
        assert table.shape == (1, 256, 3)
        assert (np.diff(table, axis=1) >= 0).all()


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_corrupt_pictures_are_found_and_left_out(tmp_path: Path) -> None:
    clip, twin = (blob_clip(tmp_path, "clip", suffix=".jpg") for _ in range(2))
    lost = blob_clip(tmp_path, "lost", frames=2)
    damage(clip.frames[1])  # `cv2.imread` would fill in what is missing
    clip.frames[4].write_bytes(b"")
    lost.frames[0].unlink()
    folder = tmp_path / "photos" / "inner"
    folder.mkdir(parents=True)
    for name in ("good.png", "bad.png"):
        cv2.imwrite(str(folder / name), noise(0))
    damage(folder / "bad.png")
    sound = without_corrupt([clip, twin, lost], find_pictures(tmp_path / "photos"), progress=False)
    assert [c.name for c in sound.clips] == ["clip", "clip"]
    for kept in sound.clips:
        np.testing.assert_array_equal(kept.present, [0, 2, 3, 5])
        assert kept.frames == clip.frames
    assert [p.name for p in sound.pictures] == ["inner/good.png"]
    assert sound.corrupt == [str(p) for p in (clip.frames[1], clip.frames[4], lost.frames[0])] + [
        "inner/bad.png"
    ]
    assert len(list(PairCrops(sound.clips, sound.pictures, PairSettings(**PLAIN), 20, 0))) == 20


def test_corrupt_pictures_are_replaced_and_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = blob_clip(tmp_path, suffix=".jpg")
    damage(clip.frames[1])
    pictures = [photo("good", noise(0)), photo("bad", None)]
    with caplog.at_level(logging.WARNING):
        pairs = list(PairCrops([clip], pictures, PairSettings(**PLAIN), 60, 0))
    assert len(pairs) == 60
    assert sorted(record.getMessage() for record in caplog.records) == [
        f"{clip.frames[1]}: cannot be decoded; another one is taken",
        "bad: cannot be decoded; another one is taken",
    ]


def test_nothing_but_corrupt_pictures() -> None:
    pairs = PairCrops([], [photo("bad", None)], PairSettings(), 1, 0)
    with pytest.raises(SourceError, match="bad: 20 pictures in a row cannot be decoded"):
        pairs[0]


def test_an_empty_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to make pairs of; give videos, photos or both"):
        PairCrops([], [], PairSettings(), 1, 0)
    absent = Clip("absent", (tmp_path / "0.jpg",), np.full((1, 4), np.nan))
    with pytest.raises(ConfigError, match="absent: no frame shows the target"):
        PairCrops([absent], [], PairSettings(), 1, 0)
    clips = [blob_clip(tmp_path, name) for name in ("ball1", "ball2")]
    with pytest.raises(ConfigError, match="another video or photo; give two or more"):
        PairCrops(clips, [], PairSettings(negatives=1), 1, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("crop_px", 8),
        ("padding_range", (5.0, 4.0)),
        ("max_gap_frames", 0),
        ("max_shift", 2.0),
        ("scale_jitter", -0.1),
        ("photo_share", 1.5),
        ("negatives", -1),
        ("hard", 2.0),
    ],
)
def test_settings_out_of_range(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^pairs\.{name}: .* is out of range$"):
        PairSettings(**{name: value})


def test_contact_sheet(tmp_path: Path) -> None:
    pairs = list(PairCrops([blob_clip(tmp_path)], [], PairSettings(**PLAIN), 5, 0))
    sheet = contact_sheet(pairs, pairs_a_row=3)
    assert sheet.shape == (2 * 100, 3 * (2 * 96 + 4), 3)
    # The drawn box is centred on the spot, in search too.
    for number, origin in ((0, 0), (1, 0), (0, 96), (1, 96)):
        tile = sheet[2:98, number * 196 + 2 + origin :][:, :96].astype(int)
        drawn = np.argwhere(np.abs(tile - np.array(TARGET)).sum(-1) < 60)
        middle = (drawn.min(0) + drawn.max(0)) / 2 - 47.5
        expected = pairs[number].shift_px.numpy() if origin else np.zeros(2)
        np.testing.assert_allclose(middle, expected, atol=0.8)
    with pytest.raises(ValueError, match="no pairs"):
        contact_sheet([])


def test_real_targets_are_where_the_pairs_say(shared_data: Path) -> None:
    """Neighbouring frames hardly differ, so that plain correlation finds the target again."""
    clips = read_clips(shared_data / "videos")
    settings = PairSettings(augment=False, max_gap_frames=1, scale_jitter=0.0, padding_range=(4.0, 4.0))
    errors = []
    for pair in PairCrops(clips, [], settings, 60, 0):
        template, search = (crop.numpy().mean(0).astype(np.float32) for crop in (pair.template, pair.search))
        h, w = (int(v) // 2 for v in pair.target_px)
        target = template[96 - h : 96 + h, 96 - w : 96 + w]
        response = cv2.matchTemplate(search, target, cv2.TM_CCOEFF_NORMED)
        _, _, _, (column, row) = cv2.minMaxLoc(response)
        errors.append(np.hypot(row - (96 - h) - pair.shift_px[0], column - (96 - w) - pair.shift_px[1]))
    assert np.median(errors) < 4  # of 48 px a side; the boxes themselves are a pixel or two off
    assert np.mean(np.array(errors) < 12) > 0.8


def test_every_item_of_real_data_can_be_made(shared_data: Path) -> None:
    clips, pictures = read_clips(shared_data / "videos"), find_pictures(shared_data / "photos" / "bsds500")
    settings = PairSettings(crop_px=96, negatives=1, hard=0.5)
    pairs = PairCrops(clips, pictures, settings, 100, 0)
    contrast = [float(pair.template.float().std()) for pair in pairs]
    assert np.mean(np.array(contrast) > 10) > 0.9  # neither black nor flat
