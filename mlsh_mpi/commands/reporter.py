"""Rank 0's part of a run as commands have it: with the run's page, which the layers below know nothing of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlsh_mpi.errors import UserError
from mlsh_mpi.output import warn
from mlsh_mpi.tracking.session import PAGE, RunReporter


class PageReporter(RunReporter):
    """Also writes report.html, at each checkpoint and at the end."""

    _warned = False

    def keep(self, iteration: int, gathered: Mapping[str, Any], reached: bool) -> None:
        super().keep(iteration, gathered, reached)
        self._write_page()

    def finish(self, text: str, summary: Any, picture: Callable[[Path], None], others: str) -> None:
        super().finish(text, summary, picture, others)
        self._write_page()

    def _write_page(self) -> None:
        from mlsh_mpi.reporting.report import write_report  # imports matplotlib, for which no run should wait at its start

        try:
            write_report(self.folder.path, self.log.rows)
        except (OSError, UserError) as error:  # no run ends for its page
            if not self._warned:
                self._warned = True
                warn(f"mlsh_mpi: {PAGE} could not be written: {error}")
