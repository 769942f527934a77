"""Draws a table of the paper as bars: returns of our learners, with the paper's number beside them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mlsh_mpi.figures import style
from mlsh_mpi.figures.paper import PaperTable
from mlsh_mpi.reporting.curves import Curve, last_by_seed
from mlsh_mpi.reporting.statistics import BANDED, nested_band

Array = np.ndarray[Any, np.dtype[Any]]
WIDTH = 7.2
"""Inches of the panel."""
BAR = 0.34
"""Width of a bar and of the paper's mark beside it; the distance between methods is 1."""


def draw_table(shown: PaperTable, reached: Sequence[Curve]) -> Figure:
    """Draws the table.

    Args:
        shown: the paper's table to draw.
        reached: a curve for each of our learners, whose last point is drawn.
    """
    with matplotlib.rc_context(style.RC):
        figure = Figure(figsize=(WIDTH, style.HEIGHT))
        axis = figure.subplots()
        axis.use_sticky_edges = False  # room below 0 too
        labels, banded = [], []

        for x, (series, colour) in enumerate(zip(shown.series, style.colours(shown.series), strict=True)):
            runs = last_by_seed([curve for curve in reached if curve.series == series.runs])
            labels.append(f"{textwrap.fill(series.label, 24)}\n({_counted(runs)})")
            if runs:
                banded.append(_bar(axis, x - BAR / 1.8, runs, colour))

            if series.printed is not None:
                at = x + BAR / 1.8
                axis.plot([at - BAR / 2, at + BAR / 2], [series.printed] * 2, color=style.PAPER, lw=3, solid_capstyle="butt")
                _write(axis, at, series.printed, series.printed, style.PAPER)

        axis.axhline(0, color="0.3", lw=0.8)
        axis.set_xticks(range(len(labels)), labels)
        axis.set_xlim(-0.6, len(labels) - 0.4)
        axis.grid(visible=False, axis="x")
        axis.tick_params(axis="x", length=0)
        axis.margins(y=0.12)
        axis.yaxis.set_major_formatter(lambda y, _: _number(y))
        axis.set_ylabel("return of an episode")

        handles: list[Artist] = [Line2D([], [], color=style.PAPER, lw=3, label="the paper's number")]
        about = "Means after the last update, without exploration where that was looked at"
        if any(banded):
            about += ", with 95 % bands by a bootstrap over seeds and the learners of each"
            about += "" if all(banded) else ", where n > 2"
        if not all(banded):
            about += "; dots are single learners"
        style.lay_out(figure, shown.title, f"{about}. {shown.caption}", handles)
    return figure


def _counted(runs: Sequence[Array]) -> str:
    """The number of seeds, and of learners for each seed if there are several."""
    if not runs:
        return "no runs yet"
    fewest, most = min(map(len, runs)), max(map(len, runs))
    learners = f"{most}" if fewest == most else f"{fewest} to {most}"
    return f"n = {len(runs)}" + f" × {learners} learners" * (most > 1)


def _bar(axis: Axes, x: float, runs: Sequence[Array], colour: str) -> bool:
    """Draws the mean of the runs' means and its value; with three or more runs its band, else every learner.

    Returns:
        Whether it has a band.
    """
    mean = float(np.mean([values.mean() for values in runs]))
    axis.bar(x, mean, BAR, color=colour)

    banded = len(runs) >= BANDED
    if banded:
        ends = nested_band(runs)
        axis.plot([x, x], ends, color="black", lw=1.2)
        for end in ends:
            axis.plot([x - 0.04, x + 0.04], [end, end], color="black", lw=1.2)
    else:
        every = np.concatenate(runs)
        ends = (float(every.min()), float(every.max()))
        axis.plot(np.full(len(every), x), every, "o", color="black", markersize=3)

    _write(axis, x, mean, max(*ends, 0) if mean >= 0 else min(ends), colour)
    return banded


def _write(axis: Axes, x: float, value: float, y: float, colour: str) -> None:
    """Writes a value above the height y, or below it if the value is negative."""
    up = value >= 0
    axis.annotate(
        _number(value),
        (x, y),
        (0, 3 if up else -3),
        textcoords="offset points",
        ha="center",
        va="bottom" if up else "top",
        color=colour,
    )


def _number(value: float) -> str:
    """A number as a text: thousands have a comma, small numbers three digits."""
    return (f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}").replace("-", "−")
