from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("matplotlib")

from benchmarks.plots import PRECISION, SUCCESS, Curve, bars_png, curves_png, line_styles, spread

PRESETS = ("feco", "fdeepstrcf", "kcf")
GAP = 0.03


@given(st.lists(st.floats(0, 1), max_size=20))
def test_labels_keep_their_distance_and_their_order(places: list[float]) -> None:
    moved = np.array(spread(places, GAP, 0.02, 0.98))
    assert len(moved) == len(places)
    order = np.argsort(places, kind="stable")
    assert (np.diff(moved[order]) >= GAP - 1e-9).all()
    assert ((moved > 0.02 - 1e-9) & (moved < 0.98 + 1e-9)).all()


def test_labels_that_have_room_stay_where_they_are() -> None:
    np.testing.assert_allclose(spread([0.5, 0.2, 0.9], GAP, 0, 1), [0.5, 0.2, 0.9])
    np.testing.assert_allclose(spread([0.5, 0.5, 0.9], 0.1, 0, 1), [0.45, 0.55, 0.9])


@pytest.mark.parametrize("count", [1, 3, 18])
def test_lines_can_be_told_apart(count: int) -> None:
    for presets in (PRESETS, PRESETS[:1]):
        labels = [f"{presets[i % len(presets)]} net{i}" for i in range(count)]
        styles = line_styles(labels)
        assert len({(s["color"], str(s["linestyle"])) for s in styles.values()}) == count
    styles = line_styles(["feco a", "kcf", "feco b"])
    assert styles["feco a"]["color"] == styles["feco b"]["color"] != styles["kcf"]["color"]


@pytest.mark.parametrize("count", [1, 12])
@pytest.mark.parametrize("published", [{}, {"ECO": 0.7, "KCF": 0.4, "SRDCF": 0.69}])
def test_charts_are_pictures(count: int, published: dict[str, float]) -> None:
    labels = [f"{PRESETS[i % 3]} net{i}" for i in range(count)]
    for axis in (SUCCESS, PRECISION):
        values = np.linspace(1, 0, len(axis.x)).tolist()
        curves = [Curve(label, values, 0.5) for label in labels]
        image = decoded(curves_png("dev", axis, curves, published))
        assert image.std() > 5
        assert image.shape[1] > image.shape[0]
    assert decoded(bars_png("dev", dict.fromkeys(labels, 0.5), published)).std() > 5


def decoded(png: bytes) -> np.ndarray:  # type: ignore[type-arg] # whatever OpenCV gives
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image
