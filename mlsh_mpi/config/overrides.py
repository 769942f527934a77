"""Configurations from what users write: keyword options and JSON files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

import mlsh_envs
from mlsh_mpi import files
from mlsh_mpi.config.earlier_names import present_options, present_settings
from mlsh_mpi.config.settings import PREFIXED, Config
from mlsh_mpi.errors import UserError, nearest

FIRST = ("whole_episode_iterations", "random_master_iterations")
"""Settings of the hierarchy that say how many of the first iterations are special: less than all."""


def with_options(config: Config, options: Mapping[str, Any]) -> Config:
    """The configuration with some settings replaced: ``{"iterations": 30, "primitive_lam": 0.9, "master": {"memory": 5}}``.

    A name is that of a setting, with the prefix ``master_`` or ``primitive_`` if both have it, or that of a dataclass of
    settings, whose value is then a mapping or the dataclass itself.

    Raises:
        UserError: no dataclass of settings, or more than one, has a field of that name, or the value is of the wrong type.
    """
    sections: dict[str, Any] = {name: value for name, value in vars(config).items() if dataclasses.is_dataclass(value)}
    for name, value in present_options(options).items():
        section, _, rest = name.partition("_")
        if section in PREFIXED and rest and not hasattr(config.environment, name):  # not primitive_columns
            sections[section] = _replaced(sections[section], {rest: value}, name)
        elif name in sections and dataclasses.is_dataclass(value):
            sections[name] = value
        elif name in sections and isinstance(value, Mapping):
            sections[name] = _replaced(sections[name], value, name)
        else:
            owner = _owner(sections, name)
            sections[owner] = _replaced(sections[owner], {name: value}, "")
    return dataclasses.replace(config, **sections)


def for_environment(config: Config, env: str | None, **also: Any) -> Config:
    """The configuration for `env`: for an environment of the user's own, without settings that only the configured one knows.

    Args:
        config: the configuration of another environment, or of the same.
        env: the environment's name; None for that of the configuration.
        also: further fields of the environment's section to replace in that case.
    """
    if env in (None, config.environment.env) or _is_one_of_ours(str(env)):
        return config
    return dataclasses.replace(
        config, environment=dataclasses.replace(config.environment, env_settings=(), task_settings=(), **also)
    )


def _is_one_of_ours(env: str) -> bool:
    """Whether an environment takes the settings that all worlds of this project share, or says which it does not take."""
    others = mlsh_envs.BENCHMARKS.keys() | mlsh_envs.PACKAGES.keys()
    return env.startswith(("mlsh/", "mlsh_envs:")) and env.rpartition("/")[2].partition("-")[0] not in others


def fitted(config: Config, default: Config) -> Config:
    """Shortens the first iterations (:data:`FIRST`) in proportion to --iterations, where they would otherwise be all of them.

    Args:
        config: the requested configuration.
        default: the preset that it was made from.
    """
    iterations, shorter = config.run.iterations, {}
    requested = {name: first_iterations(dataclasses.asdict(config), name) for name in FIRST}
    for name in FIRST:
        first = getattr(config.hierarchy, name)
        if first != getattr(default.hierarchy, name):  # set by hand
            requested[name] = first
        elif first >= iterations:
            shorter[name] = first * iterations // default.run.iterations
    return with_first_iterations(config, shorter, requested)


def first_iterations(config: Mapping[str, Any], name: str) -> Any:
    """The requested length of one of :data:`FIRST`, before shortening, given a configuration as plain values."""
    requested = dict(text.split("=", 1) for text in config.get("shortened", ()))
    return int(requested[name]) if name in requested else config.get("hierarchy", {}).get(name)


def with_first_iterations(config: Config, lengths: Mapping[str, Any], requested: Mapping[str, int]) -> Config:
    """The configuration with other lengths of :data:`FIRST`; `shortened` records the requested ones that differ."""
    hierarchy = dataclasses.replace(config.hierarchy, **lengths)
    shortened = tuple(f"{name}={requested[name]}" for name in FIRST if getattr(hierarchy, name) != requested[name])
    return dataclasses.replace(config, hierarchy=hierarchy, shortened=shortened)


def _owner(sections: Mapping[str, Any], name: str) -> str:
    """The name of the only section that has a field of this name."""
    owners = [section for section, fields in sections.items() if hasattr(fields, name)]
    if len(owners) == 1:
        return owners[0]
    if owners:
        raise UserError(
            f"option {name!r} belongs to {' and '.join(owners)}: pass {owners[0]}_{name}=... or {owners[1]}_{name}=..."
        )
    every = [field for section, fields in sections.items() for field in _named(section, vars(fields))]
    raise UserError(f"there is no option {name!r}{nearest(name, every)}")


def _named(section: str, fields: Iterable[str]) -> list[str]:
    return [f"{section}_{field}" if section in PREFIXED else field for field in fields]


def _replaced(owner: Any, values: Mapping[str, Any], path: str) -> Any:
    """A section with some fields replaced; lists become tuples."""
    types = get_type_hints(type(owner))
    replaced = {}
    for name, value in values.items():
        where = path if path.endswith(name) else f"{path}.{name}" if path else name
        if name not in types:
            raise UserError(f"there is no option {where!r}{nearest(name, list(types))}")
        replaced[name] = _as_plain(value)
        if not _fits(replaced[name], types[name]):
            raise UserError(f"option {where!r} is {value!r}, which is of the wrong type; {getattr(owner, name)!r} would do")
    return dataclasses.replace(owner, **replaced)


def _as_plain(value: Any) -> Any:
    """Lists as tuples, NumPy's numbers as Python's, and paths as text."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return tuple(map(_as_plain, value)) if isinstance(value, (list, tuple)) else value


def read_config(path: Path, *, trust: bool = False) -> Config:
    """Reads a configuration from a JSON file.

    Args:
        path: the file.
        trust: whether it may name a run folder anywhere, and not only below the current folder.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    try:
        value = files.read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"--config {path} cannot be read as JSON: {error}") from None
    config = from_dict(value, str(path))
    folder = Path(config.run.folder or "")
    if not trust and (folder.is_absolute() or ".." in folder.parts):
        raise UserError(
            f"--config {path} may name a run folder below this one, but names {folder}: take that out of the file and name it "
            "with --folder if you mean it, or add --trust if you trust the file"
        )
    return config


def from_dict(value: Any, source: str) -> Config:
    """The inverse of ``dataclasses.asdict``, for a value read from a file.

    Raises:
        UserError: `source` holds something that is not a setting, or a value of the wrong type or out of bounds.
    """
    config: Config = _filled(Config(), present_settings(value), source, "")
    try:
        config.check_values()
    except UserError as error:
        raise UserError(f"{source} cannot be used: {error}") from None
    return config


def _filled(default: Any, value: Any, source: str, path: str) -> Any:
    """A dataclass in which the fields that a JSON object names are replaced."""
    if not isinstance(value, dict):
        raise UserError(f"{source} must hold an object{path and f' for {path}'}, but holds {value!r}")

    types = get_type_hints(type(default))
    replaced = {}
    for name, item in value.items():
        where = f"{path}.{name}" if path else name
        if name not in types:
            raise UserError(f"{source} has {where!r}, which is not a setting of this version")

        current = getattr(default, name)
        if dataclasses.is_dataclass(current):
            replaced[name] = _filled(current, item, source, where)
            continue

        item = tuple(item) if isinstance(item, list) else item
        if not _fits(item, types[name]):
            raise UserError(f"{source} gives {where} the value {item!r}, which is of the wrong type; {current!r} would do")
        replaced[name] = item

    return dataclasses.replace(default, **replaced)


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a value is of an annotated type, as far as the settings here need it."""
    origin, arguments = get_origin(annotation), get_args(annotation)

    if origin in (Union, UnionType):
        return any(_fits(value, argument) for argument in arguments)

    if origin is Literal:
        return value in arguments

    if origin is tuple:
        any_length = arguments[-1] is Ellipsis
        return (
            isinstance(value, tuple)
            and (any_length or len(value) == len(arguments))
            and all(_fits(item, arguments[0]) for item in value)
        )

    if isinstance(value, bool) or annotation is bool:
        return isinstance(value, bool) and annotation is bool
    return isinstance(value, (int, float) if annotation is float else annotation)
