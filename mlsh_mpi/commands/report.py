"""Makes the page of a run again, or one of several runs: ``mlsh report RUN...``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro

from mlsh_mpi import files
from mlsh_mpi.config.parsing import parsed
from mlsh_mpi.errors import UserError, exit_on_user_error
from mlsh_mpi.output import say, warn
from mlsh_mpi.reporting.report import write_report, write_reports_together
from mlsh_mpi.tracking.session import PAGE


def report(runs: Annotated[tuple[Path, ...], tyro.conf.Positional], together: Path | None = None) -> None:
    """Writes the page of each run or test, RUN/report.html: curves, primitives, tasks, pictures and films, costs and settings.

    A page is one file that any browser shows, without a server or a network. Pictures and films in the run folder are put into
    it, such as one that `mlsh replay RUN --video RUN/film.mp4` has made.

    Args:
        runs: the run folders.
        together: write one more page, of all of these runs together; those that differ only in their seed are drawn as a mean
            with its band.
    """
    if not runs:
        raise UserError("name run folders, such as runs/*-seed*")

    written, mistakes = [], []
    for folder in runs:
        try:
            with files.writing(folder / PAGE):
                say(f"{write_report(folder)}")
            written.append(folder)
        except UserError as error:
            mistakes.append(str(error))

    if not written:
        raise UserError(mistakes[0])
    if together is not None:
        with files.writing(f"--together {together}"):
            together.parent.mkdir(parents=True, exist_ok=True)
            not_drawn = write_reports_together(together, written)
        say(f"{len(written)} runs are in {together}")
        mistakes += [f"the curve: {each}" for each in not_drawn]
    for mistake in mistakes:
        warn(f"mlsh_mpi: left out: {mistake}")


def main() -> None:
    """Entry point of ``mlsh report``."""
    with exit_on_user_error():
        parsed(report, sys.argv[1:], prog="mlsh report")
