"""From BGR uint8 patches to the model's input tensor, exactly as the exporter does it."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import BundleError
from edge_runtime.manifest import Preprocessing, TensorInfo
from edge_runtime.types import FloatArray

MOST_MEAN_IMAGES = 8  # 0.7 MB each at 240 px; a long run on targets of many sizes must not keep them all


class Preprocessor:
    """Callable: uint8 BGR patches (n, rows, columns, 3) → input array of the same shape, model's dtype.

    Args:
        preprocessing: the bundle's description.
        mean_image: float32 (rows, columns, 3), RGB; needed when `preprocessing.mean` is "image".
        input_info: dtype and quantisation of the model's input.

    Raises:
        BundleError: the mean image is missing, or a folded int8 input is not quantised by 1 and -128.
    """

    def __init__(
        self, preprocessing: Preprocessing, mean_image: FloatArray | None, input_info: TensorInfo
    ) -> None:
        self._mean_image, self._info = mean_image, input_info
        self._resized: dict[tuple[int, int], FloatArray] = {}
        self._folded = preprocessing.mean == "folded"
        if not self._folded and mean_image is None:
            raise BundleError("has no mean image", fix="export the bundle again")
        exact = (input_info.scale, input_info.zero_point) == (1.0, -128)
        if self._folded and input_info.dtype == "int8" and not exact:
            raise BundleError(
                f"input scale {input_info.scale:g} and zero point {input_info.zero_point} are not 1 and -128",
                fix="export the bundle again",
            )

    def __call__(self, patches: NDArray[np.uint8], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Convert one batch of patches.

        Args:
            patches: uint8 BGR (n, rows, columns, 3).
            out: contiguous, of that shape in the model's dtype, to write into; None for a new array.
        """
        if out is None:
            out = np.empty(patches.shape, self._info.dtype)
        count, rows, columns, _ = patches.shape
        # One cvtColor over the stacked patches is several times faster than reversing the axis.
        stacked = np.ascontiguousarray(patches).reshape(count * rows, columns, 3)
        if self._folded and self._info.dtype == "int8":
            pixels = out.view(np.uint8)
            cv2.cvtColor(stacked, cv2.COLOR_BGR2RGB, dst=pixels.reshape(stacked.shape))
            # Scale 1 and zero point -128: subtracting 128 is flipping the top bit.
            np.bitwise_xor(pixels, 0x80, out=pixels)
            return out
        rgb = cv2.cvtColor(stacked, cv2.COLOR_BGR2RGB).reshape(patches.shape)
        if self._folded:
            out[...] = rgb
            return out
        mean = self._mean(rows, columns)
        for patch, converted in zip(rgb, out, strict=True):
            if self._info.dtype == "float32":
                cv2.subtract(patch, mean, dst=converted, dtype=cv2.CV_32F)
            else:
                # Subtract, scale, add the zero point, round to even and saturate in one pass.
                inverse, zero_point = 1 / self._info.scale, self._info.zero_point
                cv2.addWeighted(patch, inverse, mean, -inverse, zero_point, dst=converted, dtype=cv2.CV_8S)
        return out

    def _mean(self, rows: int, columns: int) -> FloatArray:
        if (rows, columns) not in self._resized:
            assert self._mean_image is not None  # checked in __init__
            if len(self._resized) >= MOST_MEAN_IMAGES:
                del self._resized[next(iter(self._resized))]  # the oldest
            self._resized[rows, columns] = imresize_bicubic(self._mean_image, rows, columns)
        return self._resized[rows, columns]


def imresize_bicubic(image: FloatArray, rows: int, columns: int) -> FloatArray:
    """Resize float32 (rows, columns, channels) as MATLAB's `imresize(image, [rows columns])`.

    Bicubic with a = -0.5, widened when shrinking against aliasing, edges mirrored.
    """
    down = _resize_weights(image.shape[0], rows)
    across = _resize_weights(image.shape[1], columns)
    resized = np.einsum("ri,ijc,sj->rsc", down, image, across, optimize=True)
    # einsum leaves its axes in another order in memory; subtracting that is several times slower.
    return np.ascontiguousarray(resized, np.float32)


def _resize_weights(size: int, new_size: int) -> NDArray[np.float64]:
    """Matrix (new_size, size) that resizes one axis; every row sums to one."""
    scale = new_size / size
    shrink = min(scale, 1.0)
    width = 4.0 / shrink
    centres = (np.arange(new_size) + 0.5) / scale - 0.5
    taps = np.floor(centres - width / 2).astype(int)[:, None] + np.arange(math.ceil(width) + 2)
    weights = _cubic(shrink * (centres[:, None] - taps))
    weights /= weights.sum(1, keepdims=True)
    mirrored = np.concatenate([np.arange(size), np.arange(size)[::-1]])[taps % (2 * size)]
    matrix = np.zeros((new_size, size))
    np.add.at(matrix, (np.arange(new_size)[:, None], mirrored), weights)
    return matrix


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -0.5."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
