"""The command line: a preset and overrides, and one clear sentence for each mistake. Only rank 0 imports and uses it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from mlsh_mpi.commands.shown_options import ON_ONE_SCREEN, hide_training_options, most_needed
from mlsh_mpi.commands.starting import Options, printed
from mlsh_mpi.config import methods
from mlsh_mpi.config.adaptation import (
    REPLACED_BY,
    TRAINING_ONLY,
    UNUSED_BY_FILMS,
    AdaptationSettings,
    AdaptConfig,
    Film,
    resolved,
)
from mlsh_mpi.config.earlier_names import present_arguments
from mlsh_mpi.config.methods import BASELINES
from mlsh_mpi.config.overrides import fitted, for_environment, read_config
from mlsh_mpi.config.parsing import HELP_FLAGS, Option, options_of, parsed
from mlsh_mpi.config.presets import DEFAULT_PRESET, PRESETS, begins_with, config_for, preset_config, smoke
from mlsh_mpi.config.settings import Config
from mlsh_mpi.config.starting import has_preset
from mlsh_mpi.errors import UserError
from mlsh_mpi.output import say
from mlsh_mpi.policies.pretrained import all_pretrained, named_source
from mlsh_mpi.sampling.environment_choice import EnvironmentChoice
from mlsh_mpi.sampling.environment_maker import known_environments

Trust = Annotated[
    bool,
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.arg(
        help="Trust the file: import the module of the environment that it names. Otherwise a file may only name registered "
        "environments, because it may come from anybody; --env NAME trusts one environment."
    ),
]


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
    """Try out the whole run, from training to the final test, scaled down to half a minute."""
    trust: Trust = False


@dataclass(frozen=True)
class AdaptCommandLine:
    """What may follow the run, phi or preset."""

    settings: Annotated[AdaptConfig, tyro.conf.arg(name="")]
    fresh: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Move an earlier test in the same folder aside and start over."""
    trust: Trust = False


@dataclass(frozen=True)
class ReplayCommandLine:
    """What may follow the run, phi or preset, for a film."""

    settings: Annotated[AdaptConfig, tyro.conf.arg(name="")]
    film: Annotated[Film, tyro.conf.arg(name="")] = field(default_factory=Film)
    trust: Trust = False


Command = TypeVar("Command", CommandLine, AdaptCommandLine, ReplayCommandLine)


def parse_train_args(arguments: Sequence[str]) -> tuple[Config, EnvironmentChoice, bool] | None:
    """Parses [PRESET] [--options], or shows what they ask to see.

    Returns:
        The configuration, what the user, not a file, says about the environment, and whether to start over; None if something
        was only shown.

    Raises:
        UserError: an unknown preset, option or value.
    """
    command = parse(arguments)
    if command.list:
        say(listing())
        return None
    if command.print_config:
        config = printed(command.settings, _choice(command, arguments), asked_for(arguments))
        say(json.dumps(dataclasses.asdict(config), indent=2))
        return None
    preset = command.settings.preset
    if arguments and arguments[0].startswith("-") and command.config is None and not preset.startswith(DEFAULT_PRESET):
        say(begins_with(command.settings.environment.env, preset))
    return command.settings, _choice(command, arguments), command.fresh


def parse(arguments: Sequence[str], default: Config | None = None) -> CommandLine:
    """Parses [PRESET] [--options].

    Args:
        arguments: of the command line.
        default: the configuration to begin with; by default the one that a preset's name, --config or the environment's preset
            stands for.

    Raises:
        UserError: an unknown preset, option or value.
    """
    rest = present_arguments(arguments)
    preset = rest.pop(0) if rest and not rest[0].startswith("-") else None
    start, _ = _what_to_start_from().parse_known_args(rest)
    base = default or config_for(preset, start.env)
    if start.config is not None:
        base = read_config(start.config, trust="--trust" in rest)
    if "--smoke" in rest:
        base = smoke(base)
    command = CommandLine(base)
    if "-h" in rest:
        _parsed(most_needed(command), ["--help"], "mlsh train [PRESET]", ON_ONE_SCREEN)
    command = _parsed(command, rest, "mlsh train [PRESET]", listing())
    return dataclasses.replace(command, settings=fitted(command.settings, base))


def asked_for(arguments: Sequence[str]) -> Options | None:
    """The options on a command line, for any configuration to begin with.

    None if the command line says what to begin with: a preset, a file, or an environment that has a preset.
    """
    rest = present_arguments(arguments)
    start, _ = _what_to_start_from().parse_known_args(rest)
    is_named = bool(rest) and not rest[0].startswith("-")
    if is_named or start.config is not None or has_preset(start.env):
        return None
    return lambda default: parse(arguments, default).settings


def parse_adapt_args(arguments: Sequence[str]) -> tuple[AdaptConfig, EnvironmentChoice, bool]:
    """Parses RUN_OR_PHI [--options], or PRESET --method [--options] for methods that need no training run.

    Returns:
        The test's configuration, what the user, not a file, says about the environment, and whether to start over.

    Raises:
        UserError: there is nothing to test, or an option or value is unknown or has no meaning here.
    """
    default, rest = _source(arguments)
    about = _about("How fast new tasks are learned after training.", default, "adapt")
    command = _parsed(hide_training_options(AdaptCommandLine(default), rest, TRAINING_ONLY), rest, "mlsh adapt RUN_OR_PHI", about)
    return _checked(default, command.settings, TRAINING_ONLY), _choice(command, rest), command.fresh


def parse_replay_args(arguments: Sequence[str]) -> tuple[AdaptConfig, EnvironmentChoice, Film]:
    """Parses the same for a film.

    Raises:
        UserError: as :func:`parse_adapt_args`.
    """
    default, rest = _source(arguments)
    about = _about("Episodes before and after learning a task, as a film.", default, "replay")
    command = _parsed(
        hide_training_options(ReplayCommandLine(default), rest, UNUSED_BY_FILMS), rest, "mlsh replay RUN_OR_PHI", about
    )
    return _checked(default, command.settings, UNUSED_BY_FILMS), _choice(command, rest), command.film


def _choice(command: Command, arguments: Sequence[str]) -> EnvironmentChoice:
    """What the command line itself, not the file that it starts from, says about the environment."""
    given = {argument.partition("=")[0].replace("_", "-") for argument in arguments}
    named = command.settings.environment.env if "--env" in given else None
    return EnvironmentChoice(named, settings=bool({"--env-settings", "--task-settings"} & given), trust=command.trust)


def _about(summary: str, default: AdaptConfig, name: str) -> str:
    """The text above the options in a help."""
    if default.source:
        return f"{summary} The defaults are those of {default.source}."
    return f"{summary} The defaults are those of {DEFAULT_PRESET}: mlsh {name} RUN --help shows those of the run."


def options_of_commands() -> dict[str, list[Option]]:
    """The options of each command that are shown in its help."""
    default = AdaptConfig()
    adapt = hide_training_options(AdaptCommandLine(default), ["--help"], TRAINING_ONLY)
    replay = hide_training_options(ReplayCommandLine(default), ["--help"], UNUSED_BY_FILMS)
    commands = {"train": CommandLine(Config()), "adapt": adapt, "replay": replay}
    return {name: list(options_of(type(command))) for name, command in commands.items()}


def _source(arguments: Sequence[str]) -> tuple[AdaptConfig, list[str]]:
    """The configuration that the first argument names, as the default of all options; and the other arguments."""
    rest = present_arguments(arguments)
    source = rest.pop(0) if rest and not rest[0].startswith("-") else None
    if source is None and not HELP_FLAGS & set(rest):
        raise UserError(
            "name a run folder or its phi.pt, such as runs/moving-bandits-seed0; pretrained primitives, "
            "such as ant-twowalk; or a preset and --method scratch"
        )
    untrained = set(methods.UNTRAINED) & {word.rpartition("=")[2] for word in rest}
    if source and not Path(source).exists() and not untrained:
        try:
            source = str(named_source(source))  # pretrained primitives may have the name of their preset
        except UserError:
            if not _is_preset(source):
                raise
    start, _ = _what_to_start_from().parse_known_args(rest)
    base, hierarchy = preset_config(DEFAULT_PRESET), None
    if source and _is_path(source):
        from mlsh_mpi.policies.hierarchy import phi_in, read_hierarchy  # imports torch

        base = for_environment(phi_in(Path(source)).config, start.env)
        hierarchy = read_hierarchy(Path(source)) if Path(source).is_file() else None
    elif source:
        base = config_for(source, start.env)
    fields = {field.name: getattr(base, field.name) for field in dataclasses.fields(Config)}
    fields["hierarchy"] = dataclasses.replace(
        base.hierarchy, whole_episode_iterations=0, random_master_iterations=0, early_joint_iterations=0
    )
    if hierarchy is not None:
        fields["hierarchy"] = dataclasses.replace(fields["hierarchy"], macro_length=hierarchy["macro_length"])
        fields["test"] = AdaptationSettings(task=(hierarchy["task"],))
    fields["run"] = dataclasses.replace(base.run, folder=None, stop_when=None, time_limit=None)
    fields["shortened"] = ()
    return AdaptConfig(**fields, source=source or ""), rest


def _is_preset(name: str) -> bool:
    try:
        preset_config(name)
    except UserError:
        return False
    return True


def _is_path(source: str) -> bool:
    return Path(source).exists() or os.sep in source


def _checked(default: AdaptConfig, config: AdaptConfig, meaningless: Mapping[str, Sequence[str]]) -> AdaptConfig:
    untrained = methods.method_of(config) in methods.UNTRAINED

    for section, names in meaningless.items():
        if untrained and section in ("network", "environment"):
            continue
        for name in names:
            if getattr(getattr(default, section), name) != getattr(getattr(config, section), name):
                option, instead = name.replace("_", "-"), REPLACED_BY.get(name, "")
                reason = "only affects training, which is over" if name in TRAINING_ONLY[section] else "does not affect a film"
                raise UserError(f"--{option} {reason}: leave it out{instead}")

    if config.test.held_out and config.test.task:
        raise UserError("--held-out and --task both say which tasks are learned: leave one of them out")

    if not _is_path(config.source) and not untrained:
        raise UserError(
            f"{config.source} is a preset, with nothing trained: name a run folder or its phi.pt, pretrained primitives "
            f"({', '.join(all_pretrained())}), or add --method "
            f"{' or '.join(methods.UNTRAINED)}"
        )
    return resolved(config)


def _parsed(default: Command, arguments: Sequence[str], prog: str, description: str) -> Command:
    return parsed(type(default), arguments, default=default, prog=prog, description=description)


def _what_to_start_from() -> argparse.ArgumentParser:
    """A parser for --config FILE and --env ID only, which determine the defaults of all other options."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", type=Path, nargs="?")
    parser.add_argument("--env", nargs="?")
    return parser


def listing() -> str:
    """The presets, baselines and environments, as text."""
    presets = [f"  {name:28}{preset.summary}" for name, preset in PRESETS.items()]
    baselines = [f"  -{name:27}{baseline.summary}" for name, baseline in BASELINES.items()]
    environments = [f"  {name}" for name in known_environments()]
    of_baselines = "Baselines (added to any preset's name, as in moving-bandits-shared):"
    of_environments = "Environments (or your own: --env module:Class):"
    return "\n".join(["Presets:", *presets, "", of_baselines, *baselines, "", of_environments, *environments])
