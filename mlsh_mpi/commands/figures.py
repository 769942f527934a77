"""Draws the figures of the paper from runs: ``mlsh figures FIGURE... [--runs RUN...] [--make] [--pdf] [--table]``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from mlsh_mpi import files
from mlsh_mpi.config.parsing import parsed
from mlsh_mpi.errors import UserError, exit_on_user_error, nearest
from mlsh_mpi.figures import runner
from mlsh_mpi.figures.final_tests import FINAL_TESTS, read_final_test, read_final_tests, write_final_tests
from mlsh_mpi.figures.panels import digitised, draw_figure
from mlsh_mpi.figures.paper import FIGURES, PaperFigure, PaperTable
from mlsh_mpi.figures.results import placed, results
from mlsh_mpi.figures.style import stamp, write
from mlsh_mpi.figures.table import draw_table
from mlsh_mpi.output import say, warn
from mlsh_mpi.policies.pretrained import is_checkout, paper_folder
from mlsh_mpi.reporting.curves import Curve, read_last, read_points, read_run, renewed, run_name, series_of, write_points

HOME = paper_folder()
"""The folder of the figures' curves, and in a checkout of their pictures."""
CURVES, PAPER_CURVES = "curves.csv", "paper-curves.csv"
OWN = Path("figures")
"""The folder where an installed package puts a copy of the curves, and the pictures: below the current folder."""


def figures(
    names: Annotated[tuple[str, ...], tyro.conf.Positional],
    make: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    runs: tuple[Path, ...] = (),
    only: str = "",
    pdf: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    table: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Draws figures of the paper, each into its folder below launch/paper, or below figures/ without a checkout.

    The numbers behind a figure are written as a table into the page of its folder.

    Args:
        names: fig4a, fig4b and so on, table1, table2, or all.
        make: first make the runs that the figure's folder lists, below runs/ in the current folder; unfinished runs are resumed.
        runs: take the curves of these run folders.
        only: make only runs whose folder's name contains this.
        pdf: write each figure as PDF too, beside the PNG.
        table: print the numbers of each figure as a table, and draw nothing.
    """
    needed = "" if make else CURVES
    chosen = [name for name in FIGURES if (HOME / name / needed).exists()] if "all" in names else list(names)

    for name in chosen:
        if name not in FIGURES:
            raise UserError(f"there is no figure {name!r}{nearest(name, list(FIGURES))}: choose from {', '.join(FIGURES)} or all")
    if not chosen:
        raise UserError(f"name figures: {', '.join(FIGURES)}, or all")

    home = _home()

    if table:
        say("\n".join(f"{FIGURES[name].title}\n\n{_results(home, name)}" for name in chosen).rstrip())
        return
    for name in chosen:
        made = _made(home, name, only) if make else []
        _draw(home, name, [*runs, *(run.folder for run in made if run.finished)], pdf)
        if unfinished := sum(not run.finished for run in made):
            raise UserError(f"{unfinished} runs of {name} are not finished; the same command continues them")


def _home() -> Path:
    """The folder of the figures: that of a checkout, or else a copy that can be written to."""
    if is_checkout():
        return HOME
    for source in HOME.rglob("*"):
        copy = OWN / source.relative_to(HOME)
        if source.is_file() and source.suffix in (".csv", ".txt", ".json") and not copy.exists():
            with files.writing(copy):
                copy.parent.mkdir(parents=True, exist_ok=True)
                files.save_bytes(copy, source.read_bytes())
    return OWN


def _made(home: Path, name: str, only: str) -> list[runner.Command]:
    """Prints what the missing runs cost last time, makes them, and records their cost. Returns all requested runs."""
    file = home / name / "cost.json"

    listed = runner.read_commands(home / name)
    stages = [[run for run in stage if only in str(run.folder)] for stage in listed]
    requested = [run for stage in stages for run in stage]
    missing = [run for run in requested if not run.finished]

    if not missing:
        return requested

    cost = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    known = [cost[run.name] for run in missing if run.name in cost]
    before = f", of which {len(known)} took {sum(known) / 3600:.1f} core-hours last time" if known else ""
    say(f"{name}: {len(missing)} runs to make{before}")

    runner.make(stages, name)
    cost |= {run.name: round(runner.cpu_seconds(run.folder), 1) for run in missing if run.finished}

    lines = ",\n".join(f" {json.dumps(run)}: {json.dumps(cost[run])}" for run in sorted(cost))
    with files.writing(file):
        files.save_text(file, f"{{\n{lines}\n}}\n")
    return requested


def _draw(home: Path, name: str, folders: Sequence[Path], pdf: bool) -> None:
    """Draws a figure and writes its numbers, with these runs in place of older ones of the same name and seed."""
    shown, picture = FIGURES[name], home / name / f"{name}.png"
    _take(home, name, folders)
    curves = read_points(home / name / CURVES)
    if not curves:
        raise UserError(f"{name} has no curves yet: add --make, or --runs and the folders of finished runs")

    if isinstance(shown, PaperTable):
        figure = draw_table(shown, curves)
    else:
        figure = draw_figure(shown, curves, digitised(home / PAPER_CURVES, shown.panel))
    with files.writing(picture):
        drawn = write(figure, picture, pdf, stamp(shown, home / name / CURVES))
    for file in drawn:
        say(f"drawn: {os.path.relpath(file)}")

    page = home / name / "README.md"
    if page.exists():
        with files.writing(page):
            files.save_text(page, placed(page.read_text(encoding="utf-8"), _results(home, name)))


def _take(home: Path, name: str, folders: Sequence[Path]) -> None:
    """Stores the curves and final tests of those runs that belong to the figure."""
    shown, figure_folder = FIGURES[name], home / name
    of_figure, curves, tests = {series.runs for series in shown.series}, [], []
    for folder in folders:
        try:
            run_curves = _read(shown, folder)
            if series_of(run_name(folder))[0] in of_figure:
                curves += run_curves
                tests += read_final_test(folder)
        except UserError as error:
            warn(f"mlsh_mpi: left out: {error}")

    with files.writing(figure_folder / CURVES):
        if curves:
            figure_folder.mkdir(parents=True, exist_ok=True)
            write_points(figure_folder / CURVES, renewed(read_points(figure_folder / CURVES), curves))
        if tests:
            write_final_tests(figure_folder / FINAL_TESTS, renewed(read_final_tests(figure_folder / FINAL_TESTS), tests))


def _results(home: Path, name: str) -> str:
    """The numbers of a figure as a table."""
    shown = FIGURES[name]
    of_paper = {} if isinstance(shown, PaperTable) else digitised(home / PAPER_CURVES, shown.panel)
    return results(shown, read_points(home / name / CURVES), read_final_tests(home / name / FINAL_TESTS), of_paper)


def _read(shown: PaperFigure | PaperTable, folder: Path) -> list[Curve]:
    """The curves of a run, or for a table their last points."""
    return read_last(folder) if isinstance(shown, PaperTable) else read_run(folder, shown.averaged)


def main() -> None:
    """Entry point of ``mlsh figures``."""
    with exit_on_user_error():
        parsed(figures, sys.argv[1:], prog="mlsh figures")
