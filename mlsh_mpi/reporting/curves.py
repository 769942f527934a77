"""The logged curves behind a figure: read from run folders, stored as one small CSV file."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from mlsh_mpi import files
from mlsh_mpi.config.earlier_names import result
from mlsh_mpi.errors import UserError
from mlsh_mpi.tracking.metrics_file import METRICS, read_rows
from mlsh_mpi.tracking.run_folder import SUMMARY

Array = np.ndarray[Any, np.dtype[Any]]
LEARNING = ("return/adapted", "return/mean")
"""Metrics for a training curve, which shows the first of these that was logged."""
CURVES = "adaptation.json"
"""The file of a test with each learner's curves."""
COLUMNS = ("series", "seed", "task", "iteration", "environment_steps", "return")


@dataclass(frozen=True)
class Curve:
    """The learning curve of one training run, or of one task in one test."""

    series: str
    """The run's name without the seed."""
    seed: int
    task: str
    """Label of a test's task; empty for training, in which every group has its own task."""
    points: Array
    """(n, 3): iteration (in a test, number of updates), environment steps, mean return of an episode."""


def run_name(folder: Path) -> str:
    """The name of a run in figures: its folder and the folder around it."""
    return "/".join(folder.absolute().parts[-2:])


def series_of(name: str) -> tuple[str, int]:
    """A run's name without its seed, and the seed (0 if it names none)."""
    match = re.fullmatch(r"(.*?)(?:[-_]?seed(\d+))?", name)
    assert match
    return match[1], int(match[2] or 0)


def training_curves(folder: Path) -> dict[str, Array]:
    """The (n, 3) points of each metric of LEARNING that a run has logged, whether it is finished or not.

    Raises:
        UserError: there is no run in the folder, or it has not logged a return yet.
    """
    rows = read_rows(folder / METRICS)
    curves = {}
    for metric in LEARNING:
        if points := [(row["iteration"], row["environment_steps"], row[metric]) for row in rows if row.get(metric) is not None]:
            curves[metric] = np.array(points, float)
    if not curves:
        raise UserError(f"{folder} holds no run, or one without a return yet: name run folders, such as runs/*-seed*")
    return curves


def read_run(folder: Path, averaged: Callable[[str], int]) -> list[Curve]:
    """The curve of a finished training run, or the curves of a finished test, one for each task.

    Args:
        folder: the run folder.
        averaged: given a series, the number of iterations averaged to one point of a training curve.

    Raises:
        UserError: the run is not finished.
    """
    if not (folder / SUMMARY).exists():
        raise UserError(f"{folder} holds no finished run")
    series, seed = series_of(run_name(folder))
    curves = _test_in(folder, "tasks", "steps", "returns")
    if curves is None:
        return [Curve(series, seed, "", _averaged(next(iter(training_curves(folder).values())), averaged(series)))]
    returns, tasks = np.array(curves["returns"], float), np.array(curves["tasks"])  # (updates + 1, learners), (learners,)
    updates = np.arange(len(returns))
    return [
        Curve(series, seed, task, np.stack((updates, updates * curves["steps"], returns[:, tasks == task].mean(1)), axis=1))
        for task in sorted(set(curves["tasks"]))
    ]


def read_last(folder: Path) -> list[Curve]:
    """The final return of each learner of a finished test: a curve of one point, after the last update, without exploration if
    that was evaluated. A training run has none.

    Raises:
        UserError: the run is not finished.
    """
    if not (folder / SUMMARY).exists():
        raise UserError(f"{folder} holds no finished run")
    curves = _test_in(folder, "tasks", "steps", "returns", "returns_without_exploration")
    if curves is None:
        return []
    series, seed = series_of(run_name(folder))
    returns, evaluated = (np.array(curves[name][-1], float) for name in ("returns", "returns_without_exploration"))
    updates = len(curves["returns"]) - 1
    values = np.where(np.isnan(evaluated), returns, evaluated).tolist()
    return [
        Curve(series, seed, f"{task}, learner {learner}", np.array([[updates, updates * curves["steps"], value]]))
        for learner, (task, value) in enumerate(zip(curves["tasks"], values, strict=True))
    ]


def _test_in(folder: Path, *names: str) -> dict[str, Any] | None:
    """The named curves of each learner of a test; None for a training run.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / CURVES
    if not path.exists():
        return None
    with suppress(OSError, ValueError, KeyError, TypeError, OverflowError):
        whole = files.read_json(path)
        if not isinstance(whole, dict):
            raise TypeError
        curves = {name: result(whole, name) for name in names}
        shapes = {np.array(curves[name], float).shape[1:] for name in names if name not in ("tasks", "steps")}
        if shapes == {(len(curves["tasks"]),)} and all(isinstance(task, str) for task in curves["tasks"]) and curves["steps"] > 0:
            return curves
    raise UserError(f"{path} cannot be read: remove it and start the test again, which writes a new one")


def _averaged(points: Array, every: int) -> Array:
    """Means over blocks of `every` iterations; a block's point is at its last iteration."""
    block = (points[:, 0] - 1) // every
    starts = np.flatnonzero(np.diff(block, prepend=-1))
    ends = np.append(starts[1:], len(points))
    means = np.add.reduceat(points[:, 2], starts) / (ends - starts)
    return np.column_stack((points[ends - 1, :2], means))


def read_points(path: Path) -> list[Curve]:
    """The inverse of :func:`write_points`; empty if there is no such file.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return []
    curves: dict[tuple[str, int, str], list[tuple[float, ...]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                points = curves.setdefault((row["series"], int(row["seed"]), row["task"]), [])
                points.append(tuple(float(row[name]) for name in COLUMNS[3:]))
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path} cannot be read as curves: put the file back as it was, or remove it and add --runs") from None
    return [Curve(*key, np.array(points)) for key, points in curves.items()]


def write_points(path: Path, curves: Iterable[Curve]) -> None:
    """Writes curves as CSV, sorted by series, seed and task.

    Raises:
        OSError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for curve in sorted(curves, key=lambda curve: (curve.series, curve.seed, curve.task)):
        for iteration, steps, value in curve.points.tolist():
            shown = f"{value:.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
            writer.writerow((curve.series, curve.seed, curve.task, f"{iteration:.0f}", f"{steps:.0f}", shown))
    files.save_text(path, text.getvalue())


class OfRun(Protocol):
    """Something that belongs to one run of a figure."""

    @property
    def series(self) -> str: ...
    @property
    def seed(self) -> int: ...


Kept = TypeVar("Kept", bound=OfRun)


def renewed(old: Sequence[Kept], new: Sequence[Kept]) -> list[Kept]:
    """The items, with the old ones of a run replaced if there are new ones."""
    runs = {(item.series, item.seed) for item in new}
    return [*(item for item in old if (item.series, item.seed) not in runs), *new]


def together(curves: Sequence[Curve]) -> tuple[Array, Array]:
    """The curves of one series, at the iterations where all of them have a point.

    Returns:
        (X, 2) iterations and environment steps, and (tasks, runs, X) returns. If tasks have different numbers of runs, because
        seeds have different tasks, the smallest number counts.
    """
    common = set.intersection(*({float(x) for x in curve.points[:, 0]} for curve in curves))
    points_of = [curve.points[np.isin(curve.points[:, 0], sorted(common))] for curve in curves]
    tasks = list(dict.fromkeys(curve.task for curve in curves))
    of_task = [[points[:, 2] for points, curve in zip(points_of, curves, strict=True) if curve.task == task] for task in tasks]
    runs = min(map(len, of_task))
    return points_of[0][:, :2], np.array([values[:runs] for values in of_task])


def last_by_seed(curves: Sequence[Curve]) -> list[Array]:
    """The last returns of one series: for each seed, those of its learners."""
    seeds = sorted({curve.seed for curve in curves})
    return [np.array([curve.points[-1, 2] for curve in curves if curve.seed == seed]) for seed in seeds]
