from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.adapters.pictures import to_frame
from edge_runtime.errors import SourceError
from edge_runtime.sources.folder import read_picture

BGR = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
GREY = np.ascontiguousarray(BGR[..., 0])


def test_a_frame_stays_what_it_is() -> None:
    assert to_frame(BGR, "BGR", "here") is BGR


def test_every_kind_of_picture_becomes_bgr() -> None:
    opacity = np.full((6, 8, 1), 255, np.uint8)
    rgb = BGR[..., ::-1]  # not contiguous
    np.testing.assert_array_equal(to_frame(rgb, "RGB", "here"), BGR)
    np.testing.assert_array_equal(to_frame(np.concatenate([rgb, opacity], 2), "RGB", "here"), BGR)
    np.testing.assert_array_equal(to_frame(np.concatenate([BGR, opacity], 2), "BGR", "here"), BGR)
    three = np.stack([GREY] * 3, 2)
    for grey in (GREY, GREY[..., None]):
        for order in ("BGR", "RGB"):
            np.testing.assert_array_equal(to_frame(grey, order, "here"), three)
    for frame in (to_frame(rgb, "RGB", "here"), to_frame(BGR[:, ::2], "BGR", "here")):
        assert frame.flags.c_contiguous
        assert frame.dtype == np.uint8


def test_pil_pictures_are_rgb() -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is a workstation's")
    np.testing.assert_array_equal(to_frame(image.fromarray(BGR[..., ::-1].copy()), "RGB", "here"), BGR)
    assert to_frame(image.fromarray(GREY), "RGB", "here").shape == BGR.shape


@pytest.mark.parametrize(
    "image", [None, BGR.astype(np.float32), BGR[:0], BGR[..., :2], BGR[None], "frame.jpg", BGR > 9]
)
def test_what_is_no_picture_is_one_line(image: object) -> None:
    with pytest.raises(SourceError, match=r"^here: .* is not a picture; give uint8") as caught:
        to_frame(image, "BGR", "here")
    assert "\n" not in str(caught.value)


def test_files_are_read_as_opencv_reads_them(tmp_path: Path) -> None:
    for name, image in (("colour.png", BGR), ("grey.png", GREY), ("colour.jpg", BGR)):
        cv2.imwrite(str(tmp_path / name), image)
    np.testing.assert_array_equal(read_picture(tmp_path / "colour.png"), BGR)
    np.testing.assert_array_equal(read_picture(tmp_path / "grey.png"), np.stack([GREY] * 3, 2))
    assert read_picture(tmp_path / "colour.jpg").shape == BGR.shape
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    for name in ("torn.jpg", "missing.jpg"):
        with pytest.raises(SourceError, match=rf"{name}: cannot be decoded as a picture"):
            read_picture(tmp_path / name)
