"""Writes .mat files laid out as MatConvNet's VGG-M networks are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

CHANNELS = (4, 6, 8, 8, 7)
GEOMETRY = ((7, 2, 0), (5, 2, 1), (3, 1, 1), (3, 1, 1), (3, 1, 1))
Layer = dict[str, Any]


def cell(*values: Any) -> np.ndarray:
    array = np.empty((1, len(values)), object)
    array[0, :] = values
    return array


def layers(lrn: bool = True, seed: int = 0) -> list[Layer]:
    rng = np.random.default_rng(seed)
    found: list[Layer] = []
    inputs = 3
    for number, (outputs, (size, stride, pad)) in enumerate(zip(CHANNELS, GEOMETRY, strict=True), 1):
        kernel = rng.normal(0, 0.3 / size, (size, size, inputs, outputs)).astype(np.float32)
        bias = rng.normal(0, 0.1, (1, outputs)).astype(np.float32)
        found.append(
            {
                "name": f"conv{number}",
                "type": "conv",
                "weights": cell(kernel, bias),
                "stride": np.array([[stride, stride]], np.uint8),
                "pad": np.array([[pad] * 4], np.uint8),
            }
        )
        found.append({"name": f"relu{number}", "type": "relu"})
        if number <= 2:
            if lrn:
                found.append({"name": f"norm{number}", "type": "lrn", "param": [[5, 2, 1e-4, 0.75]]})
            found.append(
                {
                    "name": f"pool{number}",
                    "type": "pool",
                    "method": "max",
                    "pool": [[3, 3]],
                    "stride": [[2, 2]],
                    "pad": [[0, 1, 0, 1]],
                }
            )
        inputs = outputs
    return found


def mean_image(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.array([124.0, 117.0, 104.0]) + rng.normal(0, 6, (40, 40, 3))


def save(path: Path, network: list[Layer], mean: Any = None, wrapped: bool = True) -> Path:
    """`wrapped` puts the network into a variable `net`, as CF_VGGM.mat does; VGG-M files do not."""
    average = mean_image() if mean is None else mean
    content: dict[str, Any] = {
        "layers": cell(*network),
        "meta": {"normalization": {"averageImage": average, "imageSize": [[224, 224, 3]]}},
    }
    scipy.io.savemat(path, {"net": content} if wrapped else content)
    return path
