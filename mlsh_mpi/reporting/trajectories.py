"""Plots of episodes' paths from above, in the colours of the active primitives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

from mlsh_envs.window import PRIMITIVE_COLOURS as COLOURS
from mlsh_mpi.reporting.drawing import figure_in

Array = np.ndarray[Any, np.dtype[Any]]
COLUMNS = 5
"""Largest number of panels in a row."""


@dataclass(frozen=True)
class Walks:
    """One panel: the trajectories of episodes on the same ground."""

    title: str
    paths: Sequence[Array]
    """(T, 2) positions in metres, for each episode."""
    primitives: Sequence[Array]
    """(T,) active primitives, for each episode."""
    walls: Array
    """(n, 4) west, east, south and north edges."""
    goals: Array
    """(m, 2) positions."""


def draw_paths(path: Path, panels: Sequence[Walks], title: str) -> None:
    """Writes the plot.

    Args:
        path: file to write; its suffix gives the format.
        panels: at least one panel.
        title: title of the plot.
    """
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    with figure_in(path, width=3.2 * columns + 0.4, height=3.4 * rows + 0.6, dpi=100) as figure:
        figure.suptitle(title)
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axis, panel in zip(axes, panels, strict=False):
            _draw_panel(axis, panel)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()


def _draw_panel(axis: Axes, panel: Walks) -> None:
    for west, east, south, north in panel.walls:
        axis.add_patch(Rectangle((west, south), east - west, north - south, color="0.75", lw=0))
    axis.plot(*panel.goals.T, "*", ms=13, color="gold", mec="0.3", zorder=3)
    for places, primitive in zip(panel.paths, panel.primitives, strict=True):
        steps = np.stack((places[:-1], places[1:]), axis=1)
        axis.add_collection(LineCollection(list(steps), colors=[COLOURS[k % len(COLOURS)] for k in primitive[1:]], lw=1.1))
        axis.plot(*places[0], "o", ms=4, color="0.3")
    axis.set(title=panel.title, aspect="equal")
    axis.title.set_fontsize(9)
    axis.tick_params(labelsize=7)
    axis.autoscale_view()
