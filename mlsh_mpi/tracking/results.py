"""The results of a finished or unfinished run, for scripts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlsh_mpi.tracking.metrics_file import METRICS, read_rows
from mlsh_mpi.tracking.run_folder import SUMMARY


@dataclass(frozen=True)
class Run:
    """A run in its folder; its files are read when they are asked for."""

    folder: Path

    def __fspath__(self) -> str:
        return str(self.folder)

    def __str__(self) -> str:
        return str(self.folder)

    @property
    def summary(self) -> dict[str, Any]:
        """The contents of summary.json: the final tables as plain values.

        Raises:
            FileNotFoundError: the run is not finished.
        """
        found: dict[str, Any] = json.loads((self.folder / SUMMARY).read_text(encoding="utf-8"))
        return found

    @property
    def curves(self) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
        """Every logged metric by name, (iterations,) float64; NaN where an iteration did not log it."""
        rows = read_rows(self.folder / METRICS)
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: np.array([row.get(name, np.nan) for row in rows], float) for name in names}
