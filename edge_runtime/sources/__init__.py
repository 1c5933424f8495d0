"""Frame sources behind one interface: cameras, streams, recordings, and the shipped fakes."""

from __future__ import annotations

import functools
import re
import stat
from collections.abc import Callable
from pathlib import Path

from edge_runtime.config import SourceConfig
from edge_runtime.errors import SourceError
from edge_runtime.sources.base import DROP_REASONS, CapturedFrame, FrameSource, RecordedSource
from edge_runtime.sources.camera import Camera
from edge_runtime.sources.fake import FakeSource, uri_settings
from edge_runtime.sources.folder import FolderSource
from edge_runtime.sources.live import LiveSource
from edge_runtime.sources.loop import LoopedSource
from edge_runtime.sources.network import SCHEMES, NetworkCamera, without_password
from edge_runtime.sources.picamera import PiCamera
from edge_runtime.sources.recording import RecordingCamera
from edge_runtime.sources.replay import ReplaySource
from edge_runtime.sources.v4l2 import V4l2Camera
from edge_runtime.sources.video import VideoSource
from edge_runtime.sources.virtual import VirtualCamera, VirtualDevice

__all__ = [
    "DROP_REASONS",
    "CapturedFrame",
    "FakeSource",
    "FolderSource",
    "FrameSource",
    "LiveSource",
    "RecordedSource",
    "ReplaySource",
    "VideoSource",
    "VirtualCamera",
    "VirtualDevice",
    "open_source",
]


def open_source(
    config: SourceConfig, stopping: Callable[[], bool] = lambda: False, patient: bool = False
) -> FrameSource:
    """The source that `config.uri` names.

    Args:
        config: its `uri` is one of

            - `picamera2:` or `picamera2:NUMBER`, a Pi camera;
            - `v4l2:/dev/video0` or the device file alone, a USB camera;
            - `rtsp://…`, `http://…`, `https://…`, a network camera, which may also come up later;
            - `fake:` with optional settings (`fake:frames=60&seed=3`, see `FakeScript`), or a virtual
              camera, `fake:live=true` with settings of `VirtualScript`;
            - a folder of pictures, or a video file.
        stopping: asked while a camera's first frame is waited for; True gives up.
        patient: whether a camera that is not there is waited for, as one that went away is.

    Raises:
        SourceError: nothing there, or nothing that can be decoded.
        DependencyError: a package that the source needs is not installed.
    """
    if not config.uri:
        raise SourceError("no source is given", fix="set source.uri or --source")
    make_camera = _camera(config)
    if make_camera is not None:
        if config.loop or config.realtime:
            raise SourceError(
                "is no recording",
                where=without_password(config.uri),
                fix="leave out source.loop and realtime",
            )
        shown = "picamera2:0" if config.uri in {"picamera2", "picamera2:"} else without_password(config.uri)
        return LiveSource(make_camera, shown, config, stopping, patient)
    make = functools.partial(_recording, config.uri)
    looped = functools.partial(LoopedSource, make) if config.loop else make
    if config.realtime:
        return LiveSource(lambda: RecordingCamera(looped, config.rate_hz), config.uri, config, stopping)
    return looped()


def _camera(config: SourceConfig) -> Callable[[], Camera] | None:
    """What makes the camera that the URI names; None if it names none."""
    uri = config.uri
    scheme, colon, rest = uri.partition(":")
    if scheme == "picamera2":
        if not re.fullmatch(r"\d{0,2}", rest):
            raise SourceError("names no camera", where=uri, fix="give picamera2: or picamera2:1")
        return lambda: PiCamera(int(rest or 0), config)
    if scheme in SCHEMES and colon:
        NetworkCamera(uri, config)
        return lambda: NetworkCamera(uri, config)
    if uri.startswith("fake:") and uri_settings(uri).get("live") is True:
        device = VirtualDevice.from_uri(uri, _recording)
        return lambda: VirtualCamera(device)
    path = rest if scheme == "v4l2" and colon else uri
    if path != uri or path.startswith("/dev/video") or _is_device(path):
        return lambda: V4l2Camera(path, config)
    return None


def _is_device(path: str) -> bool:
    try:
        return stat.S_ISCHR(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False


def _recording(uri: str) -> RecordedSource:
    if uri.startswith("fake:"):
        return FakeSource.from_uri(uri)
    path = Path(uri)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = 0
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        reason = error.strerror if isinstance(error, OSError) else error
        raise SourceError(f"cannot be opened ({reason})", where=uri) from error
    if stat.S_ISDIR(mode):
        return FolderSource(path)
    if stat.S_ISREG(mode):
        return VideoSource(path)
    raise SourceError(
        "no such file or folder", where=uri, fix="give a video, a picture folder, a camera, or fake:"
    )
