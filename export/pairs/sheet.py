"""A picture of pairs, so that a person sees what is trained on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import cv2
import numpy as np
from torch import Tensor

from edge_runtime.types import Box, Frame
from export.pairs.dataset import Pair

TARGET, CENTRE = (115, 158, 0), (0, 159, 230)  # BGR, told apart by the colour-blind too (Okabe and Ito)
BORDER_PX = 2
SUBPIXEL_BITS = 4


def contact_sheet(pairs: Iterable[Pair], pairs_a_row: int = 4) -> Frame:
    """Pairs side by side, uint8 BGR: template, search and negatives of each.

    The green box is the target, in search at the place that the losses are told, drawn in its size in
    template; the amber cross is the search crop's centre.

    Raises:
        ValueError: there are no pairs.
    """
    tiles = [_tile(pair) for pair in pairs]
    if not tiles:
        raise ValueError("there are no pairs to draw")
    tiles += [np.full_like(tiles[0], 32)] * (-len(tiles) % pairs_a_row)
    rows = [np.hstack(tiles[i : i + pairs_a_row]) for i in range(0, len(tiles), pairs_a_row)]
    return cast(Frame, np.vstack(rows))


def _tile(pair: Pair) -> Frame:
    template, search = _picture(pair.template), _picture(pair.search)
    middle = (len(template) - 1) / 2
    h, w = pair.target_px.tolist()
    down, across = pair.shift_px.tolist()
    _draw_box(template, Box.from_centre(middle, middle, w, h))
    _draw_box(search, Box.from_centre(middle + down, middle + across, w, h))
    cv2.drawMarker(search, (round(middle), round(middle)), CENTRE, cv2.MARKER_CROSS, 8)
    crops = np.hstack([template, search, *map(_picture, pair.negatives)])
    border = (BORDER_PX,) * 4
    return cast(Frame, cv2.copyMakeBorder(crops, *border, cv2.BORDER_CONSTANT, value=(32, 32, 32)))


def _picture(rgb: Tensor) -> Frame:
    return np.ascontiguousarray(rgb.numpy().transpose(1, 2, 0)[..., ::-1])


def _draw_box(image: Frame, box: Box) -> None:
    corners = np.array([box.x, box.y, box.x + box.w - 1, box.y + box.h - 1]) * 2**SUBPIXEL_BITS
    left, top, right, bottom = np.rint(corners).astype(int).tolist()
    cv2.rectangle(image, (left, top), (right, bottom), TARGET, 1, cv2.LINE_AA, SUBPIXEL_BITS)
