"""Pictures as other conventions hand them over: grey or colour, RGB or BGR, arrays or files."""

from __future__ import annotations

from typing import Any, Literal, cast

import cv2
import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.types import Frame

TO_BGR: dict[str, dict[int, int | None]] = {
    "BGR": {1: cv2.COLOR_GRAY2BGR, 3: None, 4: cv2.COLOR_BGRA2BGR},
    "RGB": {1: cv2.COLOR_GRAY2BGR, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGR},
}


def to_frame(image: Any, order: Literal["BGR", "RGB"], where: str) -> Frame:
    """`image` as a frame, uint8 (rows, columns, 3) BGR, contiguous; not copied when it is one already.

    Args:
        image: uint8 array or `PIL.Image`: (rows, columns) grey, or (rows, columns, 1, 3 or 4).
        order: of its colour channels; a fourth one is opacity and is dropped.
        where: stands in the error message.

    Raises:
        SourceError: it is none of these, or empty.
    """
    array = np.asarray(image)
    channels = array.shape[2] if array.ndim == 3 else 1
    picture = array.ndim in (2, 3) and array.size > 0 and channels in TO_BGR[order]
    if not picture or array.dtype != np.uint8:
        raise SourceError(
            f"{array.dtype} {array.shape} is not a picture",
            where=where,
            fix=f"give uint8 (rows, columns) or (rows, columns, 3) in {order} order",
        )
    conversion = TO_BGR[order][channels]
    array = np.ascontiguousarray(array)
    return cast(Frame, array if conversion is None else cv2.cvtColor(array, conversion))
