from __future__ import annotations

import dataclasses
import math
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.errors import ConfigError
from edge_runtime.preview.pictures import Offer, Rendition, annotated, asked_rendition, encoded_part, scaled
from edge_runtime.preview.settings import PreviewConfig
from edge_runtime.preview.stream import BOUNDARY, PartReader
from edge_runtime.render import COLOURS
from edge_runtime.sources import FakeSource
from edge_runtime.types import TrackState
from tests.preview.helpers import record_of

CONFIG = PreviewConfig()
TRACKING = TrackState.TRACKING
SOURCE = FakeSource()


def shown(rendition: Rendition, state: TrackState = TrackState.TRACKING) -> tuple[Any, dict[str, Any]]:
    offer = Offer(SOURCE.image(7), [record_of(SOURCE, 7, state)], 31.26)
    (part,) = PartReader().feed(BOUNDARY + encoded_part(offer, rendition))
    return cv2.imdecode(np.frombuffer(part.body, np.uint8), cv2.IMREAD_COLOR), part.record


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, Rendition(640, 75, 15.0)),
        ({"width": 200, "overlay": True}, Rendition(200, 75, 15.0, True)),
        ({"quality": 30, "max_rate_hz": 2}, Rendition(640, 30, 2.0)),
        ({"max_rate_hz": 100}, Rendition(640, 75, 15.0)),  # the service's limit
    ],
)
def test_what_is_not_asked_for_is_as_configured(asked: dict[str, Any], expected: Rendition) -> None:
    assert asked_rendition(asked, CONFIG) == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"width": 63}, "width = 63 is out of range"),
        ({"width": 1e99}, "width = 1e+99 has the wrong type"),
        ({"quality": 96}, "quality = 96 is out of range"),
        ({"max_rate_hz": math.nan}, "max_rate_hz = nan is out of range"),
        ({"max_rate_hz": 0}, "max_rate_hz = 0.0 is out of range"),
        ({"widht": 640}, "unknown key 'widht'; did you mean 'width'?"),
        ({"overlay": "yes"}, "overlay = 'yes' has the wrong type"),
        ({"command": "clear"}, "unknown key 'command'"),
    ],
)
def test_bad_wishes_are_one_line(asked: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        asked_rendition(asked, CONFIG)
    assert str(caught.value).startswith("preview request: ")
    assert expected in str(caught.value)


def test_a_picture_is_the_frame_scaled_down_with_its_record() -> None:
    picture, record = shown(Rendition(160, 90, 15.0))
    assert picture.shape == (120, 160, 3)
    expected = cv2.resize(SOURCE.image(7), (160, 120), interpolation=cv2.INTER_AREA)
    assert np.abs(picture.astype(float) - expected).mean() < 4
    assert record["frame_size"] == [320, 240]
    assert record["box"] == list(SOURCE.box(7))
    assert (record["frame"], record["state"], record["fps"]) == (7, "tracking", 31.3)
    assert 0 <= record["age_ms"] < 20_000


def test_pictures_are_never_enlarged() -> None:
    image = SOURCE.image(0)
    assert scaled(image, 320) is image
    assert scaled(image, 640) is image
    assert scaled(image, 100).shape == (75, 100, 3)
    assert scaled(np.zeros((2, 3000, 3), np.uint8), 64).shape == (1, 64, 3)


@pytest.mark.parametrize("state", [TrackState.TRACKING, TrackState.REACQUIRED])
def test_the_overlay_is_drawn_where_the_box_is(state: TrackState) -> None:
    _, record = shown(Rendition(160, 75, 15.0), state)
    image = scaled(SOURCE.image(7), 160)
    picture = annotated(image, record)
    x, y, w, h = (round(v / 2) for v in SOURCE.box(7))
    for column, row in ((x, y + h // 2), (x + w // 2, y), (x + w - 1, y + h // 2), (x + w // 2, y + h - 1)):
        assert tuple(int(v) for v in picture[row, column]) == COLOURS[state]
    inside = np.s_[y + 4 : y + h - 4, x + 4 : x + w - 4]
    assert (picture[inside] == image[inside]).all()


def test_several_targets_are_told_apart() -> None:
    first, second = (
        record_of(SOURCE, index, state) for index, state in ((7, TRACKING), (40, TrackState.LOST))
    )
    second = dataclasses.replace(second, track_id=2)
    offer = Offer(np.zeros((240, 320, 3), np.uint8), [first, second], None)
    (part,) = PartReader().feed(BOUNDARY + encoded_part(offer, Rendition(320, 95, 15.0, True)))
    assert part.record["box"] == list(SOURCE.box(7))
    assert part.record["targets"] == [
        {"track_id": 1, "state": "tracking", "box": list(SOURCE.box(7)), "confidence": 0.87},
        {"track_id": 2, "state": "lost", "box": list(SOURCE.box(40)), "confidence": 0.87},
    ]
    picture = cv2.imdecode(np.frombuffer(part.body, np.uint8), cv2.IMREAD_COLOR)
    for index, state in ((7, TRACKING), (40, TrackState.LOST)):
        x, y = (int(v) for v in SOURCE.box(index)[:2])
        assert np.abs(picture[y, x].astype(int) - COLOURS[state]).max() < 40


def test_without_a_target_only_the_state_is_drawn() -> None:
    plain, _ = shown(Rendition(320, 95, 15.0), TrackState.SEARCHING)
    with_state, record = shown(Rendition(320, 95, 15.0, True), TrackState.SEARCHING)
    assert record["box"] is None
    assert np.abs(plain[:20, :100].astype(float) - with_state[:20, :100]).mean() > 20
    assert np.abs(plain[60:].astype(float) - with_state[60:]).mean() < 1


@pytest.mark.parametrize(
    "settings",
    [
        {"width_px": 63}, {"quality": 9}, {"max_rate_hz": 0}, {"max_watchers": 0}, {"stall_timeout_s": 0},
        {"nice": 20}, {"nice": -1}, {"max_rate_hz": math.nan},
    ],
)  # fmt: skip
def test_settings_out_of_range(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(ConfigError, match=rf"preview\.{name} = .* is not allowed; use "):
        PreviewConfig(**settings)
