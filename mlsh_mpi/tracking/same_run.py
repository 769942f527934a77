"""Whether a new job continues the run in its folder: with the same settings, environment and software."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from mlsh_mpi.config.overrides import FIRST, first_iterations, with_first_iterations
from mlsh_mpi.config.settings import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.mpi.software import software
from mlsh_mpi.sampling.task_family import TaskFamily

OWN_UNITS = "in units of the environment"
"""Units of policies' actions in a bounded Box in earlier versions, and still where its half-width is 1."""


def changed_settings(earlier: Any, config: Config) -> list[str]:
    """A phrase for each changed setting that must not change; empty if there is none.

    Args:
        earlier: the configuration with which the run began, as plain values.
        config: the configuration of the new job.
    """
    plain = json.loads(json.dumps(dataclasses.asdict(config)))
    before, now = _flat(json.loads(json.dumps(earlier))), _flat(plain)
    before = _flat(dataclasses.asdict(type(config)())) | before if isinstance(earlier, dict) else before

    phrases = []
    for name in sorted({*before, *now}):
        if before.get(name) == now.get(name) or _may_change(name):
            continue

        # A length that only --iterations has shortened is not a change.
        first = name.removeprefix("hierarchy.")
        requested = first_iterations(plain, first) if first in FIRST else None
        if requested is not None and isinstance(earlier, dict) and first_iterations(earlier, first) == requested:
            continue

        phrase = f"{name} was {before.get(name)} and is now {now.get(name)}"
        if requested not in (None, now.get(name)):
            phrase += f", because --iterations shortens it: add --{first.replace('_', '-')} {before.get(name)}"
        phrases.append(phrase)
    return phrases


def check_same_settings(path: Path, earlier: Any, config: Config) -> None:
    """Refuses to continue a run with other settings.

    Raises:
        UserError: the message names the settings.
    """
    if changed := changed_settings(earlier, config):
        differences = "; ".join(changed[:5]) + (f"; and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise UserError(
            f"{path} holds a run with other settings ({differences}): start with those it had, add --fresh to move it aside and "
            "start over, or choose another --folder"
        )


def as_it_began(path: Path, earlier: Mapping[str, Any], config: Config) -> Config:
    """The configuration of the new job, but with as many first iterations of each kind as the run began with.

    They depend on the number of iterations, which may have changed; what has been trained already cannot change.

    Args:
        path: the run folder, for the message.
        earlier: the configuration with which the run began, as plain values; its other settings are the same.
        config: the configuration of the new job.

    Raises:
        UserError: they would be all iterations.
    """
    plain = dataclasses.asdict(config)
    lengths = {name: earlier.get("hierarchy", {}).get(name, getattr(config.hierarchy, name)) for name in FIRST}
    for name, length in lengths.items():
        if length != getattr(config.hierarchy, name) and length >= config.run.iterations:
            raise UserError(
                f"{path} holds a run that began with --{name.replace('_', '-')} {length}, which would be all of --iterations "
                f"{config.run.iterations}: use {length + 1} or more, or add --fresh to move it aside and start over"
            )
    return with_first_iterations(config, lengths, {name: first_iterations(plain, name) for name in FIRST})


def identity(family: TaskFamily, library: str) -> dict[str, Any]:
    """What a checkpoint is valid for: its environment, and the software that continues it bit for bit; and the offset that is
    subtracted from observations."""
    return {
        "environment": {
            "name": family.name,
            "observation_size": str(family.observation_size),
            "action_space": str(family.action_space),
            "actions": OWN_UNITS if family.actions.half_width is None else "in units of the half-width of their bounds",
            "episode_length": str(family.episode_length),
            "primitive_columns": str(family.primitive_columns.tolist()),
        },
        "offset": "" if family.offset is None else json.dumps(family.offset.tolist()),
        "software": software() | environment_source(family) | {"MPI": library},
    }


def offset_of(identity: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[Any]] | None:
    """The offset that a run subtracts from observations, given its identity: see :attr:`Interface.offset`."""
    text = identity.get("offset")
    return np.array(json.loads(text), np.float64) if text else None


def other_environment(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """A phrase for each changed property of the environment, by its name; empty if there is none.

    Args:
        before: what :func:`identity` returned when the run began.
        now: what it returns now.
    """
    was, is_now = ({"actions": OWN_UNITS} | each["environment"] for each in (before, now))
    return {name: f"{name} was {value} and is now {is_now.get(name)}" for name, value in was.items() if is_now.get(name) != value}


def check_same_environment(path: Path, before: Mapping[str, Any], now: Mapping[str, Any], tell: Callable[[str], None]) -> None:
    """Refuses to continue a run in another environment, and mentions changed software.

    Raises:
        UserError: the environment has changed, or the primitives of a test.
    """
    other = other_environment(before, now)
    if other.keys() == {"phi"}:
        raise UserError(
            f"{path} holds a test of these primitives as they were before they were trained further ({other['phi']}): "
            "add --fresh to move it aside and start over, or choose another --folder"
        )
    if other:
        raise UserError(
            f"{path} holds a run of another environment ({', '.join(other.values())}): add --fresh to move it aside and "
            "start over, or choose another --folder"
        )
    changed = [name for name, value in before["software"].items() if now["software"].get(name) != value]
    if changed:
        tell(
            f"the run continues with another version of {', '.join(changed)}: its results may differ from an uninterrupted run's"
        )


def environment_source(family: TaskFamily) -> dict[str, str]:
    """A fingerprint of the source files of the environment and of the wrappers around it, except Gymnasium's own: a user's files
    are in none of the packages whose versions are compared."""
    files: list[Path] = []
    env: Any = family.env
    while env is not None:
        if not type(env).__module__.startswith("gymnasium."):
            with suppress(TypeError, OSError):  # defined in an interpreter or a notebook
                files.append(Path(inspect.getsourcefile(type(env)) or ""))
        env = env.env if isinstance(env, gym.Wrapper) else None
    sources = [file.read_bytes() for file in dict.fromkeys(files) if file.is_file()]
    return {"the environment": hashlib.sha256(b"".join(sources)).hexdigest()[:16] if sources else ""}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """The settings of a nested object by their dotted names: hierarchy.warmup."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        name: item for key, inner in value.items() for name, item in _flat(inner, f"{prefix}.{key}" if prefix else key).items()
    }


def _may_change(name: str) -> bool:
    """Whether a setting may change when a run is resumed."""
    # A source is identified by its contents.
    return name.startswith(("run.", "test.updates", "source", "shortened")) and name != "run.seed"
