"""One of our curves in a figure: its line, its band, its seeds, and the jump of N."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mlsh_mpi.figures.paper import Series
from mlsh_mpi.reporting.curves import Curve, together
from mlsh_mpi.reporting.statistics import BANDED, interquartile_band
from mlsh_mpi.sampling import seeding

Array = np.ndarray[Any, np.dtype[Any]]
JUMP: dict[str, Any] = {"marker": "D", "markersize": 5, "markerfacecolor": "white", "ls": ""}
"""The mark on a curve where N falls from a whole episode to its value."""


class OurCurve:
    """Mean and band up to the end of the shortest run, and the rest of longer runs.

    Args:
        series: the series to draw.
        curves: the curves of its runs.
        colour: the colour for all of it.
        mean_of_tasks: whether to average the tasks of each seed first.
        end: where the paper's axis ends.
    """

    def __init__(self, series: Series, curves: Sequence[Curve], colour: str, mean_of_tasks: bool, end: float) -> None:
        self._series, self._colour, self._end = series, colour, end

        self._places, returns = together(curves)
        if mean_of_tasks:
            returns = returns.mean(0, keepdims=True)
        self.tasks, self.seeds = returns.shape[:2]

        self.label, self.digitised = series.label, series.digitised
        self.count = f"n = {self.seeds}" + f" × {self.tasks} tasks" * (self.tasks > 1)

        self._mean, self._low, self._high = interquartile_band(returns, seeding.stream(0, "test"))
        self._seeds = returns.mean(0)
        self.steps = self._places[:, 1]
        """(X,) environment steps at the points."""

        last = self._places[-1, 0]
        self.longer = [points[points[:, 0] >= last] for curve in curves if (points := curve.points)[-1, 0] > last]
        self.jumps = 0 < self._series.jump <= self._places[-1, 0]
        """Whether N jumps within the curve."""
        self.cut = any(self._counted(curve.points).max() > end for curve in curves)

    def draw(self, by_steps: Axes | None, by_count: Axes | None, *, seeds: bool = False) -> Artist:
        """Draws the curve.

        Args:
            by_steps: the panel whose horizontal axis counts environment steps, if there is one.
            by_count: the panel that counts what the paper does.
            seeds: whether to show each seed in place of the band.

        Returns:
            The curve's entry in the legend.
        """
        panels = (by_steps, by_count)
        for axis, x in self._across(panels, self._places):
            (line,) = axis.plot(x, self._mean, color=self._colour, lw=1.7, zorder=3)
            line.set_label(f"{self.label} ({self.count})")

            if len(x) == 1:
                line.set_marker("o")
            if self.seeds >= BANDED and not seeds:
                axis.fill_between(x, self._low, self._high, color=self._colour, alpha=0.15, lw=0, zorder=2)
            elif self.seeds > 1:
                axis.plot(x, self._seeds.T, color=self._colour, lw=0.7, alpha=0.6, zorder=2)

            if self.jumps:
                at = np.searchsorted(self._places[:, 0], self._series.jump)
                axis.plot(x[at], self._mean[at], color=self._colour, zorder=4, **JUMP)

        for rest in self.longer:
            for axis, x in self._across(panels, rest):
                axis.plot(x, rest[:, 2], color=self._colour, lw=0.8, zorder=3)

        return line

    def _across(self, panels: tuple[Axes | None, Axes | None], places: Array) -> Iterator[tuple[Axes, Array]]:
        """The existing panels, each with the x values of points in it."""
        counted = self._counted(places)
        values = (places[:, 1], np.where(counted <= self._end, counted, np.nan))
        return ((axis, x) for axis, x in zip(panels, values, strict=True) if axis is not None)

    def _counted(self, places: Array) -> Array:
        """Iterations, or cycles counted from 0."""
        return places[:, 0] / self._series.cycle - (1 if self._series.cycle > 1 else 0)


def jump_handle() -> Artist:
    """The legend's entry for the mark."""
    return Line2D([], [], color="0.3", label="N falls from whole episodes to its value", **JUMP)
