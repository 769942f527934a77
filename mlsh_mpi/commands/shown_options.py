"""Which options a command's help shows: those that have an effect there, or those that most users need."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro

from mlsh_mpi.config.parsing import HELP_FLAGS
from mlsh_mpi.config.settings import PREFIXED, flat

Command = TypeVar("Command")
MOST_NEEDED = tuple("env seed iterations folder groups workers primitives macro_length warmup joint fresh".split())
"""Options that `mlsh train -h` shows."""
ON_ONE_SCREEN = (
    "Trains the preset (moving-bandits by default). --list shows all presets, baselines and environments, --help all options."
)


def hide_training_options(command: Command, arguments: Sequence[str], meaningless: Mapping[str, Sequence[str]]) -> Command:
    """The command as it is or, if the arguments ask for help, without the options that have no effect there."""
    if not HELP_FLAGS & set(arguments):
        return command
    settings: Any = command.settings  # type: ignore[attr-defined]
    shown = {
        name: _hiding(getattr(settings, name), {option: getattr(getattr(settings, name), option) for option in options})
        for name, options in meaningless.items()
    }
    hidden: Command = _hiding(command, {}, settings=_hiding(settings, {}, **shown))
    return hidden


def most_needed(command: Command) -> Command:
    """The command with only the options that most users need."""
    settings: Any = command.settings  # type: ignore[attr-defined]
    shown = {
        name: _hiding(section, {option: value for option, value in vars(section).items() if option not in MOST_NEEDED})
        for name, section in vars(settings).items()
        if dataclasses.is_dataclass(section)
    }
    others = {name: value for name, value in vars(command).items() if name not in ("settings", *MOST_NEEDED)}
    short: Command = _hiding(command, others, settings=_hiding(settings, {}, **shown))
    return short


def _hiding(value: Any, hidden: Mapping[str, Any], **others: Any) -> Any:
    """A copy of a dataclass instance, of a new type that hides some fields from the command line and replaces others."""
    types = get_type_hints(type(value), include_extras=True)
    suppressed: Any = tyro.conf.Suppress
    fields = [(name, suppressed[types[name]], dataclasses.field(default=item)) for name, item in hidden.items()]
    for name, item in others.items():
        mark = tyro.conf.arg(name="") if name == "settings" else flat
        prefixed = type(item) if name in PREFIXED else Annotated[type(item), mark]
        fields.append((name, prefixed, dataclasses.field(default=item)))
    kind = dataclasses.make_dataclass(type(value).__name__, fields, bases=(type(value),), frozen=True)
    return kind(**(vars(value) | hidden | others))
