"""Pictures to calibrate and to check with: packaged ones, or a user's folder of photos and videos.

The packaged set is what the scikit-image wheel carries and calls public domain, CC0 or free of known
copyright restrictions (`PUBLIC_DOMAIN`; others in the wheel are left out), and generated pictures.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_runtime.errors import CalibrationError, DependencyError
from edge_runtime.types import FloatArray, Frame

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
FRAMES_PER_VIDEO = 20
# Licence as the docstrings of skimage.data 0.26 state it.
PUBLIC_DOMAIN = {
    "astronaut.png": "public domain (NASA)",
    "brick.png": "CC0",
    "camera.png": "CC0 (Lav Varshney)",
    "cell.png": "CC0 (Paul Müller et al.)",
    "chelsea.png": "CC0 (Stefan van der Walt)",
    "clock_motion.png": "public domain (Stefan van der Walt)",
    "coffee.png": "CC0 (Rachel Michetti)",
    "coins.png": "no known copyright restrictions (Brooklyn Museum)",
    "grass.png": "CC0",
    "gravel.png": "CC0",
    "horse.png": "CC0 (Andreas Preuss)",
    "hubble_deep_field.jpg": "public domain (NASA)",
    "ihc.png": "no known copyright restrictions (CMMI)",
    "microaneurysms.png": "CC0 (Andreas Maier)",
    "retina.jpg": "CC0 (Mikael Häggström)",
    "rocket.jpg": "public domain (SpaceX)",
    "text.png": "no known copyright restrictions (Wikipedia)",
}
GENERATED_PX = 320


@dataclass(frozen=True)
class Picture:
    """A named picture; `load` returns uint8 BGR (rows, columns, 3), or None if it cannot be decoded."""

    name: str
    load: Callable[[], Frame | None]


def packaged_pictures() -> list[Picture]:
    """The default set, alternating photos and generated pictures; nothing is downloaded.

    Raises:
        DependencyError: scikit-image is not installed, or lacks its pictures.
    """
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise DependencyError("scikit-image is not installed", fix="pip install 'cfvgg[export]'")
    folder = Path(spec.origin).parent / "data"
    missing = [name for name in PUBLIC_DOMAIN if not (folder / name).is_file()]
    if missing:
        raise DependencyError(f"has no {missing[0]}", where=folder, fix="pip install 'scikit-image>=0.24'")
    photos = [Picture(f"skimage/{name}", partial(read_photo, folder / name)) for name in PUBLIC_DOMAIN]
    return photos + generated_pictures()


def find_pictures(folder: Path) -> list[Picture]:
    """Every photo below `folder`, and frames spread over every video; `folder` may be one such file.

    Names are paths below `folder`: those of files alone repeat from folder to folder.

    Raises:
        CalibrationError: there is none.
    """
    files = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
    pictures = [
        Picture(_name(path, folder), partial(read_photo, path))
        for path in files
        if path.suffix.lower() in PHOTO_SUFFIXES
    ]
    for path in files:
        if path.suffix.lower() in VIDEO_SUFFIXES:
            pictures += _video_frames(path, _name(path, folder))
    if not pictures:
        raise CalibrationError(
            "no pictures found" if folder.exists() else "does not exist",
            where=folder,
            fix=f"give a folder with {', '.join(PHOTO_SUFFIXES)} or video files",
        )
    return pictures


def read_photo(path: Path) -> Frame | None:
    """Decode a photo as uint8 BGR; None if it is damaged."""
    try:
        with Image.open(path) as picture:
            picture.load()
            # Training decodes thousands of these: no copy of what is RGB already, no strided one for BGR.
            rgb = np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"), np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow raises
        return None
    return cast(Frame, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def _name(path: Path, folder: Path) -> str:
    return path.name if path == folder else path.relative_to(folder).as_posix()


def _video_frames(path: Path, name: str) -> list[Picture]:
    capture = cv2.VideoCapture(str(path))
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    capture.release()
    wanted = np.unique(np.linspace(0, max(count - 1, 0), FRAMES_PER_VIDEO).astype(int))
    return [Picture(f"{name}#{frame}", partial(_read_frame, path, int(frame))) for frame in wanted]


def _read_frame(path: Path, frame: int) -> Frame | None:
    capture = cv2.VideoCapture(str(path))
    capture.set(cv2.CAP_PROP_POS_FRAMES, frame)
    decoded, picture = capture.read()
    capture.release()
    return np.asarray(picture, np.uint8) if decoded else None


def generated_pictures() -> list[Picture]:
    """Synthetic pictures for what photos lack: flat colours, hard edges, noise of every scale."""
    painters: Iterable[tuple[str, Callable[[np.random.Generator], FloatArray]]] = [
        *((f"noise-{scale}px", partial(_noise, scale_px=scale)) for scale in (1, 2, 4, 8, 16, 40)),
        *((f"patches-{size}px", partial(_patches, size_px=size)) for size in (40, 80, 120)),
        *((f"bars-{period}px", partial(_bars, period_px=period)) for period in (5, 8, 14, 30, 64)),
        *((f"gradient-{number}", _gradient) for number in range(3)),
        *((f"clouds-{number}", _clouds) for number in range(6)),
    ]
    return [
        Picture(f"generated/{name}", partial(_paint, painter, seed))
        for seed, (name, painter) in enumerate(painters)
    ]


def _paint(painter: Callable[[np.random.Generator], FloatArray], seed: int) -> Frame:
    return np.clip(painter(np.random.default_rng([2017, seed])), 0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, scale_px: int) -> FloatArray:
    side = -(-GENERATED_PX // scale_px) + 1
    coarse = rng.normal(rng.uniform(90, 160), 50, (side, side, 3)).astype(np.float32)
    return cv2.resize(coarse, (GENERATED_PX, GENERATED_PX), interpolation=cv2.INTER_CUBIC).astype(np.float32)


def _patches(rng: np.random.Generator, size_px: int) -> FloatArray:
    picture = np.full((GENERATED_PX, GENERATED_PX, 3), 127, np.float32)
    for _ in range(3 * (GENERATED_PX // size_px) ** 2):
        column, row = rng.integers(-size_px, GENERATED_PX, 2)
        width, height = rng.integers(size_px // 2, 2 * size_px, 2)
        colour = rng.uniform(30, 220, 3).tolist()
        if rng.random() < 0.5:
            cv2.rectangle(picture, (int(column), int(row), int(width), int(height)), colour, -1)
        else:
            cv2.circle(picture, (int(column), int(row)), int(width) // 2, colour, -1, cv2.LINE_AA)
    return picture


def _bars(rng: np.random.Generator, period_px: int) -> FloatArray:
    rows, columns = np.mgrid[:GENERATED_PX, :GENERATED_PX]
    angle = rng.uniform(0, np.pi)
    phase = (rows * np.sin(angle) + columns * np.cos(angle)) / period_px
    other = (rows * np.cos(angle) - columns * np.sin(angle)) / (2 * period_px)
    checker = ((np.floor(phase) + np.floor(other)) % 2)[:, :, None]
    dark, light = rng.uniform(0, 90, 3), rng.uniform(150, 255, 3)
    return np.asarray(dark + (light - dark) * checker, np.float32)


def _gradient(rng: np.random.Generator) -> FloatArray:
    corners = rng.uniform(0, 255, (2, 2, 3)).astype(np.float32)
    return cv2.resize(corners, (GENERATED_PX, GENERATED_PX), interpolation=cv2.INTER_LINEAR).astype(
        np.float32
    )


def _clouds(rng: np.random.Generator) -> FloatArray:
    """Noise with a photo's 1/f spectrum, its colours correlated as a photo's are."""
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(GENERATED_PX)] * 2)) + 1 / GENERATED_PX
    grain = np.stack([_shaped(rng, frequency) for _ in range(4)], -1)
    colour = grain[..., :3] * 0.4 + grain[..., 3:]
    return np.asarray(rng.uniform(80, 170) + 45 * colour, np.float32)


def _shaped(rng: np.random.Generator, frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    spectrum = np.fft.fft2(rng.normal(size=frequency.shape)) / frequency
    field = np.fft.ifft2(spectrum).real
    return np.asarray((field - field.mean()) / field.std())
