"""A plot of several runs: their learning curves, and the returns of fresh masters over the primitives of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mlsh_envs.window import PRIMITIVE_COLOURS as COLOURS
from mlsh_mpi import files
from mlsh_mpi.reporting.curves import LEARNING, series_of, training_curves
from mlsh_mpi.reporting.drawing import figure_in, legend_label
from mlsh_mpi.reporting.statistics import band
from mlsh_mpi.tracking.run_folder import SUMMARY

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Run:
    """One finished or unfinished run."""

    name: str
    """Name of its folder without the seed; runs with the same name are drawn together."""
    curves: dict[str, Array]
    """(n, 2) environment steps and mean return, for each metric of LEARNING in its log."""
    test: Array
    """(updates + 1,) mean return of fresh masters in the final test; empty if there was none yet."""

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Reads a run from its folder.

        Raises:
            UserError: there is no run in the folder, or it has not logged a return yet.
        """
        curves = {metric: points[:, 1:] for metric, points in training_curves(folder).items()}
        try:
            test = np.array(files.read_json(folder / SUMMARY)["curve"], float).reshape(-1)
        except (OSError, ValueError, KeyError, TypeError, OverflowError):  # not there yet, or damaged
            test = np.zeros(0)
        return cls(series_of(folder.resolve().name)[0], curves, test)


def draw_seeds(path: Path, runs: Sequence[Run]) -> None:
    """Writes the plot.

    Args:
        path: file to write; its suffix gives the format, such as .png or .pdf.
        runs: at least one run.
    """
    with figure_in(path, width=9.2, height=4.0, dpi=110) as figure:
        draw_runs(figure, runs)


def draw_runs(figure: Figure, runs: Sequence[Run]) -> None:
    """Draws the learning curves of runs, and those of their final tests."""
    learning, test = figure.subplots(1, 2)

    for index, name in enumerate(dict.fromkeys(run.name for run in runs)):
        colour, together = COLOURS[index % len(COLOURS)], [run for run in runs if run.name == name]
        label = f"{legend_label(name)}, {len(together)} run{'s' if len(together) > 1 else ''}"

        metric = next(metric for metric in LEARNING if metric == LEARNING[-1] or all(metric in run.curves for run in together))
        curves = [run.curves[metric] for run in together if metric in run.curves]
        for steps, values in (curve.T for curve in curves):
            learning.plot(steps / 1e6, values, color=colour, alpha=0.25, lw=0.7)

        # The mean is over the steps that all of these runs have.
        common = max((curve[:, 0] for curve in curves), key=len)
        common = common[(common >= max(curve[0, 0] for curve in curves)) & (common <= min(curve[-1, 0] for curve in curves))]
        _mean_and_band(learning, common / 1e6, [np.interp(common, *curve.T) for curve in curves], colour, label)

        tested = [run.test for run in together if run.test.size]
        updates = min((curve.size for curve in tested), default=0)
        label = f"{legend_label(name)}, {len(tested)} tested"
        _mean_and_band(test, np.arange(updates), [curve[:updates] for curve in tested], colour, label)

    learning.set(title="training", xlabel="environment steps (millions)", ylabel="return of an episode")
    test.set(title="fresh masters afterwards", xlabel="updates")
    for axis in (learning, test):
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8, title="mean, 95 % bands", title_fontsize=8)


def _mean_and_band(axis: Any, x: Array, curves: list[Array], colour: Any, label: str) -> None:
    if not curves or not x.size:
        return
    values = np.stack(curves)
    axis.plot(x, values.mean(0), color=colour, lw=1.8, label=label)
    if len(curves) > 1:
        axis.fill_between(x, *np.transpose([band(column) for column in values.T]), color=colour, alpha=0.18, lw=0)
