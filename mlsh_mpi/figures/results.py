"""The numbers of a figure as a Markdown table, from the files in its folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlsh_mpi.figures.final_tests import FinalTest, has_separated
from mlsh_mpi.figures.paper import PaperFigure, PaperTable, Series
from mlsh_mpi.reporting.curves import Curve, last_by_seed, together
from mlsh_mpi.reporting.statistics import BANDED, interquartile_band, interquartile_mean, nested_band
from mlsh_mpi.sampling import seeding

Array = np.ndarray[Any, np.dtype[Any]]
BEGIN, END = "<!-- results: written by `mlsh figures` -->", "<!-- end of results -->"
"""The marks around the table on the figure's page."""


def results(
    shown: PaperFigure | PaperTable,
    curves: Sequence[Curve],
    tests: Sequence[FinalTest],
    of_paper: dict[str, Array],
) -> str:
    """The table: a row for each series, with the paper's number if there is one.

    Args:
        shown: the figure.
        curves: our curves.
        tests: results of final tests.
        of_paper: the paper's curves by name, (n, 2) points each.
    """
    if isinstance(shown, PaperTable):
        return _markdown(["", "paper", "n", "return", "seeds"], [_of_table(series, curves) for series in shown.series])

    rows = [_of_figure(shown, series, curves, tests, of_paper) for series in shown.series]
    results = ["return in the end", "seeds", "fresh masters", "without exploration", "separated"]
    heading = ["", "paper", "n", "million steps", *results]

    # Leave out columns that are empty for all series.
    columns = [at for at, name in enumerate(heading) if not name or any(row[at] for row in rows)]
    return _markdown([heading[at] for at in columns], [[row[at] for at in columns] for row in rows])


def placed(page: str, table: str) -> str:
    """The text of a page with the table between its marks; unchanged if it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}\n\n{table}\n{end}{after}" if begin and end else page


def _of_figure(
    shown: PaperFigure,
    series: Series,
    curves: Sequence[Curve],
    tests: Sequence[FinalTest],
    of_paper: dict[str, Array],
) -> list[str]:
    """A row of a figure's table."""
    own = [curve for curve in curves if curve.series == series.runs]
    paper = of_paper.get(series.digitised)
    papers = "" if paper is None else _number(float(_end(paper[:, 1])))
    if not own:
        return [series.label, papers, "0", *[""] * 6]

    places, returns = together(own)
    reached = _end(returns)  # (tasks, runs)
    if shown.mean_of_tasks:
        reached = reached.mean(0, keepdims=True)

    own_tests = [test for test in tests if test.series == series.runs]
    runs = [[test for test in own_tests if test.seed == seed] for seed in sorted({test.seed for test in own_tests})]
    return [
        series.label,
        papers,
        f"{reached.shape[1]}" + f" × {len(reached)} tasks" * (len(reached) > 1),
        f"{places[-1, 1] / 1e6:.3g}",
        _banded(reached),
        _seeds(reached.mean(0)),
        _banded(np.array([[np.mean([test.adapted for test in run]) for run in runs]])) if runs else "",
        _banded(np.array([[np.mean([test.without_exploration for test in run]) for run in runs]])) if runs else "",
        _count(runs, shown.separated),
    ]


def _of_table(series: Series, curves: Sequence[Curve]) -> list[str]:
    """A row of a table of the paper: means over seeds of the means over their learners."""
    paper = "" if series.printed is None else _number(series.printed)
    runs = last_by_seed([curve for curve in curves if curve.series == series.runs])
    if not runs:
        return [series.label, paper, "0", "", ""]

    means = np.array([values.mean() for values in runs])
    band = f" ({' to '.join(map(_number, nested_band(runs)))})" if len(runs) >= BANDED else ""
    return [
        series.label,
        paper,
        f"{len(runs)} × {max(map(len, runs))} learners",
        _number(float(means.mean())) + band,
        _seeds(means),
    ]


def _count(runs: Sequence[Sequence[FinalTest]], separated: tuple[float, float] | None) -> str:
    """How many seeds have separated, if primitives were evaluated alone."""
    several = [run for run in runs if min(len(test.primitives) for test in run) > 1]
    if separated is None or not several:
        return ""
    return f"{sum(has_separated([test.primitives for test in run], *separated) for run in several)} of {len(several)}"


def _end(returns: Array) -> Array:
    """Mean of the last tenth of curves (..., points), at least one point."""
    tenth = max(1, returns.shape[-1] // 10)
    return np.asarray(returns[..., -tenth:].mean(-1))


def _banded(values: Array) -> str:
    """Interquartile mean of (tasks, runs) values, with its band from three runs on."""
    if np.isnan(values).any():
        return ""
    if values.shape[1] < BANDED:
        return _number(float(interquartile_mean(values.reshape(-1))))
    mean, low, high = (float(end[0]) for end in interquartile_band(values[..., None], seeding.stream(0, "test")))
    return f"{_number(mean)} ({_number(low)} to {_number(high)})"


def _seeds(values: Array) -> str:
    """The value of every seed, in order; smallest and largest if there are many."""
    if len(values) > 5:
        return f"{_number(float(values.min()))} to {_number(float(values.max()))}"
    return ", ".join(_number(float(value)) for value in values)


def _number(value: float) -> str:
    """A return as text: thousands have a comma, small ones three decimals."""
    if not math.isfinite(value):
        return "not finite"
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 2 else f"{value:.3f}"


def _markdown(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with one line per row."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
