"""Settings as text, TOML files and `KEY=VALUE`, on their way into frozen dataclasses and back."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

NOT_PLAIN = re.compile(r"[^ -~]")


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file. Raises `ConfigError` when it cannot be read or is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=path) from error
    except (ValueError, RecursionError) as error:  # of which TOMLDecodeError is one
        raise ConfigError(f"is not TOML ({error})", where=path) from error


def overridden(data: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested tables with values put in by dotted names ("source.uri").

    Raises:
        ConfigError: a name leads through something that is no table.
    """
    merged = copy.deepcopy(dict(data))
    for name, value in overrides.items():
        *tables, key = name.split(".")
        target = merged
        for table in tables:
            target = target.setdefault(table, {})
            if not isinstance(target, dict):
                raise ConfigError(f"unknown key {name!r}", where="command line", fix=f"{table!r} is no table")
        target[key] = value
    return merged


def parse_assignment(text: str, example: str) -> dict[str, Any]:
    """`KEY=VALUE` of the option --set: the value as in TOML, or else a string.

    Raises:
        ConfigError: there is no key or no equals sign; `example` is a good assignment.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text!r} is not KEY=VALUE", fix=f"for example --set {example}")
    try:
        return {key.strip(): tomllib.loads(f"value = {value}")["value"]}
    except (ValueError, RecursionError):
        return {key.strip(): value}


def require(name: str, value: object, good: bool, allowed: str) -> None:
    """Raise `ConfigError` about a setting unless it is `good`."""
    if not good:
        raise ConfigError(f"{name} = {json.dumps(value)} is not allowed", fix=f"use {allowed}")


def to_toml(settings: DataclassInstance) -> str:
    """Settings as TOML text that `read_toml` and `structure` read back to equal ones."""
    return "\n".join(_toml_lines(dataclasses.asdict(settings), ())).lstrip("\n") + "\n"


def _toml_lines(table: dict[str, Any], name: tuple[str, ...]) -> Iterator[str]:
    values = {key: value for key, value in table.items() if not isinstance(value, dict)}
    if values:
        yield from ("", f"[{'.'.join(name)}]")
    for key, value in values.items():
        yield f"{key} = {_toml_value(value)}"
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _toml_lines(value, (*name, key))


def _toml_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, float):
        return repr(value)  # nan and inf are TOML's words too
    # JSON's strings, integers and booleans are TOML's as well, but for DEL, which it leaves as it is.
    text = json.dumps(value, ensure_ascii=False)
    return NOT_PLAIN.sub(lambda found: f"\\U{ord(found[0]):08x}", text)
