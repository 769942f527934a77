"""Results of the final tests behind a figure: read from run folders, stored as one small CSV file beside the curves."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlsh_mpi import files
from mlsh_mpi.config.earlier_names import result
from mlsh_mpi.errors import UserError
from mlsh_mpi.reporting.curves import run_name, series_of
from mlsh_mpi.tracking.run_folder import SUMMARY

FINAL_TESTS = "final-tests.csv"
"""The file's name, in the folder of a figure."""
COLUMNS = ("series", "seed", "task", "adapted", "without_exploration", "primitives")


@dataclass(frozen=True)
class FinalTest:
    """One task in the final test of one run: mean returns of an episode."""

    series: str
    """The run's name without the seed."""
    seed: int
    task: str
    adapted: float
    """Of fresh masters after their last update, exploring."""
    without_exploration: float
    """Of the same without exploration; NaN if that was not evaluated."""
    primitives: tuple[float, ...]
    """Of each primitive alone; empty if that was not evaluated."""


def read_final_test(folder: Path) -> list[FinalTest]:
    """The final test of a finished run, a value for each task; empty if it had none.

    Raises:
        UserError: the run is not finished, or its summary is damaged.
    """
    path = folder / SUMMARY
    if not path.exists():
        raise UserError(f"{folder} holds no finished run")

    series, seed = series_of(run_name(folder))
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        tasks = files.read_json(path).get("tasks", {})
        return [
            FinalTest(
                series,
                seed,
                label,
                float(task["adapted"]),
                math.nan if (value := result(task, "without_exploration")) is None else float(value),
                tuple(float(alone) for alone in task.get("forced", ())),
            )
            for label, task in tasks.items()
        ]
    raise UserError(f"{path} cannot be read: start the same run again, which writes a new one")


def read_final_tests(path: Path) -> list[FinalTest]:
    """The inverse of :func:`write_final_tests`; empty if there is no such file.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return []

    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                FinalTest(
                    row["series"],
                    int(row["seed"]),
                    row["task"],
                    float(row["adapted"]),
                    float(row["without_exploration"] or "nan"),
                    tuple(float(alone) for alone in row["primitives"].split()),
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} cannot be read as final tests: put the file back as it was, or remove it") from None


def write_final_tests(path: Path, tests: Iterable[FinalTest]) -> None:
    """Writes final tests as CSV, sorted by series, seed and task; primitives in order, separated by spaces.

    Raises:
        OSError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for test in sorted(tests, key=lambda test: (test.series, test.seed, test.task)):
        evaluated = "" if math.isnan(test.without_exploration) else f"{test.without_exploration:.5g}"
        alone = " ".join(f"{value:.5g}" for value in test.primitives)
        writer.writerow((test.series, test.seed, test.task, f"{test.adapted:.5g}", evaluated, alone))

    files.save_text(path, text.getvalue())


def has_separated(alone: Sequence[Sequence[float]], own: float, other: float) -> bool:
    """Whether each task of one run has a primitive of its own.

    Args:
        alone: for each task the return of each primitive alone.
        own: smallest sufficient return of such a primitive on its task.
        other: its largest permissible return on any other task.
    """

    def serves_only(k: int, task: int) -> bool:
        return alone[task][k] >= own and all(row[k] <= other for at, row in enumerate(alone) if at != task)

    return all(any(serves_only(k, task) for k in range(len(row))) for task, row in enumerate(alone))
