"""The contents of each figure of the paper, and the runs that reproduce it: read from the figures' folders below launch/paper."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlsh_mpi import files
from mlsh_mpi.policies.pretrained import paper_folder

FILE = "figure.json"
Axis = Literal["iterations", "cycles", "updates", "environment steps"]


@dataclass(frozen=True)
class Series:
    """One curve: the runs whose folders differ only in the seed."""

    runs: str
    """Name of their folders without the seed, below runs/paper/."""
    label: str
    digitised: str = ""
    """The paper's curve to compare it with, by its name in launch/paper/paper-curves.csv."""
    cycle: int = 1
    """W + U, if the axis counts cycles."""
    method: str = ""
    """The method whose colour it gets (`figures/style.py`); the last part of the runs' name if empty."""
    printed: float | None = None
    """The number in the paper's table, if there is one."""
    jump: int = 0
    """The iteration after which N falls from a whole episode to its value; 0 for never."""


@dataclass(frozen=True)
class PaperFigure:
    """One panel of the paper's figures."""

    title: str
    panel: str
    """Its name in launch/paper/paper-curves.csv; empty if the paper has no curve."""
    axis: Axis
    """The unit of the paper's horizontal axis."""
    steps: float
    """Environment steps of the paper's run per unit of its axis, over all workers."""
    series: tuple[Series, ...]
    caption: str
    """Notes for the reader of the figure, such as what was scaled."""
    every: int = 1
    """Number of iterations averaged to one point of a training curve; those of a cycle if the axis counts cycles."""
    small_multiples: bool = False
    """Whether each curve has a panel of its own, because together they would hide one another."""
    separated: tuple[float, float] | None = None
    """If each primitive should serve one task: the smallest return of a primitive alone on its own task, and the largest on any
    other, with which a seed counts as separated."""
    mean_of_tasks: bool = False
    """Whether to average the tasks of each seed first: if it is random which task a collapsed seed serves, tasks are not
    strata."""

    def averaged(self, runs: str) -> int:
        """Number of iterations averaged to one point of these runs' curves."""
        return next((of.cycle for of in self.series if of.runs == runs and self.axis == "cycles"), self.every)


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper, drawn as bars: returns of learners on a task after their last update."""

    title: str
    series: tuple[Series, ...]
    caption: str


def read_figure(path: Path) -> PaperFigure | PaperTable:
    """A figure from its ``figure.json``, whose entries are the fields of these classes; ``"table": true`` makes it a table."""
    entries = files.read_json(path)
    series = tuple(Series(**values) for values in entries.pop("series"))
    if entries.pop("table", False):
        return PaperTable(series=series, **entries)

    separated = entries.pop("separated", None)
    return PaperFigure(series=series, separated=separated and tuple(separated), **entries)


FIGURES: dict[str, PaperFigure | PaperTable] = {
    path.parent.name: read_figure(path) for path in sorted(paper_folder().glob(f"*/{FILE}"))
}
"""All figures by name, each from the folder that holds its runs, curves and picture."""
