from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.measure import backend
from benchmarks.variants import (
    Network,
    Settings,
    Variant,
    build_tracker,
    make_variants,
    parse_network,
    parse_settings,
    torch_features,
)
from edge_runtime.errors import BundleError, ConfigError, WeightsError
from edge_runtime.types import Box


def made(presets: list[str], networks: list[Network], **more: list[str]) -> list[Variant]:
    given = {"dtypes": ["float32", "int8"], "levels": [], "settings": []} | more
    settings = [parse_settings(text) for text in given["settings"]]
    return make_variants(presets, networks, given["dtypes"], given["levels"], settings)


def test_bundles_and_dtypes_only_multiply_what_has_a_network(bundle_path: Path) -> None:
    network = parse_network(f"ours={bundle_path}")
    found = made(["fkcf", "kcf"], [network])
    assert [variant.label for variant in found] == ["fkcf ours float32", "fkcf ours int8", "kcf"]
    assert len({variant.model_sha256 for variant in found}) == 3
    assert found[0].identity()["bundle_sha256"] == network.sha256
    assert found[2].identity()["bundle_sha256"] == found[2].model_sha256 == ""
    assert found[1].config().model.dtype == "int8"


def test_levels_and_settings(bundle_path: Path, tmp_path: Path) -> None:
    (tmp_path / "deep.toml").write_text('[tracker.kcf]\nfeature = "cnn:high"\n')
    networks = [parse_network(f"ours={bundle_path}")]
    found = made(["fkcf"], networks, dtypes=["int8"], levels=["low", "middle"])
    assert [variant.label for variant in found] == ["fkcf ours int8 low", "fkcf ours int8 middle"]
    assert [variant.config().tracker.kcf.feature for variant in found] == ["cnn:low", "cnn:middle"]
    assert found[0].config_sha256 != found[1].config_sha256
    settings = ["plain=", str(tmp_path / "deep.toml")]
    found = made(["kcf"], networks, dtypes=["int8"], settings=settings)
    # With these settings, kcf has a network after all.
    assert [variant.label for variant in found] == ["kcf plain", "kcf ours int8 deep"]
    assert found[1].settings == Settings("deep", tmp_path / "deep.toml")


def test_what_is_not_good_is_one_line(bundle_path: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fkcf needs a network; give one with --bundle NAME=PATH"):
        made(["fkcf"], [])
    with pytest.raises(ConfigError, match=r"tracker\.preset = 'eko'"):
        made(["eko"], [])
    for text in ("ours", "ours=", "my net=x", "a_b=x", "=x"):
        with pytest.raises(ConfigError, match="--bundle"):
            parse_network(text)
    with pytest.raises(BundleError, match=r"none/manifest.json: cannot be read"):
        parse_network(f"ours={tmp_path / 'none'}")
    with pytest.raises(WeightsError, match=r"none.mat: cannot be read"):
        parse_network(f"ours=torch:{tmp_path / 'none.mat'}")
    with pytest.raises(WeightsError, match=r"net.pth: has an unknown suffix; give a .safetensors, .mat"):
        parse_network("ours=torch:net.pth")
    with pytest.raises(ConfigError, match="--config 'a b=' has no good name"):
        parse_settings("a b=")
    with pytest.raises(ConfigError, match=r"none.toml: cannot be read"):
        made(["kcf"], [], settings=[str(tmp_path / "none.toml")])
    lacking = tmp_path / "bundle"
    shutil.copytree(bundle_path, lacking)
    manifest = json.loads((lacking / "manifest.json").read_text())
    del manifest["models"]["int8"]
    (lacking / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="has no int8 model, only"):
        made(["fkcf"], [parse_network(f"ours={lacking}")])


def test_weights_run_in_torch(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from export.checkpoints import random_student, save_student  # noqa: PLC0415 (torch is optional here)

    file = tmp_path / "student.safetensors"
    save_student(random_student(), file)
    (variant,) = made(["fkcf"], [parse_network(f"random=torch:{file}")])
    assert (variant.label, variant.dtype) == ("fkcf random torch", "float32")
    assert variant.model_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert backend(variant).startswith("torch ")
    picture = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    tracker = build_tracker(variant)
    tracker.init(picture, Box(40, 30, 24, 20))
    found = tracker.update(np.roll(picture, 2, 1)).box
    assert found == pytest.approx((42, 30, 24, 20), abs=0.5)


def test_teachers_of_the_shared_data(shared_data: Path) -> None:
    pytest.importorskip("torch")
    for file, low in (("squeezenet_v1.0.npz", 96), ("bvlc_googlenet_fp16.npz", 64)):
        features = torch_features(shared_data / "weights" / file)
        assert (features.level("low").channels, features.level("high").channels) == (low, 512)
    assert torch_features(shared_data / "weights" / "CF_VGGM.mat").level("high").channels == 64
