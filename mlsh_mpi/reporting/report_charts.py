"""The charts of a run's page: SVG whose text and black lines take the colour of the page, for light and dark screens."""

from __future__ import annotations

import io
import itertools
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mlsh_envs.window import PRIMITIVE_COLOURS as COLOURS
from mlsh_mpi.reporting.drawing import LITERAL, legend_label

INK, GREY = "#010203", "#8a8a8a"
"""Stands for the colour of the page's text; and a colour that can be read on light and dark."""
MOST_POINTS = 400
"""Points of a line; more are averaged."""
STYLE: dict[Any, Any] = {
    **LITERAL,
    "svg.fonttype": "none",
    "axes.edgecolor": GREY,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.size": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor", "axes.titlecolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), GREY),
}


def svg(name: str, draw: Callable[[Figure], None], width: float = 5.0, height: float = 3.0) -> Markup:
    """A chart as SVG for HTML, as wide as its place there.

    Args:
        name: of the chart, different on one page; also what a screen reader says.
        draw: draws it.
        width: in inches; the wider, the smaller its text on the page.
        height: in inches.
    """
    text = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # only sizes are measured with this font: browsers have others
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})

    whole = text.getvalue()
    whole = whole[whole.index("<svg") :].replace(INK, "currentColor")
    whole = re.sub(r"<metadata>.*?</metadata>", "", whole, flags=re.DOTALL)
    whole = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", whole, count=1), count=1)
    label = Markup('<svg role="img" aria-label="{}"').format(name)
    return Markup(label + Markup(whole.removeprefix("<svg")))


def lines(rows: Sequence[Mapping[str, float]], named: Mapping[str, str], label: str) -> Callable[[Figure], None] | None:
    """Draws metrics over environment steps; None if none of them was logged.

    Args:
        rows: of the log.
        named: names of metrics, with the label of each; those of primitive k in its colour.
        label: of the vertical axis.
    """
    known = {name: [(row["environment_steps"] / 1e6, row[name]) for row in rows if name in row] for name in named}
    known = {name: points for name, points in known.items() if points}
    if not known:
        return None

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        for number, (name, points) in enumerate(known.items()):
            axis.plot(*fewer(np.array(points)).T, color=_colour(name, number), label=legend_label(named[name]), lw=1.4)
        for before, after in itertools.pairwise(rows):  # returns change where N does
            if before.get("schedule/macro_length") != after.get("schedule/macro_length"):
                axis.axvline(after["environment_steps"] / 1e6, color=GREY, ls=":", lw=1)
        _finish(axis, "environment steps (millions)", label)

    return draw


def learning_of_tasks(summary: Mapping[str, Any]) -> Callable[[Figure], None]:
    """Draws the returns of the learners of a test over their updates, by task if these are few."""

    def draw(figure: Figure) -> None:
        axis, tasks = figure.subplots(), summary["tasks"]
        if 1 < len(tasks) <= len(COLOURS):
            for colour, (label, task) in zip(COLOURS, tasks.items(), strict=False):
                curve = task["curve"]
                axis.plot(curve["updates"], curve["mean"], color=colour, lw=1.2, label=legend_label(label))
                axis.fill_between(curve["updates"], *np.transpose(curve["band"]), color=colour, alpha=0.18, lw=0)

        updates = range(len(summary["curve"]))
        axis.plot(updates, summary["curve"], color=INK, lw=2, label="all, exploring")
        axis.fill_between(updates, *np.transpose(summary["band"]), color=GREY, alpha=0.2, lw=0)
        without = summary["curve_without_exploration"]
        axis.plot(without["updates"], without["mean"], color=INK, ls="--", marker="o", ms=4, lw=1, label="without exploration")
        _finish(axis, "updates", "return of an episode")
        axis.xaxis.set_major_locator(MaxNLocator(8, integer=True))

    return draw


def fewer(points: Any) -> Any:
    """(n, 2) -> at most MOST_POINTS points, each the mean of as many neighbours."""
    if len(points) <= MOST_POINTS:
        return points
    return np.array([part.mean(0) for part in np.array_split(points, MOST_POINTS)])


def _colour(name: str, number: int) -> str:
    if name in ("return/adapted", "evaluation/return"):
        return INK
    if name == "return/mean":
        return GREY
    of_primitive = re.fullmatch(r"primitive/\w+_(\d+)", name)
    return COLOURS[(int(of_primitive[1]) if of_primitive else number) % len(COLOURS)]


def _finish(axis: Axes, x: str, y: str) -> None:
    axis.set(xlabel=x, ylabel=y)
    axis.margins(x=0.01)
    axis.xaxis.set_major_locator(MaxNLocator(6))
    axis.legend(loc="best", ncols=1 if len(axis.lines) <= 4 else 2)
