"""What the core and a bundle's networks compute from seeded random pictures, to compare processors.

    python -m tests.core.values OUT.npz            # writes them; $CFVGG_TEST_BUNDLE is the bundle
    python -m tests.core.values A.npz B.npz        # compares: equal bytes, nearly equal floats

Tests against OpenCV say less on arm64, where it has other arithmetic. This does not need it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.bundle import Bundle
from edge_runtime.core import kernels
from edge_runtime.features import NetworkFeatures
from edge_runtime.trackers import patches, sampling
from edge_runtime.trackers.colour import grey
from edge_runtime.trackers.hog import hog
from edge_runtime.trackers.scale_filter import ScaleFilter
from edge_runtime.trackers.settings import ScaleFilterConfig
from tests.tracker.pixels import texture

TOLERANCE = 1e-5  # of floats, relative to the largest of their array


def compute() -> dict[str, np.ndarray]:
    """Arrays by name: uint8 of patches, float of features, transforms and scale factors."""
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for channels in (1, 3):
        frame = rng.integers(0, 256, (120, 160, channels), dtype=np.uint8)
        for number in range(40):
            centre = int(rng.integers(-20, 140)), int(rng.integers(-20, 180))
            rows, columns = (int(side) for side in rng.integers(5, 150, 2))
            output = tuple(int(side) for side in rng.integers(8, 60, 2))
            name = f"{channels}-{number}"
            found[f"resized {name}"] = sampling.patch_of_size(frame, centre, rows, columns, output)
            found[f"decimated {name}"] = sampling.decimated_patch(frame, centre, float(rows), output[0])
            place = centre[0] + 0.3, centre[1] - 0.2
            found[f"affine {name}"] = patches.sample_patch(frame, place, columns + 0.7, output[1])
        found[f"hog {channels}"], found[f"grey {channels}"] = hog(frame[None]), grey(frame[None], 4)
        picture = np.ascontiguousarray(texture(200, 260, seed=5)[..., :channels])
        scale = ScaleFilter(ScaleFilterConfig(), (90.0, 60.0), (90.0, 60.0))
        factors = []
        for step in range(20):
            scale.learn(picture, (100.0 + step, 130.0), 1.0 + 0.01 * step)
            factors.append(scale.locate(picture, (100.0, 130.0 - step), 1.0))
        found[f"scale factors {channels}"] = np.array(factors)
    for size in (13, 52, 60, 61):
        maps = rng.standard_normal((size, size, 13)).astype(np.float32)
        spectrum = np.empty((size, size // 2 + 1, 2, 13), np.float32)
        kernels.rfft2(maps, spectrum)
        found[f"transform {size}"] = spectrum
    return found


def network_maps(bundle: Bundle) -> dict[str, np.ndarray]:
    """Maps (1, rows, columns, channels), float32, by model and level, of one picture of 160 x 120 px."""
    blocks = np.random.default_rng(1).integers(0, 256, (1, 15, 20, 3), dtype=np.uint8)
    patches = blocks.repeat(8, axis=1).repeat(8, axis=2)
    levels = tuple(level.name for level in bundle.manifest.levels)
    found: dict[str, np.ndarray] = {}
    for dtype in ("float32", "int8"):
        features = NetworkFeatures(bundle, dtype)
        for level, maps in zip(levels, features.extract(patches, levels), strict=True):
            found[f"{dtype} {level}"] = maps
    return found


def differences(a: Path, b: Path) -> list[str]:
    """Names, and by how much, of arrays that are not equal enough."""
    one, other = np.load(a), np.load(b)
    assert one.files == other.files
    bad = []
    for name in one.files:
        gap = float(np.abs(one[name].astype(float) - other[name]).max())
        most = 0.0 if one[name].dtype == np.uint8 else TOLERANCE * float(np.abs(one[name]).max())
        if not gap <= most:
            bad.append(f"{name}: {gap:g} apart, {most:g} allowed")
    return bad


def main() -> int:
    paths = [Path(argument) for argument in sys.argv[1:]]
    if len(paths) == 1:
        networks = network_maps(Bundle.open(Path(os.environ["CFVGG_TEST_BUNDLE"])))
        np.savez(paths[0], **compute(), **networks)
        return 0
    bad = differences(*paths)
    print("\n".join(bad) or f"{len(np.load(paths[0]).files)} arrays are the same")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
