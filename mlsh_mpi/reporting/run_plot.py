"""A plot of a run: its learning curves, and the directions of each primitive (paper, Figure 3)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator

from mlsh_envs.window import PRIMITIVE_COLOURS as COLOURS
from mlsh_mpi.adaptation.diagnostics import ForcedReturns
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.output import format_value
from mlsh_mpi.reporting.drawing import figure_in
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.task_family import TaskFamily

Array = np.ndarray[Any, np.dtype[Any]]
LENGTH, EVALUATION = "schedule/macro_length", "evaluation/return"


def draw(
    path: Path,
    rows: Sequence[dict[str, float]],
    forced: ForcedReturns,
    family: TaskFamily,
    policies: PrimitivePolicies | None,
    title: str,
) -> None:
    """Writes the plot as PNG.

    Args:
        path: file to write.
        rows: metrics of each iteration; some or all may have been lost.
        forced: returns of each primitive alone; may have no tasks.
        family: the environment's task family; with a `survey`, primitives are drawn as arrows, else their returns as colours.
        policies: the trained primitives; None if they cannot act alone.
        title: title of the plot.
    """
    surveyed = policies is not None and family.attribute("survey") is not None
    panels = 1 + (policies.primitives.n if surveyed and policies else int(forced.returns.size > 0))
    with figure_in(path, width=1.0 + 4.2 * panels, height=4.4, dpi=110) as figure:
        axes = figure.subplots(1, panels, squeeze=False)
        figure.suptitle(title)
        _curve(axes[0, 0], rows)
        if surveyed and policies:
            for k, axis in enumerate(axes[0, 1:]):
                _arrows(axis, k, family, policies)
        elif forced.returns.size:
            _matrix(axes[0, 1], forced)


def _curve(axis: Axes, rows: Sequence[dict[str, float]]) -> None:
    names = {"return/mean": ("all groups", "0.7"), "return/adapted": ("after warm-up", "black")}
    tasks = sorted({name for row in rows for name in row if name.startswith("return/adapted/")})
    if len(tasks) <= len(COLOURS):
        names |= {name: (f"after warm-up, {name.split('/', 2)[2]}", COLOURS[i]) for i, name in enumerate(tasks)}

    for name, (label, colour) in names.items():
        points = [(row["environment_steps"] / 1e6, row[name]) for row in rows if name in row]
        if points:
            axis.plot(*zip(*points, strict=True), color=colour, label=label, lw=1 if "/adapted/" in name else 1.6)

    evaluated = [(row["environment_steps"] / 1e6, row[EVALUATION]) for row in rows if EVALUATION in row]
    if evaluated:
        axis.plot(*zip(*evaluated, strict=True), color="black", ls="--", marker="o", ms=4, lw=1, label="fresh masters, evaluated")

    # Mark changes of N, because returns change with it.
    changes = [b for a, b in itertools.pairwise(rows) if a.get(LENGTH) != b.get(LENGTH)]
    for row in changes:
        axis.axvline(row["environment_steps"] / 1e6, color="0.5", ls=":", lw=1)
        place = (row["environment_steps"] / 1e6, 1.0)
        text = f"N = {row['schedule/macro_length']:.0f} from here"
        axis.annotate(
            text, place, (-2, 2), xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=8, ha="center"
        )

    axis.set(xlabel="environment steps (millions)", ylabel="return of an episode")
    axis.xaxis.set_major_locator(MaxNLocator(5))
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=8, loc="best")


def _arrows(axis: Axes, k: int, family: TaskFamily, policies: PrimitivePolicies) -> None:
    """Draws the mean displacement under primitive k from a grid of positions."""
    survey = family.attribute("survey")(15, seeding.stream(4, "survey"))
    seen = policies.primitive_view(policies.observe(survey["observations"]))
    with torch.no_grad():
        stacked = torch.from_numpy(seen).expand(policies.primitives.n, -1, -1)
        probability = torch.softmax(policies.primitives.policy(stacked)[k], -1).numpy()
    move = probability @ survey["moves"]
    x, y = survey["positions"].T
    axis.quiver(x, y, *move.T, color=COLOURS[k % len(COLOURS)], angles="xy", scale_units="xy", scale=1.0, width=0.005)
    for number, goal in enumerate(survey["goals"]):
        axis.add_patch(Circle(tuple(goal), 50, fill=False, color="0.4"))
        axis.annotate(str(number), tuple(goal), ha="center", va="center", fontsize=12, weight="bold")
    axis.set(title=f"primitive {k}", aspect="equal", xticks=[], yticks=[])


def _matrix(axis: Axes, forced: ForcedReturns) -> None:
    matrix = forced.returns
    axis.imshow(matrix.T, cmap="viridis", aspect="auto")
    for (k, task), value in np.ndenumerate(matrix):
        colour = "black" if value > matrix.min() + 0.7 * np.ptp(matrix) else "white"  # at the light end of the scale
        axis.annotate(format_value(value), (k, task), ha="center", va="center", color=colour, fontsize=8)
    axis.set(title="return of each primitive alone", xlabel="primitive", xticks=range(len(matrix)))
    axis.set_yticks(range(len(forced.tasks)), forced.tasks, fontsize=8)
