"""How the look of a crop changes: light, colour, blur, noise, compression."""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.types import Frame


def augment(crop: Frame, rng: np.random.Generator, light: float) -> Frame:
    """A uint8 BGR crop as another moment or another encoder would show it; `light` as in `light_table`."""
    if rng.random() < 0.5:
        crop = cast(Frame, cv2.LUT(crop, light_table(rng, light)))
    if rng.random() < 0.2:
        crop = _blurred(crop, rng)
    if rng.random() < 0.1:
        crop = _noisy(crop, rng)
    if rng.random() < 0.1:
        crop = _compressed(crop, rng)
    return crop


def grey(crop: Frame) -> Frame:
    """Three equal channels, as grey cameras' frames are read."""
    return cast(Frame, cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR))


def light_table(rng: np.random.Generator, strength: float) -> NDArray[np.uint8]:
    """New values of the 256 old ones, (1, 256, 3): gamma, gain, offset, and a tint in some.

    At a strength of 1 they differ as much as two cameras do: gain 0.6 to 1.4, offset up to 30.
    """
    gamma, gain = math.exp(strength * rng.uniform(-0.35, 0.35)), 1 + strength * rng.uniform(-0.4, 0.4)
    tint = 1 + strength * rng.uniform(-0.1, 0.1, 3) if rng.random() < 0.4 else np.ones(3)
    values = 255 * (np.arange(256)[:, None] / 255) ** gamma * gain * tint + strength * rng.uniform(-30, 30)
    return np.clip(values, 0, 255).astype(np.uint8)[None]


def _blurred(crop: Frame, rng: np.random.Generator) -> Frame:
    """Out of focus, or moved while exposed along a line of 3 to 11 px."""
    if rng.random() < 0.6:
        return cast(Frame, cv2.GaussianBlur(crop, (0, 0), float(rng.uniform(0.5, 2.0))))
    half, angle = int(rng.integers(1, 6)), rng.uniform(0, math.pi)
    kernel = np.zeros((2 * half + 1,) * 2, np.float32)
    column, row = round(half * math.cos(angle)), round(half * math.sin(angle))
    cv2.line(kernel, (half - column, half - row), (half + column, half + row), (1.0,))
    return cast(Frame, cv2.filter2D(crop, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE))


def _noisy(crop: Frame, rng: np.random.Generator) -> Frame:
    """The same noise in all channels: a third of the time that drawing it takes."""
    noise = rng.standard_normal(crop.shape[:2], np.float32) * np.float32(rng.uniform(2, 8))
    whole = cv2.merge([np.rint(noise).astype(np.int16)] * 3)
    return cast(Frame, cv2.add(crop, whole, dtype=cv2.CV_8U))  # saturates


def _compressed(crop: Frame, rng: np.random.Generator) -> Frame:
    quality = int(rng.integers(25, 80))
    _, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cast(Frame, cv2.imdecode(data, cv2.IMREAD_COLOR))
