"""A plot of a test: return against updates and environment steps, task by task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mlsh_envs.window import PRIMITIVE_COLOURS as COLOURS
from mlsh_mpi.reporting.drawing import figure_in, legend_label


def draw_adaptation(path: Path, summary: Any, title: str) -> None:
    """Writes the plot as PNG.

    Args:
        path: file to write.
        summary: the test's summary, from :func:`mlsh_mpi.reporting.tables.summarise`.
        title: title of the plot.
    """
    with figure_in(path, width=9.2, height=4.4, dpi=110) as figure:
        figure.suptitle(title)
        _draw(figure, summary)


def _draw(figure: Figure, summary: Any) -> None:
    tasks = summary["tasks"]
    axes = figure.subplots(1, 2, sharey=True)
    for axis, curve, name in zip(
        axes, ("curve", "curve_without_exploration"), ("exploring, as they learn", "without exploration"), strict=True
    ):
        few = tasks if 1 < len(tasks) <= len(COLOURS) else {}
        for colour, (label, task) in zip(COLOURS, few.items(), strict=False):
            values = task[curve]
            axis.plot(values["updates"], values["mean"], color=colour, lw=1.2, label=legend_label(label))
            axis.fill_between(values["updates"], *np.transpose(values["band"]), color=colour, alpha=0.18, lw=0)

        whole = {"updates": range(len(summary["curve"])), "mean": summary["curve"], "band": summary["band"]}
        whole = summary[curve] if curve == "curve_without_exploration" else whole
        axis.plot(whole["updates"], whole["mean"], color="black", lw=2, label="all")
        axis.fill_between(whole["updates"], *np.transpose(whole["band"]), color="black", alpha=0.12, lw=0)

        axis.set(title=name, xlabel="updates")
        axis.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        steps = summary["steps_per_update"] / 1000
        above = axis.secondary_xaxis("top", functions=(lambda u, steps=steps: u * steps, lambda s, steps=steps: s / steps))
        above.set_xlabel("environment steps of a learner (thousands)", fontsize=8)
        above.tick_params(labelsize=8)

    axes[0].set_ylabel("return of an episode")
    axes[0].legend(fontsize=8, title=f"{summary['masters']} learners, 95 % bands", title_fontsize=8)
