"""Draws several runs together: ``mlsh seeds RUN... [--picture seeds.png]``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro

from mlsh_mpi import files
from mlsh_mpi.config.parsing import parsed
from mlsh_mpi.errors import UserError, exit_on_user_error
from mlsh_mpi.output import say, warn
from mlsh_mpi.reporting.seeds import Run, draw_seeds


def seeds(runs: Annotated[tuple[Path, ...], tyro.conf.Positional], picture: Path = Path("seeds.png")) -> None:
    """Draws several runs together; those that differ only in their seed are drawn as a mean with its band.

    Args:
        runs: the run folders.
        picture: file to write: .png, .pdf or .svg.
    """
    if not runs:
        raise UserError("name run folders, such as runs/*-seed*")

    read, mistakes = [], []
    for folder in runs:
        try:
            read.append(Run.read(folder))
        except UserError as error:
            mistakes.append(str(error))

    if not read:
        raise UserError(mistakes[0])
    try:
        with files.writing(f"--picture {picture}"):
            picture.parent.mkdir(parents=True, exist_ok=True)
            draw_seeds(picture, read)
    except ValueError as error:
        raise UserError(f"--picture {picture} cannot be written: {error}") from None

    say(f"{len(read)} runs are in {picture}")
    for mistake in mistakes:
        warn(f"mlsh_mpi: left out: {mistake}")


def main() -> None:
    """Entry point of ``mlsh seeds``."""
    with exit_on_user_error():
        parsed(seeds, sys.argv[1:], prog="mlsh seeds")
