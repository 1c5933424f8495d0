"""Teachers: frozen networks, all behind one interface (`export.teachers.base.Teacher`)."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

from edge_runtime.errors import ConfigError
from export.teachers.base import Teacher
from export.teachers.caffe import tensor_names
from export.teachers.googlenet import load_googlenet
from export.teachers.imported import load_imported
from export.teachers.squeezenet import load_squeezenet
from export.teachers.vgg_m import load_cf_vgg, load_vgg_m

LOADERS: dict[str, Callable[[Path], Teacher]] = {
    "squeezenet": load_squeezenet,
    "googlenet": load_googlenet,
    "vgg-m": load_vgg_m,
    "cf-vgg": load_cf_vgg,
}
FORMS = f"give NAME=FILE with a NAME of {', '.join(LOADERS)}, or package.module:factory"


def load_teacher(spec: str, levels: str | None = None) -> Teacher:
    """A teacher by what users call it.

    Args:
        spec: `squeezenet=FILE` or `googlenet=FILE` (.npz), `vgg-m=FILE` (MatConvNet's .mat), `cf-vgg=FILE`
            (a student of any width, .mat or .safetensors), or `package.module:factory`, which is imported
            and run (`export.teachers.imported`).
        levels: `low=SUBMODULE,middle=SUBMODULE,high=SUBMODULE`, or some of these; for imported networks,
            and for them only.

    Raises:
        ConfigError: the spec or the level map is not of these forms, or the network cannot be imported or
            is no teacher.
        WeightsError: the file is missing, damaged, or of another network.
    """
    name, equals, file = spec.partition("=")
    if not equals and ":" in spec:
        return load_imported(spec, levels)
    if not equals or not file:
        raise ConfigError(f"teacher {spec!r} is no network", fix=FORMS)
    if name not in LOADERS:
        near = difflib.get_close_matches(name, LOADERS, n=1)
        fix = f"did you mean {near[0]}={file}?" if near else FORMS
        raise ConfigError(f"teacher {spec!r} has an unknown name {name!r}", fix=fix)
    if levels:
        raise ConfigError(f"{name} has its own levels, not {levels!r}", fix="leave the level map out")
    return LOADERS[name](Path(file))


def load_npz_teacher(path: Path) -> Teacher:
    """SqueezeNet or GoogLeNet, whichever the .npz holds.

    Raises:
        WeightsError: the file is missing, damaged, or of another network.
    """
    is_googlenet = "conv1/7x7_s2.weight" in tensor_names(path)
    return load_googlenet(path) if is_googlenet else load_squeezenet(path)
