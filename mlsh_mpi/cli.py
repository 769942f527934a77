"""The command line: a preset and overrides, and one clear sentence for each mistake. Only rank 0 imports and uses it."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro

from mlsh_mpi.agents.shipped import all_shipped
from mlsh_mpi.config import methods
from mlsh_mpi.config.adaptation import AdaptConfig, Film, Test
from mlsh_mpi.config.baselines import BASELINES
from mlsh_mpi.config.overrides import fitted, for_environment, from_dict
from mlsh_mpi.config.presets import DEFAULT_PRESET, PRESETS, begins_with, config_for, preset_config, smoke
from mlsh_mpi.config.settings import PREFIXED, Config
from mlsh_mpi.errors import UserError, nearest
from mlsh_mpi.output import discard, say
from mlsh_mpi.sampling.environment_maker import known_environments

MEANINGLESS: dict[str, tuple[str, ...]] = {
    "algorithm": ("algorithm", "trial"),
    "hierarchy": ("primitives", "warmup", "joint", "learn_from_explored", "forming_iterations", "uniform_iterations"),
    "sampling": ("groups", "workers", "deal_tasks"),
    "network": ("hidden", "filter_observations"),
    "run": ("iterations", "stop_when"),
    "environment": ("primitive_columns",),
}
"""Options of training that have no meaning once it is over, by concern."""
DESCRIBING = {"-h", "--help", "--tyro-print-completion", "--tyro-write-completion"}
"""Arguments that ask for all options."""
INSTEAD = {
    "groups": ", and use --test-masters",
    "workers": ", and use --steps",
    "iterations": ", and use --updates",
}


@dataclass(frozen=True)
class CommandLine:
    """What may follow the preset."""

    settings: Annotated[Config, tyro.conf.arg(name="")]
    list: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show presets and environments, then exit."""
    print_config: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the resolved configuration as JSON, then exit."""
    config: Path | None = None
    """Start from this JSON file (as --print-config shows it, or a run's config.json) instead of a preset."""
    fresh: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Move an earlier run in the same folder aside and start over."""
    smoke: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Try the whole run, from training to the final test, in a size that takes half a minute."""


@dataclass(frozen=True)
class AdaptCommandLine:
    """What may follow the run, phi or preset."""

    settings: Annotated[AdaptConfig, tyro.conf.arg(name="")]
    fresh: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Move an earlier test in the same folder aside and start over."""


@dataclass(frozen=True)
class ReplayCommandLine:
    """What may follow the run, phi or preset, for a film."""

    settings: Annotated[AdaptConfig, tyro.conf.arg(name="")]
    film: Annotated[Film, tyro.conf.arg(name="")] = field(default_factory=Film)


Command = TypeVar("Command", CommandLine, AdaptCommandLine, ReplayCommandLine)


def parse_train_args(arguments: Sequence[str]) -> tuple[Config, bool] | None:
    """The configuration that a command line asks to run, and whether to start over; None after it has only shown something.

    Raises:
        UserError: an unknown preset, option or value.
    """
    command = parse(arguments)
    if command.list or command.print_config:
        say(listing() if command.list else json.dumps(dataclasses.asdict(command.settings), indent=2))
        return None
    preset = command.settings.preset
    if arguments and arguments[0].startswith("-") and command.config is None and not preset.startswith(DEFAULT_PRESET):
        say(begins_with(command.settings.environment.env, preset))
    return command.settings, command.fresh


def parse(arguments: Sequence[str]) -> CommandLine:
    """Parses [PRESET] [--options]. Without a preset's name it is that of the environment, if there is one.

    Raises:
        UserError: an unknown preset, option or value.
    """
    rest = list(arguments)
    preset = rest.pop(0) if rest and not rest[0].startswith("-") else None
    start, _ = _what_to_start_from().parse_known_args(rest)
    base = config_for(preset, start.env)
    if start.config is not None:
        base = read_config(start.config)
    if "--smoke" in rest:
        base = smoke(base)
    command = _parsed(CommandLine(base), rest, "mlsh train [PRESET]", listing())
    return dataclasses.replace(command, settings=fitted(command.settings, base))


def parse_adapt_args(arguments: Sequence[str]) -> tuple[AdaptConfig, bool]:
    """Parses RUN_OR_PHI [--options], or PRESET --method [--options] for methods that need no training run.

    Returns:
        The test's configuration, and whether to start over.

    Raises:
        UserError: there is nothing to test, or an option or value is unknown or has no meaning here.
    """
    default, rest = _source(arguments)
    about = "How fast new tasks are learned with what training left."
    command = _parsed(_helpful(AdaptCommandLine(default), rest), rest, "mlsh adapt RUN_OR_PHI", about)
    return _checked(default, command.settings), command.fresh


def parse_replay_args(arguments: Sequence[str]) -> tuple[AdaptConfig, Film]:
    """Parses the same for a film.

    Raises:
        UserError: as :func:`parse_adapt_args`.
    """
    default, rest = _source(arguments)
    about = "Episodes before and after learning a task, as a film."
    command = _parsed(_helpful(ReplayCommandLine(default), rest), rest, "mlsh replay RUN_OR_PHI", about)
    return _checked(default, command.settings), command.film


def _source(arguments: Sequence[str]) -> tuple[AdaptConfig, list[str]]:
    """The configuration that the first argument names, as the default of all options; and the other arguments."""
    rest = list(arguments)
    source = rest.pop(0) if rest and not rest[0].startswith("-") else None
    if source is None and not DESCRIBING & set(rest):
        raise UserError(
            "name a run folder or its phi.pt, such as runs/moving-bandits-seed0; shipped primitives, "
            "such as ant-twowalk; or a preset and --method scratch"
        )
    if source and not _is_path(source) and not set(methods.UNTRAINED) & set(rest):
        source = str(all_shipped().get(source, source))  # shipped primitives may have the name of their preset
    start, _ = _what_to_start_from().parse_known_args(rest)
    base, hierarchy = preset_config(DEFAULT_PRESET), None
    if source and _is_path(source):
        from mlsh_mpi.agents.hierarchy import phi_in, read_hierarchy  # imports torch

        base = for_environment(phi_in(Path(source)).config, start.env)
        hierarchy = read_hierarchy(Path(source)) if Path(source).is_file() else None
    elif source:
        base = config_for(source, start.env)
    fields = {field.name: getattr(base, field.name) for field in dataclasses.fields(Config)}
    fields["hierarchy"] = dataclasses.replace(base.hierarchy, forming_iterations=0, uniform_iterations=0)
    if hierarchy is not None:
        fields["hierarchy"] = dataclasses.replace(fields["hierarchy"], macro_length=hierarchy["macro_length"])
        fields["test"] = Test(task=(hierarchy["task"],))
    fields["run"] = dataclasses.replace(base.run, folder=None, stop_when=None, time_limit=None)
    fields["shortened"] = ()
    return AdaptConfig(**fields, source=source or ""), rest


def _is_path(source: str) -> bool:
    return Path(source).exists() or os.sep in source


def _checked(default: AdaptConfig, config: AdaptConfig) -> AdaptConfig:
    untrained = methods.method_of(config) in methods.UNTRAINED
    for concern, names in MEANINGLESS.items():
        if untrained and concern in ("network", "environment"):
            continue
        for name in names:
            if getattr(getattr(default, concern), name) != getattr(getattr(config, concern), name):
                option, instead = name.replace("_", "-"), INSTEAD.get(name, "")
                raise UserError(f"--{option} is a matter of training, which is over: leave it out{instead}")
    if config.test.held_out and config.test.task:
        raise UserError("--held-out and --task both say which tasks are learned: leave one of them out")
    if not _is_path(config.source) and not untrained:
        raise UserError(
            f"{config.source} is a preset, with nothing trained: name a run folder or its phi.pt, shipped primitives "
            f"({', '.join(all_shipped())}), or add --method "
            f"{' or '.join(methods.UNTRAINED)}"
        )
    return methods.resolved(config)


def _helpful(command: Command, arguments: Sequence[str]) -> Command:
    """The same, but where all options are asked for, without those that mean nothing once training is over."""
    if not DESCRIBING & set(arguments):
        return command
    settings = command.settings
    shown = {
        name: _suppressing(getattr(settings, name), {option: getattr(getattr(settings, name), option) for option in options})
        for name, options in MEANINGLESS.items()
    }
    return _suppressing(command, {}, settings=_suppressing(settings, {}, **shown))


def _suppressing(value: Any, hidden: Mapping[str, Any], **others: Any) -> Any:
    """A dataclass's instance of a type of its own that hides some fields from the command line, and has others replaced."""
    types = get_type_hints(type(value), include_extras=True)
    suppressed: Any = tyro.conf.Suppress
    fields = [(name, suppressed[types[name]], dataclasses.field(default=item)) for name, item in hidden.items()]
    for name, item in others.items():
        prefixed = Annotated[type(item), tyro.conf.arg(name="")] if name not in PREFIXED else type(item)
        fields.append((name, prefixed, dataclasses.field(default=item)))
    kind = dataclasses.make_dataclass(type(value).__name__, fields, bases=(type(value),), frozen=True)
    return kind(**(vars(value) | hidden | others))


def _parsed(default: Command, arguments: Sequence[str], prog: str, description: str) -> Command:
    heard = io.StringIO()
    try:
        with contextlib.nullcontext() if DESCRIBING & set(arguments) else contextlib.redirect_stderr(heard):
            return tyro.cli(type(default), default=default, args=arguments, prog=prog, description=description)
    except BrokenPipeError:  # whoever read the help has seen enough
        discard(sys.stdout)
        sys.exit()
    except SystemExit:
        if not heard.getvalue():
            raise
        raise UserError(_sentence(heard.getvalue(), arguments, type(default))) from None


def _what_to_start_from() -> argparse.ArgumentParser:
    """A parser for --config FILE and --env ID only: they say with which defaults everything is parsed afterwards."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", type=Path, nargs="?")
    parser.add_argument("--env", nargs="?")
    return parser


def read_config(path: Path) -> Config:
    """Reads a configuration from a JSON file.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--config {path} cannot be read as JSON: {error}") from None
    return from_dict(value, str(path))


def listing() -> str:
    """The presets, baselines and environments, as text."""
    presets = [f"  {name:28}{preset.summary}" for name, preset in PRESETS.items()]
    baselines = [f"  -{name:27}{baseline.summary}" for name, baseline in BASELINES.items()]
    environments = [f"  {name}" for name in known_environments()]
    behind = "Baselines (behind any preset's name, as in moving-bandits-shared):"
    yours = "Environments (or any --env module:Class of yours):"
    return "\n".join(["Presets:", *presets, "", behind, *baselines, "", yours, *environments])


def _sentence(box: str, arguments: Sequence[str], command: type) -> str:
    """Tyro's boxed message as one sentence, with the nearest option where one is mistyped."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)  # a launcher may give its ranks a terminal, where tyro uses colours
    lines = [line.strip("│ ") for line in plain.splitlines() if line.startswith("│")]
    end = next((i for i, line in enumerate(lines) if line.startswith("──")), len(lines))
    sentence = " ".join(lines[:end]).rstrip(".") or " ".join(plain.split())
    names = list(_options(command, ""))
    known = {name.lower() for name in names}
    for argument in arguments:
        word = argument.split("=")[0]
        if word.startswith("--") and word.replace("_", "-").replace("--no-", "--") not in known:
            return f"there is no option {word}{nearest(word, names)}: --help lists them all"
    return f"{sentence[0].lower()}{sentence[1:]}: --help lists options and values"


def _options(concern: type, prefix: str) -> Iterator[str]:
    """The names of all options."""
    for name, annotation in get_type_hints(concern).items():
        if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
            yield from _options(annotation, f"{name}." if name in PREFIXED else "")
        elif name not in ("preset", "source", "shortened"):
            yield "--" + (prefix + name).replace("_", "-")
