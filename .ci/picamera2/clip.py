"""Our composed clip as JPEGs for the virtual camera; every picture carries its number."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from benchmarks.synthetic_clip import Scene
from edge_runtime.types import Box, Frame

SIZE = (640, 480)
# Of the clip's 300 frames, those before the first occlusion, there and back so that it can be repeated. It
# begins with a still: nobody knows which picture will be the first to be tracked, since Picamera2 passes over
# frames when its reader is late, and does not say how many.
THERE = range(14, 88, 2)
STILL_PICTURES = 40
ORDER = [THERE[0]] * STILL_PICTURES + [*THERE, *reversed(THERE[1:-1])]
NUMBER_BITS = 8
NUMBER_PX = 24


def write_clip(pictures: Path, truth: Path) -> None:
    """Write `0.jpg` and so on into an empty folder `pictures`, and a line x,y,w,h for each into `truth`."""
    scene = Scene(size=SIZE)
    pictures.mkdir(parents=True)
    lines = []
    for number, index in enumerate(ORDER):
        image = scene.image(index)
        _write_number(image, number)
        cv2.imwrite(str(pictures / f"{number}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        lines.append(",".join(f"{value:.3f}" for value in scene.box(index)))
    truth.write_text("\n".join(lines) + "\n", encoding="ascii")


def read_truth(path: Path) -> list[Box]:
    """What `write_clip` wrote, by picture."""
    return [Box(*map(float, line.split(","))) for line in path.read_text(encoding="ascii").splitlines()]


def picture_number(image: Frame) -> int:
    """The number of the picture, uint8 (rows, columns, 3), however often it was encoded since."""
    middle = NUMBER_PX // 2
    row = image[-middle, middle : NUMBER_BITS * NUMBER_PX : NUMBER_PX].mean(axis=1) > 127
    return int(np.packbits(row)[0])


def _write_number(image: Frame, number: int) -> None:
    """White and black squares in the lower left corner, the most significant bit first."""
    bits = np.array([number >> bit & 1 for bit in reversed(range(NUMBER_BITS))], np.uint8) * 255
    image[-NUMBER_PX:, : NUMBER_BITS * NUMBER_PX] = np.repeat(bits, NUMBER_PX)[:, None]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("truth", type=Path)
    arguments = parser.parse_args()
    write_clip(arguments.pictures, arguments.truth)
