"""Fuzzed: what may stand in `source.uri`. Nothing is opened that is not made up, and no clock runs."""

from __future__ import annotations

from pathlib import Path

from benchmarks.fuzz.outcome import Target, refusing
from edge_runtime import sources
from edge_runtime.config import SourceConfig
from edge_runtime.errors import ConfigError, SourceError
from edge_runtime.sources.virtual import VirtualCamera

INDEXES = (0, 1, 59, 1000)
MOST_PX = 640 * 480  # of scenes that are drawn: larger ones only take longer


def source_uri(_: Path) -> Target:
    """`open_source`: recordings give their first frame, cameras are made but not opened."""

    def check(data: bytes) -> None:
        uri = data.decode("utf-8", "surrogateescape")
        with refusing(ConfigError, SourceError):
            config = SourceConfig(uri=uri)
            make = sources._camera(config)
            if make is None:
                with sources.open_source(config) as source:
                    next(iter(source), None)
            elif isinstance(camera := make(), VirtualCamera):
                _look(camera)

    seeds = (
        *(
            b"fake:",
            b"fake:frames=60&seed=3&width=320&height=240&target_px=40&rate_hz=30&fault=resize&fault_frame=5",
        ),
        b"fake:live=true&rate_hz=30&faults=stall@90:3,drop@20:5,corrupt@1:1,disconnect@9:0.5",
        b"fake:live=true&faults=size@1:2,time@3:-1.5,dark@4:4,hidden@5:60,hidden@90:5,random@300:7",
        b"fake:live=true&show=fake:frames%3D3&frames=10",
        *(b"rtsp://user:secret@192.168.1.20:554/stream?a=b", b"http://[::1]:8080/", b"picamera2:1"),
        *(b"v4l2:/dev/video0", b"/dev/video0", b"clip.mp4", b"folder/", b"a\x00b"),
    )
    return Target(check, seeds)


def _look(camera: VirtualCamera) -> None:
    device = camera._device
    for index in INDEXES:
        device.faults.at(index, device.script.rate_hz)
        device.truth(index)
    if device.script.width * device.script.height <= MOST_PX:
        device.image(INDEXES[-1])
