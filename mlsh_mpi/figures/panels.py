"""Draws a figure of the paper: our curves with their bands, and the paper's own in grey."""

from __future__ import annotations

import csv
import textwrap
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, NullFormatter

from mlsh_mpi.figures import style
from mlsh_mpi.figures.our_curve import OurCurve, jump_handle
from mlsh_mpi.figures.paper import PaperFigure
from mlsh_mpi.reporting.curves import Curve
from mlsh_mpi.reporting.statistics import BANDED

Array = np.ndarray[Any, np.dtype[Any]]
HALO = withStroke(linewidth=2.5, foreground="white")
"""Keeps a label legible in front of a curve."""
COLUMNS = 4
"""Number of small panels in a row."""


def digitised(path: Path, panel: str) -> dict[str, Array]:
    """The paper's curves of a panel, digitised, by name: (n, 2) points each."""
    curves: dict[str, list[tuple[float, float]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["panel"] == panel:
                curves.setdefault(row["series"], []).append((float(row["x"]), float(row["y"])))
    return {name: np.array(sorted(points)) for name, points in curves.items()}


def draw_figure(shown: PaperFigure, curves: Sequence[Curve], of_paper: dict[str, Array]) -> Figure:
    """Draws the figure: a panel with the paper's axis, and one by environment steps if that is not the same; or, if curves would
    hide one another, a small panel with the paper's axis for each.

    Args:
        shown: the paper's figure to draw.
        curves: our curves of all its series.
        of_paper: the paper's curves, by name.
    """
    of_paper = {series.digitised: of_paper[series.digitised] for series in shown.series if series.digitised in of_paper}
    end = max(points[-1, 0] for points in of_paper.values()) if of_paper and shown.axis == "cycles" else np.inf
    ours = [
        OurCurve(series, of_series, colour, shown.mean_of_tasks, end)
        for series, colour in zip(shown.series, style.colours(shown.series), strict=True)
        if (of_series := [curve for curve in curves if curve.series == series.runs])
    ]
    with matplotlib.rc_context(style.RC):
        return _draw_multiples(shown, ours, of_paper) if shown.small_multiples else _draw_together(shown, ours, of_paper)


def _draw_together(shown: PaperFigure, ours: Sequence[OurCurve], of_paper: dict[str, Array]) -> Figure:
    """All curves in one panel, and in a second one by environment steps."""
    panels = 2 if of_paper and shown.axis != "environment steps" else 1
    figure = Figure(figsize=(style.WIDTH, style.HEIGHT))
    axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]

    by_count = axes[0] if panels == 2 else None
    handles: list[Artist] = [one.draw(axes[-1], by_count) for one in reversed(ours)][::-1]  # the first is on top
    ends = _draw_papers(axes, shown, of_paper)
    note = _set_axes(axes, shown, ours)
    if any(one.jumps for one in ours):
        handles.append(jump_handle())
    if of_paper:
        handles.append(_paper_handle("the paper's curves, named at their ends"))
    style.lay_out(figure, shown.title, _about(ours, bool(of_paper)) + note + shown.caption, handles)

    for axis, places in zip(axes[::-1], ends, strict=True):
        _name_at_their_ends(axis, places)
    return figure


def _draw_multiples(shown: PaperFigure, ours: Sequence[OurCurve], of_paper: dict[str, Array]) -> Figure:
    """A small panel for each of our curves, with the paper's curve for comparison."""
    columns = max(1, min(COLUMNS, len(ours)))
    rows = -(-len(ours) // columns)
    figure = Figure(figsize=(style.WIDTH, rows * style.SMALL))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)

    for axis, one in zip(panels.flat, ours, strict=False):
        one.draw(None, axis, seeds=True)
        axis.set_title(f"{textwrap.fill(one.label, 26)}\n{one.count}, {one.steps[-1] / 1e6:.3g} M steps", loc="left", fontsize=9)
        if (paper := of_paper.get(one.digitised)) is not None:
            axis.plot(*paper.T, color=style.PAPER, ls=style.DASHES[0], lw=1.3, zorder=1)
    for axis in panels.flat[len(ours) :]:
        axis.set_visible(False)
    for axis in panels[:, 0]:
        axis.set_ylabel("return of an episode")
    for axis in panels.flat[max(0, len(ours) - columns) : len(ours)]:
        axis.set_xlabel(shown.axis)
        axis.xaxis.set_tick_params(labelbottom=True)

    handles: list[Artist] = [jump_handle()] if any(one.jumps for one in ours) else []
    if of_paper:
        handles.append(_paper_handle("the paper's curve of the same name"))
    about = "Interquartile means over seeds; thin lines are the seeds. " + "The paper's curves are digitised. " * bool(of_paper)
    style.lay_out(figure, shown.title, about + shown.caption, handles)
    return figure


def _paper_handle(label: str) -> Artist:
    """The legend's entry for the paper's curves."""
    return Line2D([], [], color=style.PAPER, ls=style.DASHES[0], lw=1.3, label=label)


def _draw_papers(axes: Sequence[Axes], shown: PaperFigure, of_paper: dict[str, Array]) -> list[list[tuple[float, float, str]]]:
    """Draws the paper's curves. Returns their ends in each panel, starting with the last panel: x, y, name."""
    ends: list[list[tuple[float, float, str]]] = [[] for _ in axes]
    # The paper counts iterations and cycles from 0: the point at 0 is after the steps of one.
    begun = 1 if shown.axis in ("iterations", "cycles") else 0
    for dashes, (name, points) in zip(cycle(style.DASHES), of_paper.items()):
        x, y = points.T
        steps = (x + begun) * shown.steps
        dense = np.union1d(steps, np.geomspace(steps[steps > 0][0] / 100, steps[-1], 300))  # so that the paper's straight lines
        dense = dense[dense >= steps[0]]  # are curved on a logarithmic axis, as they should be
        for axis, places, values, at in zip(axes[::-1], (dense, x), (np.interp(dense, steps, y), y), ends, strict=False):
            axis.plot(places, values, color=style.PAPER, ls=dashes, lw=1.3, zorder=1)
            at.append((places[-1], values[-1], style.paper_name(name)))
    return ends


def _set_axes(axes: Sequence[Axes], shown: PaperFigure, ours: Sequence[OurCurve]) -> str:
    """Names and scales the axes. Returns a note on them for the caption."""
    first, second, note = axes[0], axes[-1], ""
    first.set_ylabel("return of an episode")

    if first is not second:
        first.set_xlabel("cycles of W + U iterations" if shown.axis == "cycles" else shown.axis)
        first.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
        first.set_title("as in the paper", loc="left", color="0.3")
        second.set_title("by what was sampled", loc="left", color="0.3")
        if second.dataLim.x0 > 0:
            second.set_xscale("log")
        else:  # a logarithmic axis has no 0, where the curves of tests begin
            linear = min((one.steps[1] for one in ours if len(one.steps) > 1), default=shown.steps)
            second.set_xscale("symlog", linthresh=linear, linscale=0.4)
            note = f"The right axis is linear up to {linear:,.0f} steps. "

    unit, name = (1e6, "millions") if second.dataLim.x1 >= 1e6 else (1e3, "thousands")
    second.set_xlabel(f"environment steps ({name})")
    second.xaxis.set_major_formatter(lambda x, _: f"{x / unit:g}")
    second.xaxis.set_minor_formatter(NullFormatter())
    return note


def _about(ours: Sequence[OurCurve], beside_paper: bool) -> str:
    """Explains the lines and bands that this figure has."""
    several, tasks = [one for one in ours if one.seeds >= BANDED], any(one.tasks > 1 for one in ours)
    single = all(one.seeds == 1 for one in ours)
    text = "" if several or tasks or not single else "A single run. " if len(ours) == 1 else "Lines are single runs. "
    if several:
        over = "seeds and tasks" if tasks else "seeds"
        where = ", where n > 2" if len(several) < len(ours) else ""
        text = f"Interquartile means over {over} with 95 % bands by a stratified bootstrap{where}"
        text += "; thin lines are runs that went on when others had ended. " if any(one.longer for one in ours) else ". "
    elif tasks:
        text = "Interquartile means over tasks. "
    text += "Thin lines are the two seeds of a curve. " if any(one.seeds == 2 for one in ours) else ""
    text += "The paper's curves are digitised. " if beside_paper else ""
    return text + "The left axis ends with the paper's curves; longer ones go on on the right. " * any(one.cut for one in ours)


def _name_at_their_ends(axis: Axes, places: Sequence[tuple[float, float, str]]) -> None:
    """Labels curves at their ends (x, y, name), one above another, in extra room to the right of the panel's axis."""
    texts = [
        axis.annotate(
            name, (x, y), (4, 0), textcoords="offset points", va="center", fontsize=9, color="0.35", path_effects=[HALO]
        )
        for x, y, name in places
    ]

    if not texts:
        return

    # Room to the right of the axis, whose own end stays.
    scale = axis.xaxis.get_transform()
    edges = axis.get_xlim()
    left, right = scale.transform(np.array(edges))
    for (x, _, _), text in zip(places, texts, strict=True):
        share = (text.get_window_extent().width + 8 / 72 * axis.figure.dpi) / axis.bbox.width
        right = max(right, (float(scale.transform(np.array([x]))[0]) - share * left) / (1 - share))

    ticks = {minor: [x for x in axis.get_xticks(minor=minor) if edges[0] <= x <= edges[1]] for minor in (False, True)}
    axis.set_xlim(*scale.inverted().transform(np.array([left, right])))
    axis.spines.bottom.set_bounds(*edges)
    for minor, positions in ticks.items():
        axis.set_xticks(positions, minor=minor)

    # Labels keep their order, and are a line apart.
    line = 1.05 * max(text.get_window_extent().height for text in texts)
    heights = [float(axis.transData.transform((x, y))[1]) for x, y, _ in places]
    order = np.argsort(heights)
    for at, height in zip(order, apart(np.sort(heights), line, axis.bbox.y0 + line, axis.bbox.y1 - line / 2), strict=True):
        texts[at].xyann = (4, (height - heights[at]) * 72 / axis.figure.dpi)


def apart(heights: Array, line: float, low: float, high: float) -> list[float]:
    """Heights in ascending order, moved so that they are a line apart and within both limits."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + line if placed else low))
    for at in reversed(range(len(placed))):
        placed[at] = min(placed[at], high)
        high = placed[at] - line
    return placed
