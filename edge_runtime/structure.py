"""Plain data (TOML, JSON) into frozen dataclasses, strictly, with errors that name the field."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import dacite

from edge_runtime.errors import CfvggError

T = TypeVar("T")


def structure(kind: type[T], data: Any, where: str | Path, error: type[CfvggError]) -> T:
    """`data` as an instance of the dataclass `kind`.

    Raises:
        CfvggError: of type `error`, when a key is unknown (the nearest valid one is named), missing,
            or its value has another type.
    """
    if not isinstance(data, dict):
        raise error(f"must be a table of settings, is {type(data).__name__}", where=where)
    config = dacite.Config(strict=True, type_hooks={float: _real, int: _whole})
    try:
        tuples = _tuples(data)
    except RecursionError as deep:
        raise error("is nested too deeply", where=where) from deep
    try:
        return dacite.from_dict(kind, tuples, config)
    except dacite.UnexpectedDataError as unexpected:
        key = min(unexpected.keys)
        table = next(_tables_with(key, kind, data, ""), "")
        raise error(f"unknown key {key!r}", where=where, fix=_suggestion(key, kind, table)) from unexpected
    except dacite.MissingValueError as missing:
        raise error(f"key {missing.field_path!r} is missing", where=where) from missing
    except dacite.WrongTypeError as wrong:
        expected = getattr(wrong.field_type, "__name__", str(wrong.field_type))
        if typing.get_origin(wrong.field_type) is not None:
            expected = str(wrong.field_type).replace("typing.", "")
        if typing.get_origin(wrong.field_type) is typing.Literal:
            expected = "one of " + ", ".join(map(repr, typing.get_args(wrong.field_type)))
        given = _given(data, wrong.field_path or "", wrong.value)
        raise error(
            f"{wrong.field_path} = {_shown(given)} has the wrong type", where=where, fix=f"use {expected}"
        ) from wrong
    except (dacite.DaciteError, TypeError, ValueError) as other:
        raise error(str(other), where=where) from other


def field_names(kind: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of every setting of a dataclass and of the dataclasses inside it."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from field_names(hint, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def _suggestion(key: str, kind: Any, table: str) -> str:
    """The nearest name of the table that the key stands in, else of all."""
    names = [*field_names(kind), *(field.name for field in dataclasses.fields(kind))]
    beside = [name for name in names if name.rpartition(".")[0] == table]
    for candidates, cutoff in ((beside, 0.6), (names, 0.0)):
        by_last_part = {name.rsplit(".", 1)[-1]: name for name in candidates}
        near = difflib.get_close_matches(key, by_last_part, n=1, cutoff=cutoff)
        if near:
            return f"did you mean {by_last_part[near[0]]!r}?"
    return "remove it"


def _tables_with(key: str, kind: Any, data: Any, name: str) -> Iterator[str]:
    """Dotted names of the tables in `data` that hold an unknown `key`."""
    if not isinstance(data, dict) or not dataclasses.is_dataclass(kind):
        return
    hints = typing.get_type_hints(kind)
    if key in data and key not in hints:
        yield name
    for field, hint in hints.items():
        yield from _tables_with(key, hint, data.get(field), f"{name}.{field}".lstrip("."))


def _given(data: Any, path: str, value: Any) -> Any:
    """What stands at a dotted path; `value`, which may be half converted, if nothing does."""
    for key in path.split("."):
        if not isinstance(data, dict) or key not in data:
            return value
        data = data[key]
    return _tuples(data)


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.60}"
    except ValueError:  # Python does not write integers of thousands of digits
        return "an endless number"


def _tuples(value: Any) -> Any:
    """Lists as tuples, throughout: frozen dataclasses hold no lists."""
    if isinstance(value, dict):
        return {k: _tuples(v) for k, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _real(value: Any) -> Any:
    # TOML and JSON write whole floats as integers; a boolean is an int to Python but not to a person.
    if not isinstance(value, int) or isinstance(value, bool):
        return _whole(value)
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(f"{_shown(value)} is too large for a number") from error


def _whole(value: Any) -> Any:
    if isinstance(value, bool):
        raise TypeError(f"{str(value).lower()} is given where a number belongs")
    return value
