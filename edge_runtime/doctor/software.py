"""Python, packages, settings, and the model, which is run."""

from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from edge_runtime.config import Config, load_config
from edge_runtime.deployment.place import chosen_bundle
from edge_runtime.doctor.checks import Check, failure, ok, skipped, warning
from edge_runtime.doctor.machine import Machine
from edge_runtime.errors import CfvggError
from edge_runtime.installation.needs import source_kind

PYTHONS = ((3, 11), (3, 13))
# Package to import, and the distributions that it comes in (Debian's OpenCV comes without one).
NEEDED = {
    "numpy": ("numpy",),
    "cv2": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless"),
    "dacite": ("dacite",),
    "typer": ("typer",),
}
RUNTIMES = ("ai-edge-litert", "tflite-runtime")
VENV = "python3 -m venv --system-site-packages ~/cfvgg && ~/cfvgg/bin/pip install 'cfvgg[edge]'"


def settings_check(machine: Machine, path: Path | None) -> tuple[Config | None, Check]:
    """The settings that the service has, or those of `path`; None if they are no good."""
    name, file = "settings", path
    if file is None and machine.layout.config.exists():
        file = machine.layout.config
    try:
        config = load_config(file)
    except CfvggError as error:
        return None, failure(name, str(error), "mend the file, or run this with sudo if it may not be read")
    source = f"source {config.source.uri or 'not set'}, tracker {config.tracker.preset}"
    if not config.source.uri:
        return config, warning(name, f"{file or 'defaults'}: {source}", "set source.uri")
    return config, ok(name, f"{file or 'defaults'}: {source}")


def software_checks(machine: Machine, config: Config | None) -> Iterator[Check]:
    """Python, packages and the compiled core, as this process has them."""
    yield _python()
    yield _packages(config)
    yield _core()


def model_checks(config: Config | None) -> Iterator[Check]:
    """Opens the bundle as the tracker would: checksums, tensors, answers; then who computes it."""
    if config is None:
        yield skipped("model", "the settings are no good")
        return
    from edge_runtime.trackers import make_tracker  # noqa: PLC0415 (slow to import)

    try:
        features = None
        path = chosen_bundle(config)
        if path is not None:
            yield from _bundle(config, path)
            from edge_runtime.features import configured_features  # noqa: PLC0415

            features = configured_features(config)
        make_tracker(config, features)
    except CfvggError as error:
        what = error.what if error.where is None else f"{error.where}: {error.what}"
        yield failure("model", what, error.fix or "change model.bundle or the tracker's features")
        return
    if features is None:
        yield ok("model", f"tracker {config.tracker.preset} needs none")


def _bundle(config: Config, path: Path) -> Iterator[Check]:
    from edge_runtime.bundle import Bundle  # noqa: PLC0415
    from edge_runtime.features import chosen_dtype  # noqa: PLC0415
    from edge_runtime.interpreter import Interpreter  # noqa: PLC0415

    bundle = Bundle.open(path)
    dtype = chosen_dtype(config, bundle)
    size = bundle.manifest.models[dtype].fingerprint.size_px if dtype in bundle.models else 0
    interpreter = Interpreter(bundle.model(dtype), (1, size, size, 3))
    yield ok("model", f"{bundle.manifest.name} in {bundle.path}: checksums, tensors and test answers match")
    found = f"{dtype} ({config.model.dtype} in the settings), run by {interpreter.runtime}"
    if interpreter.delegated:
        yield ok("interpreter", f"{found}, all of it by XNNPACK")
    else:
        yield warning(
            "interpreter",
            f"{found}, not all of it by XNNPACK: several times as slow",
            "pip install -U ai-edge-litert; /proc/cpuinfo must be readable",
        )


def _python() -> Check:
    found = f"{platform.python_version()}, {platform.machine()}, {sys.executable}"
    first, last = PYTHONS
    if not first <= python_version() <= last:
        return failure("Python", found, f"use Python {first[0]}.{first[1]} to {last[0]}.{last[1]}: {VENV}")
    if sys.maxsize < 2**32:
        return failure("Python", f"{found}: 32 bit", "install a 64-bit Raspberry Pi OS")
    return ok("Python", found)


def python_version() -> tuple[int, int]:
    """Of the Python that runs this."""
    return sys.version_info[:2]


def _packages(config: Config | None) -> Check:
    needed = dict(NEEDED)
    if config is not None and asdict(config).get("mqtt", {}).get("host"):
        needed["paho.mqtt"] = ("paho-mqtt",)
    versions, missing = [f"cfvgg {_version('cfvgg') or 'unknown'}"], []
    for module, names in needed.items():
        found = next(((name, version) for name in names if (version := _version(name))), None)
        if found is not None:
            versions.append(" ".join(found))
        elif _imports(module):
            versions.append(f"{module} from the system")
        else:
            missing.append(names[0])
    runtimes = [f"{name} {version}" for name in RUNTIMES if (version := _version(name))]
    if not runtimes and config is not None and chosen_bundle(config) is not None:
        missing.append("ai-edge-litert")
    found_text = ", ".join(versions + runtimes)
    if missing:
        fix = f"{sys.executable} -m pip install {' '.join(missing)}"
        return failure("packages", f"missing: {', '.join(missing)}; there are {found_text}", fix)
    return ok("packages", found_text)


def _core() -> Check:
    try:
        core = importlib.import_module("edge_runtime.core")
    except CfvggError as error:
        return failure("core", error.what, error.fix or VENV)
    return ok("core", f"compiled, level {core.LEVEL} of {', '.join(core.LEVELS)}")


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _imports(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def needs_libcamera(config: Config | None) -> bool:
    """Whether frames come through picamera2."""
    return config is not None and source_kind(config.source.uri) == "picamera2"
