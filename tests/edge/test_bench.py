"""Which model is faster, measured and remembered; and replays that tell the same story each time."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edge_runtime import bench
from edge_runtime.bench import Speed, measure, processor, remember, remembered
from edge_runtime.bundle import Bundle
from edge_runtime.config import load_config
from edge_runtime.errors import SourceError, StorageError
from edge_runtime.features import chosen_dtype
from edge_runtime.launch import launch
from edge_runtime.state_folder import state_folder
from tests.edge.helpers import TemplateTracker, fake_images, pictures

FAST, SLOW = Speed(2.0, 3.0, 30), Speed(5.0, 6.0, 30)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CFVGG_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(bench, "find_runtime", lambda: ("a-runtime", None))
    return tmp_path / "state"


def bundle(*digits: str) -> Bundle:
    models = {
        dtype: SimpleNamespace(sha256=digit * 64)
        for dtype, digit in zip(("int8", "float32"), digits, strict=True)
    }
    return cast(Bundle, SimpleNamespace(manifest=SimpleNamespace(models=models)))


def test_every_model_gets_the_same_frames_in_turns() -> None:
    order: list[str] = []

    class Noting(TemplateTracker):
        def __init__(self, name: Any) -> None:
            super().__init__()
            self.name = name

        def update(self, image: Any) -> Any:
            order.append(self.name)
            return super().update(image)

    networks = {name: cast(Any, name) for name in ("int8", "float32")}
    counts: list[tuple[int, int]] = []
    speeds = measure(Noting, networks, (320, 240), 2, lambda *done: counts.append(done))
    assert order == ["int8"] * 10 + ["float32"] * 10 + (["int8"] * 30 + ["float32"] * 30) * 2
    assert counts == [(1, 2), (2, 2)]
    for speed in speeds.values():
        assert speed.frames == 60
        assert 0 < speed.p50_ms <= speed.p95_ms


@pytest.mark.parametrize(
    ("setting", "models", "chosen"),
    [
        ("auto", ["float32", "int8"], "int8"),
        ("auto", ["float32"], "float32"),
        ("auto", ["int8"], "int8"),
        ("int8", ["float32"], "int8"),  # an error that says so comes of it
        ("float32", ["float32", "int8"], "float32"),
    ],
)
def test_without_a_measurement_a_model_is_taken_that_is_there(
    setting: str, models: list[str], chosen: str
) -> None:
    there = SimpleNamespace(manifest=SimpleNamespace(models={m: SimpleNamespace(sha256="0") for m in models}))
    config = load_config(None, {"model.dtype": setting})
    assert chosen_dtype(config, cast(Bundle, there)) == chosen


def test_the_faster_model_is_remembered_for_this_bundle_and_preset_only() -> None:
    one, other = bundle("a", "b"), bundle("a", "c")
    assert remembered(one, "fkcf") is None
    assert remember(one, "fkcf", {"int8": SLOW, "float32": FAST}) == "float32"
    assert remembered(one, "fkcf") == "float32"
    assert remembered(one, "feco") is None
    assert remembered(other, "fkcf") is None
    assert remember(other, "fkcf", {"int8": FAST, "float32": SLOW}) == "int8"
    assert remembered(one, "fkcf") == "float32"
    assert remember(one, "fkcf", {"int8": FAST, "float32": SLOW}) == "int8"
    assert remembered(one, "fkcf") == "int8"


@pytest.mark.parametrize(
    "damaged",
    [b"", b"[]", b"\xff\xfe", b'{"x": 3}', b'{"x": {"dtype": "int4"}}', b'{"x": {"dtype": []}}', b"[" * 2000],
)
def test_a_damaged_memory_is_none(state: Path, damaged: bytes) -> None:
    one = bundle("a", "b")
    remember(one, "fkcf", {"int8": FAST, "float32": SLOW})
    (known,) = json.loads((state / bench.FILE).read_text())
    (state / bench.FILE).write_bytes(damaged.replace(b"x", known.encode()))
    assert remembered(one, "fkcf") is None


def test_a_folder_that_cannot_be_written_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CFVGG_STATE_DIR", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"bench.json: cannot be written .*; run it with sudo"):
        remember(bundle("a", "b"), "fkcf", {"int8": FAST, "float32": SLOW})


def test_the_state_folder_is_what_systemd_says_or_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CFVGG_STATE_DIR")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/one:/var/lib/two")
    assert state_folder() == Path("/var/lib/one")
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", "/home/pi/state")
    monkeypatch.setattr("edge_runtime.state_folder.SYSTEM", Path("/nonsense"))
    assert state_folder() == Path("/home/pi/state/cfvgg")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nmodel name\t: Fast One\nflags\t: sse2 avx2\n", "Fast One avx2"),
        (
            "processor : 0\nFeatures : fp asimd asimddp\nCPU implementer : 0x41\nCPU part : 0xd0b\n",
            "implementer 0x41 part 0xd0b asimddp",
        ),
        ("", "implementer ? part ?"),
    ],
)
def test_processors_by_name_and_deciding_instructions(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert processor(tmp_path / "cpuinfo").endswith(expected)
    assert processor(tmp_path / "none").endswith("implementer ? part ?")


# Replays


def replayed(folder: Path, name: str, uri: str, **changes: Any) -> bytes:
    tracks = folder / name
    settings = {"source.uri": uri, "output.tracks": str(tracks), "tracker.preset": "kcf"}
    config = load_config(None, settings | {"device.name": "pi"} | changes)
    assert launch(config, reproducible=True) == 0
    return tracks.read_bytes()


def test_two_replays_are_the_same_to_the_byte(tmp_path: Path) -> None:
    folder = str(pictures(tmp_path / "pictures", fake_images(20)))
    box = {"target.box": [139, 99, 40, 40]}
    first, second = (replayed(tmp_path, name, folder, **box) for name in ("a", "b"))
    assert first == second
    records = [json.loads(line) for line in first.splitlines()]
    assert [record["t_monotonic_ns"] for record in records[:3]] == [0, 33333333, 66666667]
    silent = ("latency_ms", "t_unix", "clock_synced", "throttled")
    assert {record[name] for record in records for name in silent} == {None}
    assert len({tuple(record["box"]) for record in records}) > 10


def test_time_in_a_replay_is_the_recordings(tmp_path: Path) -> None:
    uri = "fake:frames=60&rate_hz=20"
    given_up = {"target.box": [139, 99, 40, 40], "target.max_lost_s": 0.1, "target.start": "motion"}
    records = [json.loads(line) for line in replayed(tmp_path, "a", uri, **given_up).splitlines()]
    assert records[59]["t_monotonic_ns"] == 59 * 50_000_000


def test_only_recordings_are_replayed(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no recording; replay takes a video or a folder"):
        replayed(tmp_path, "a", "fake:live=true")
