"""What is compared: a tracker preset on a network in a dtype with settings, and how to build it."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edge_runtime.adaptation.tracker import tracker_for
from edge_runtime.bundle import Bundle
from edge_runtime.config import Config, load_config
from edge_runtime.errors import BundleError, ConfigError, WeightsError
from edge_runtime.features import FeatureExtractor, NetworkFeatures
from edge_runtime.manifest import MANIFEST_FILE, Manifest
from edge_runtime.trackers.presets import network_levels
from edge_runtime.types import Tracker

# Where `--levels` goes, and how it stands there, for the presets that take one level.
LEVEL_SETTINGS = {"fkcf": ("tracker.kcf.feature", "cnn:{}")}
WEIGHTS_SUFFIXES = (".safetensors", ".mat", ".npz")  # of what torch runs
NAME = re.compile(r"[A-Za-z0-9.+-]+")  # what is safe in file names and tables; "_" joins the parts


@dataclass(frozen=True)
class Network:
    """Where CNN features come from.

    Attributes:
        name: what tables call it.
        kind: a bundle of TFLite models, or weights that run in torch.
        path: the bundle's folder or the file of weights.
        sha256: of the bundle's manifest or of the file, hexadecimal.
    """

    name: str
    kind: Literal["bundle", "torch"]
    path: Path
    sha256: str


@dataclass(frozen=True)
class Settings:
    """A TOML file of overrides, or the defaults; `name` is empty where nothing is to be told apart."""

    name: str = ""
    path: Path | None = None


@dataclass(frozen=True)
class Variant:
    """One line of a table.

    Attributes:
        preset: name of the tracker.
        network: its CNN, or None where no feature needs one.
        dtype: of the network's model; empty without a network.
        level: the feature level of presets that take one; empty leaves it to the settings.
        model_sha256: of the model file that runs; empty without a network.
        config_sha256: of every setting of the tracker and of adaptation.
    """

    preset: str
    network: Network | None
    dtype: str
    level: str
    settings: Settings
    model_sha256: str
    config_sha256: str

    @property
    def label(self) -> str:
        """What tables and plots call it."""
        network, dtype = "", self.dtype
        if self.network is not None:
            network, dtype = self.network.name, "torch" if self.network.kind == "torch" else dtype
        parts = (self.preset, network, dtype, self.level, self.settings.name)
        return " ".join(part for part in parts if part)

    def config(self) -> Config:
        """All settings. Raises `ConfigError` when the file or the preset is not good."""
        return _load(self.preset, self.level, self.dtype, self.settings)

    def identity(self) -> dict[str, str]:
        """What makes two measurements of a sequence the same, apart from the code."""
        return {
            "variant": self.label,
            "preset": self.preset,
            "bundle": self.network.name if self.network else "",
            "bundle_sha256": self.network.sha256 if self.network else "",
            "dtype": self.dtype,
            "level": self.level,
            "config": self.settings.name,
            "config_sha256": self.config_sha256,
        }


def build_tracker(variant: Variant) -> Tracker:
    """A new tracker.

    Raises:
        CfvggError: the bundle or the weights are damaged, or do not have what the settings ask for.
    """
    network = variant.network
    extractor: FeatureExtractor | None = None
    if network is not None and network.kind == "torch":
        extractor = torch_features(network.path)
    elif network is not None:
        extractor = NetworkFeatures(Bundle.open(network.path), variant.dtype)
    return tracker_for(variant.config(), extractor)


def torch_features(path: Path) -> FeatureExtractor:
    """Features of a student (.safetensors, MatConvNet's .mat), SqueezeNet or GoogLeNet (.npz), run by torch.

    Raises:
        WeightsError: the weights cannot be read or do not fit.
    """
    # A workstation's packages, slow to import.
    from export.checkpoints import load_student  # noqa: PLC0415
    from export.matconvnet import load_matconvnet  # noqa: PLC0415
    from export.teachers import load_npz_teacher  # noqa: PLC0415
    from export.torch_features import TorchFeatures  # noqa: PLC0415

    if path.suffix == ".npz":
        return TorchFeatures.of_teacher(load_npz_teacher(path))
    return TorchFeatures.of_student(load_matconvnet(path) if path.suffix == ".mat" else load_student(path))


def make_variants(
    presets: Iterable[str],
    networks: Sequence[Network],
    dtypes: Iterable[str],
    levels: Sequence[str],
    settings: Sequence[Settings],
) -> list[Variant]:
    """Every combination that makes a difference, in the order given.

    Args:
        levels: for presets that take one; empty for what the settings say.
        settings: empty for the defaults.

    Raises:
        ConfigError: a preset needs a network and there is none, or settings are not good.
        BundleError: a bundle has no model of a dtype.
    """
    models = [(network, *model) for network in networks for model in _models(network, list(dtypes))]
    variants = []
    for preset in presets:
        own_levels = levels if preset in LEVEL_SETTINGS and levels else [""]
        for setting, level in itertools.product(settings or [Settings()], own_levels):
            needs = needs_network(_load(preset, level, "", setting))
            if needs and not models:
                raise ConfigError(f"{preset} needs a network", fix="give one with --bundle NAME=PATH")
            for network, dtype, sha256 in models if needs else [(None, "", "")]:
                config = _load(preset, level, dtype, setting)
                found = dataclasses.asdict(config.tracker)
                if config.adapt.mode != "off":  # else it changes nothing
                    found["adapt"] = dataclasses.asdict(config.adapt)
                digest = _sha256(json.dumps(found, sort_keys=True).encode())
                variants.append(Variant(preset, network, dtype, level, setting, sha256, digest))
    return variants


def needs_network(config: Config) -> bool:
    """Whether a feature of the tracker comes from a CNN; without one, bundles and dtypes do not matter."""
    return bool(network_levels(config.tracker))


def parse_network(text: str) -> Network:
    """`NAME=PATH` of a bundle, or `NAME=torch:PATH` of weights.

    Raises:
        ConfigError: the text is not of that form.
        BundleError: the folder has no readable manifest.
        WeightsError: the file cannot be read.
    """
    name, _, path = text.partition("=")
    _check_name(name, text, "--bundle")
    if not path:
        raise ConfigError(f"--bundle {text!r} has no path", fix="give NAME=PATH or NAME=torch:PATH")
    if path.startswith("torch:"):
        file = Path(path.removeprefix("torch:"))
        if file.suffix not in WEIGHTS_SUFFIXES:
            fix = f"give a {', '.join(WEIGHTS_SUFFIXES)} file"
            raise WeightsError("has an unknown suffix", where=file, fix=fix)
        return Network(name, "torch", file, _sha256(_read(file, WeightsError)))
    return Network(name, "bundle", Path(path), _sha256(_read(Path(path) / MANIFEST_FILE, BundleError)))


def parse_settings(text: str) -> Settings:
    """`NAME=FILE`, `NAME=` for the defaults, or just `FILE`, whose stem is the name then.

    Raises:
        ConfigError: the text is not of that form.
    """
    name, equals, path = text.partition("=")
    if not equals:
        name, path = Path(text).stem, text
    _check_name(name, text, "--config")
    return Settings(name, Path(path) if path else None)


def _models(network: Network, dtypes: list[str]) -> list[tuple[str, str]]:
    """(dtype, sha256) of the models of a network that were asked for; torch always runs float32."""
    if network.kind == "torch":
        return [("float32", network.sha256)]
    text = (network.path / MANIFEST_FILE).read_text(encoding="utf-8", errors="replace")
    models = Manifest.from_json(text, str(network.path / MANIFEST_FILE)).models
    for dtype in dtypes:
        if dtype not in models:
            have = ", ".join(models)
            raise BundleError(f"has no {dtype} model, only {have}", where=network.path, fix=f"use {have}")
    return [(dtype, models[dtype].sha256) for dtype in dtypes]


def _load(preset: str, level: str, dtype: str, settings: Settings) -> Config:
    overrides: dict[str, Any] = {"tracker.preset": preset, "model.dtype": dtype or None}
    if level:
        key, form = LEVEL_SETTINGS[preset]
        overrides[key] = form.format(level)
    return load_config(settings.path, overrides)


def _check_name(name: str, text: str, option: str) -> None:
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{option} {text!r} has no good name",
            fix="use letters, digits, '.', '+' and '-', as in ours=FILE",
        )


def _read(path: Path, error: type[BundleError | WeightsError]) -> bytes:
    try:
        return path.read_bytes()
    except OSError as reason:
        raise error(
            f"cannot be read ({reason.strerror})",
            where=path,
            fix="give NAME=PATH of a bundle from cfvgg-export",
        ) from reason


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
