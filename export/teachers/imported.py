"""Any torch module as a teacher: named by import path, its levels by names of submodules."""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from edge_runtime.errors import ConfigError
from export.student import TEACHER_LEVELS
from export.teachers.base import Teacher, TeacherLevel
from export.teachers.geometry import measured_levels

# ImageNet's, as torchvision's and timm's networks have it, in 0..255.
MEAN_RGB = (0.485 * 255, 0.456 * 255, 0.406 * 255)
STD_RGB = (0.229 * 255, 0.224 * 255, 0.225 * 255)


class ImportedTeacher(Teacher):
    """Outputs of submodules of a network; the first call counts where a submodule is called repeatedly.

    Each level's submodule must give a (n, channels, rows, columns) tensor. The network runs only as far as
    the last of them, so that a classifier behind it may want any input size. Its input is RGB divided by
    255 and normalised by ImageNet's mean and deviation, or (rgb - mean_rgb) / std_rgb in 0..255 where the
    network has attributes `mean_rgb` and `std_rgb`, three numbers each. Stride, channels and centres of
    each level are measured (`measured_levels`).

    Args:
        network: is frozen.
        submodules: their names, by level.
        source: import path, for messages and provenance.

    Raises:
        ConfigError: no such submodule, or its output is no feature map (4-D, growing with the input, of
            cells that see a part of it), or the mean and deviation are not three numbers each.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, submodules: dict[str, str], source: str) -> None:
        super().__init__(source, source, {})
        self.network = network.float()
        self.freeze()
        names = [name for name, _ in network.named_modules(remove_duplicate=False) if name]
        for level, name in submodules.items():
            if name not in names:
                raise ConfigError(
                    f"the network has no submodule {name!r} for the {level} level",
                    where=source,
                    fix=_did_you_mean(name, names),
                )
        self.submodules = {level: submodules[level] for level in TEACHER_LEVELS if level in submodules}
        mean, std = _input_statistics(network, source)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)
        self.levels: dict[str, TeacherLevel] = measured_levels(self.forward, self.submodules, source)

    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        """Features, see `Teacher.forward`. Raises `ConfigError` when a submodule gives none."""
        found: dict[str, Any] = {}
        with contextlib.ExitStack() as hooks:
            for level, name in self.submodules.items():
                keep = functools.partial(self._keep, found, level)
                hooks.callback(self.network.get_submodule(name).register_forward_hook(keep).remove)
            with contextlib.suppress(_AllFoundError):
                self.network((rgb - self.mean) / self.std)
        for level, name in self.submodules.items():
            where = f"{self.source}: {name}"
            fix = f"choose another submodule for the {level} level"
            if level not in found:
                raise ConfigError("does not run in the network's forward pass", where=where, fix=fix)
            if not isinstance(found[level], Tensor) or found[level].ndim != 4:
                raise ConfigError(
                    f"gives {_described(found[level])}, no 4-D feature map", where=where, fix=fix
                )
        return {level: found[level].float() for level in self.submodules}

    def _keep(self, found: dict[str, Any], level: str, _module: nn.Module, _input: Any, output: Any) -> None:
        # A clone, because the next layer may be a ReLU that works in place.
        found.setdefault(level, output.clone() if isinstance(output, Tensor) else output)
        if len(found) == len(self.submodules):
            raise _AllFoundError


class _AllFoundError(Exception):
    """Ends a forward pass that has given all levels."""


def load_imported(path: str, levels: str | None) -> ImportedTeacher:
    """A network by its import path. What is imported is run: use code that you trust.

    Args:
        path: `package.module:factory`; a callable without arguments that returns an `nn.Module`, such a
            class, or a module itself. The package must be importable (installed, or on PYTHONPATH).
        levels: `low=SUBMODULE,middle=SUBMODULE,high=SUBMODULE`, or some of these.

    Raises:
        ConfigError: the import fails, what is imported is no network, or see `ImportedTeacher`.
    """
    submodules = parse_level_map(levels, path)
    return ImportedTeacher(_import_network(path), submodules, path)


def parse_level_map(text: str | None, where: str) -> dict[str, str]:
    """Submodule names by level.

    Raises:
        ConfigError: there is none, a level is unknown or named twice, or a name is missing.
    """
    fix = "give low=SUBMODULE,middle=SUBMODULE,high=SUBMODULE, or some of these"
    found: dict[str, str] = {}
    for part in text.split(",") if text else []:
        level, _, name = (word.strip() for word in part.partition("="))
        if level not in TEACHER_LEVELS:
            raise ConfigError(f"level map {text!r} has an unknown level {level!r}", where=where, fix=fix)
        if level in found or not name:
            what = "two submodules" if level in found else "no submodule"
            raise ConfigError(f"level map {text!r} has {what} for {level}", where=where, fix=fix)
        found[level] = name
    if not found:
        raise ConfigError("needs to know which submodules are its levels", where=where, fix=fix)
    return found


def _import_network(path: str) -> nn.Module:
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the imported code may raise anything
        raise ConfigError(
            f"cannot be imported ({type(error).__name__}: {error})",
            where=path,
            fix="install it, or put its folder on PYTHONPATH",
        ) from error
    try:
        found = functools.reduce(getattr, attribute.split("."), module)
    except AttributeError as error:
        raise ConfigError(
            f"{module_name} has no {attribute!r}", where=path, fix=_did_you_mean(attribute, dir(module))
        ) from error
    if not isinstance(found, nn.Module):
        try:
            found = found()  # type: ignore[operator]  # whatever it is; what cannot be called is reported
        except Exception as error:  # the same
            raise ConfigError(
                f"cannot be called without arguments ({type(error).__name__}: {error})",
                where=path,
                fix="write a function that returns the network with its weights",
            ) from error
    if not isinstance(found, nn.Module):
        what = f"gives {_described(found)}, no torch.nn.Module"
        raise ConfigError(what, where=path, fix="write a function that returns the network")
    return found


def _input_statistics(network: nn.Module, where: str) -> tuple[Tensor, Tensor]:
    mean, std = (getattr(network, name, None) for name in ("mean_rgb", "std_rgb"))
    if mean is None and std is None:
        mean, std = MEAN_RGB, STD_RGB
    fix = "set mean_rgb and std_rgb to three numbers each, for RGB 0..255, or neither for ImageNet's"
    try:
        found = [torch.as_tensor(v, dtype=torch.float32).reshape(3, 1, 1).clone() for v in (mean, std)]
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"mean_rgb is {mean!r}, std_rgb {std!r}", where=where, fix=fix) from error
    if not (torch.isfinite(torch.stack(found)).all() and (found[1] > 0).all()):
        raise ConfigError(f"mean_rgb is {mean!r}, std_rgb {std!r}", where=where, fix=fix)
    return found[0], found[1]


def _did_you_mean(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.0)
    return f"did you mean {near[0]!r}?" if near else "it has none"


def _described(value: Any) -> str:
    return (
        f"a tensor of shape {tuple(value.shape)}"
        if isinstance(value, Tensor)
        else f"an object of type {type(value).__name__}"
    )
