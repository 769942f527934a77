"""The command line: preset + overrides, and one clear sentence for each mistake. Only rank 0 reads and imports it."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_type_hints

import tyro

from mlsh_mpi.config import PREFIXED, PRESETS, Config
from mlsh_mpi.errors import UserError, nearest
from mlsh_mpi.lanes import known_environments
from mlsh_mpi.options import from_dict, preset_config

DEFAULT_PRESET = "moving-bandits"


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


def asked(arguments: Sequence[str]) -> tuple[Config, bool] | None:
    """What a command line wants to be run: a configuration, and whether to start over. None if it wants to see something; it has.

    Raises:
        UserError: an unknown preset, option or value.
    """
    command = parse(arguments)
    if command.list or command.print_config:
        print(listing() if command.list else json.dumps(dataclasses.asdict(command.settings), indent=2))
        return None
    return command.settings, command.fresh


def parse(arguments: Sequence[str]) -> CommandLine:
    """[PRESET] [--options] -> what to do.

    Raises:
        UserError: an unknown preset, option or value.
    """
    preset, rest = DEFAULT_PRESET, list(arguments)
    if rest and not rest[0].startswith("-"):
        preset = rest.pop(0)
    base = preset_config(preset)
    file, _ = _only_config().parse_known_args(rest)
    if file.config is not None:
        base = read_config(file.config)
    heard = io.StringIO()
    try:
        with contextlib.nullcontext() if {"-h", "--help"} & set(rest) else contextlib.redirect_stderr(heard):
            return tyro.cli(
                CommandLine,
                default=CommandLine(base),
                args=rest,
                prog="python -m mlsh_mpi.train [PRESET]",
                description=listing(),
            )
    except SystemExit:
        if not heard.getvalue():
            raise
        raise UserError(_sentence(heard.getvalue(), rest)) from None


def _only_config() -> argparse.ArgumentParser:
    """Finds --config FILE: the file gives the defaults with which everything else is then parsed."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", type=Path, nargs="?")
    return parser


def read_config(path: Path) -> Config:
    """A configuration from a JSON file.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"--config {path} cannot be read as JSON: {error}") from None
    return from_dict(value, str(path))


def listing() -> str:
    """Presets and environments."""
    presets = [f"  {name:24}{preset.summary}" for name, preset in PRESETS.items()]
    environments = [f"  {name}" for name in known_environments()]
    return "\n".join(["Presets:", *presets, "", "Environments (or any --env module:Class of yours):", *environments])


def _sentence(box: str, arguments: Sequence[str]) -> str:
    """Tyro's boxed message as one sentence, with the nearest option where one is mistyped."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)  # a launcher may give its ranks a terminal, and tyro then colours
    lines = [line.strip("│ ") for line in plain.splitlines() if line.startswith("│")]
    end = next((i for i, line in enumerate(lines) if line.startswith("──")), len(lines))
    sentence = " ".join(lines[:end]).rstrip(".") or " ".join(plain.split())
    names = list(_options(CommandLine, ""))
    known = {name.lower() for name in names}
    for argument in arguments:
        word = argument.split("=")[0]
        if word.startswith("--") and word.replace("_", "-").replace("--no-", "--") not in known:
            return f"there is no option {word}{nearest(word, names)}: --help lists them all"
    return f"{sentence[0].lower()}{sentence[1:]}: --help lists options and values"


def _options(concern: type, prefix: str) -> Iterator[str]:
    """Every option's name."""
    for field, annotation in get_type_hints(concern).items():
        if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
            yield from _options(annotation, f"{field}." if field in PREFIXED else "")
        elif field != "preset":
            yield "--" + (prefix + field).replace("_", "-")
