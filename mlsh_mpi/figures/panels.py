"""Draws a figure of the paper: our curves with their bands, the paper's own in grey."""

from __future__ import annotations

import csv
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from mlsh_envs.window import PRIMITIVE_COLOURS as COLOURS
from mlsh_mpi.figures.paper import PaperFigure, Series
from mlsh_mpi.sampling import seeding
from mlsh_mpi.tracking.curves import Curve, together
from mlsh_mpi.tracking.statistics import interquartile_band

Array = np.ndarray[Any, np.dtype[Any]]
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))


def digitised(path: Path, panel: str) -> dict[str, Array]:
    """The paper's curves of a panel, digitised, by name: (n, 2) points each."""
    curves: dict[str, list[tuple[float, float]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["panel"] == panel:
                curves.setdefault(row["series"], []).append((float(row["x"]), float(row["y"])))
    return {name: np.array(sorted(points)) for name, points in curves.items()}


def draw_figure(path: Path, shown: PaperFigure, curves: Sequence[Curve], of_paper: dict[str, Array]) -> None:
    """Writes the figure.

    Args:
        path: file to write.
        shown: the paper's figure to draw.
        curves: our curves of all its series.
        of_paper: the paper's curves, by name.
    """
    by_steps = shown.axis == "environment steps"  # the axis that the second panel always has
    figure = Figure(figsize=(10.5 if by_steps else 12.5, 5.6), layout="constrained")
    axes = figure.subplots(1, 1 if by_steps else 2, sharey=True, squeeze=False)[0]
    ends: dict[Axes, list[tuple[float, float, str]]] = {axis: [] for axis in axes}
    for series, dash in zip(shown.series, DASHES * 2, strict=False):
        if (points := of_paper.get(series.digitised)) is not None:
            for axis, unit in zip(axes[::-1], (shown.steps, 1.0), strict=False):
                x, y = points[points[:, 0] * unit > (0 if unit > 1 else -1)].T  # a logarithmic axis has no 0
                axis.plot(x * unit, y, color="0.6", ls=dash, lw=1.2, label=f"paper: {series.digitised}")
                ends[axis].append((y[-1], x[-1] * unit, series.digitised))
    for series, colour in zip(shown.series, COLOURS * 2, strict=False):
        if mine := [curve for curve in curves if curve.series == series.runs]:
            _draw_series(axes, series, mine, colour, shown.mean_of_tasks)
    _name_at_their_ends(ends)
    first, second = axes[0], axes[-1]
    if not by_steps:
        first.set(title="as in the paper", xlabel=shown.axis)
        second.set(title="by what was sampled", xscale="log" if of_paper else "linear")
    first.set_ylabel("return of an episode")
    second.set_xlabel("environment steps")
    if shown.axis == "cycles":
        first.set_xlim(-0.5, max(points[:, 0].max() for points in of_paper.values()) + 0.5)
    second.xaxis.set_major_formatter(EngFormatter(sep=""))
    figure.suptitle(shown.title, x=0.04, ha="left")
    figure.legend(*first.get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    about = (
        "Interquartile means with 95 % bands of a stratified bootstrap over seeds (and tasks), as far as all went; a thin "
        "line is one that went on; the paper's curves digitised. "
    )
    unbroken = shown.caption.replace(" = ", "\xa0=\xa0")
    figure.supxlabel(textwrap.fill(about + unbroken, 170), fontsize=8)
    figure.savefig(path, dpi=100)


def _name_at_their_ends(ends: dict[Axes, list[tuple[float, float, str]]]) -> None:
    """Labels the paper's curves at their ends (y, x, name), from the lowest up, each label above the one before it."""
    for axis, places in ends.items():
        low, high = axis.get_ylim()
        height = -np.inf
        for y, x, name in sorted(places):
            height = max(y, height + 0.03 * (high - low))
            axis.annotate(name, (x, height), color="0.45", fontsize=7, xytext=(3, 0), textcoords="offset points", va="center")


def _draw_series(axes: Sequence[Axes], series: Series, curves: Sequence[Curve], colour: Any, mean_of_tasks: bool) -> None:
    places, returns = together(curves)
    if mean_of_tasks:
        returns = returns.mean(0, keepdims=True)
    mean, low, high = interquartile_band(returns, seeding.stream(0, "test"))
    tasks, seeds = returns.shape[:2]
    label = f"{series.label} (n = {seeds})" if tasks == 1 else f"{series.label} (n = {seeds} x {tasks} tasks)"
    for axis, x in _across(axes, series, places):
        axis.plot(x, mean, color=colour, lw=1.6, label=label)
        axis.fill_between(x, low, high, color=colour, alpha=0.18, lw=0)
    for longer in (curve.points for curve in curves if curve.points[-1, 0] > places[-1, 0]):
        rest = longer[longer[:, 0] >= places[-1, 0]]
        for axis, x in _across(axes, series, rest):
            axis.plot(x, rest[:, 2], color=colour, lw=0.7)


def _across(axes: Sequence[Axes], series: Series, places: Array) -> Iterator[tuple[Axes, Array]]:
    """Each panel with the x values of the points in it: environment steps in the last panel, the paper's axis in the first."""
    first = 1 if series.cycle > 1 else 0  # cycles are counted from 0
    return zip(axes[::-1], (places[:, 1], places[:, 0] / series.cycle - first), strict=False)
