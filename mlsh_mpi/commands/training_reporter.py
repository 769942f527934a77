"""What a training run shows and writes, on rank 0."""

from __future__ import annotations

import math
import time
from typing import Any

from mlsh_mpi import files
from mlsh_mpi.adaptation.diagnostics import ForcedReturns
from mlsh_mpi.adaptation.evaluation import Best
from mlsh_mpi.adaptation.loop import Adaptation
from mlsh_mpi.adaptation.task_selection import TEST_SEED, different_tasks, final_tasks
from mlsh_mpi.commands.reporter import PageReporter
from mlsh_mpi.config import methods
from mlsh_mpi.config.settings import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.output import warn
from mlsh_mpi.policies.phi_file import BEST, PHI, save_phi
from mlsh_mpi.sampling.experiment import Experiment
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.tracking.opening import OpenRun
from mlsh_mpi.tracking.run_names import experiment_name
from mlsh_mpi.tracking.session import PAGE

FILM_SHARE = 100
"""The pause after a film of the primitives, in units of the time that it took."""
DRAWN_TASKS = 4
"""Number of drawn tasks on which each primitive is tried alone where the environment does not list its tasks."""


def forced_tasks(config: Config, family: TaskFamily) -> tuple[Any, ...]:
    """The tasks on which each primitive is tried alone: those listed, or else some of those that the fresh masters get."""
    if not methods.supports_forcing(config):
        return ()
    count = min(DRAWN_TASKS, config.run.test_masters)
    return family.tasks or different_tasks(final_tasks(family, config.run.seed + TEST_SEED, count), family)


class TrainingReporter(PageReporter):
    """What a training run shows and writes, on rank 0."""

    def __init__(self, experiment: Experiment, groups: int, opened: OpenRun) -> None:
        from mlsh_mpi.reporting import headers, tables  # only rank 0 pays for importing it
        from mlsh_mpi.tracking import logs

        config, current, family = experiment.config, experiment.job, experiment.family
        self._family, self._tables, self._logs, self._next_film = family, tables, logs, 0.0
        done = opened.saved.iteration if opened.saved else 0
        header = headers.header(config, current, family, groups, opened.folder.path, done)
        super().__init__(current, config, opened, header, "training", headers.steps_per_iteration(config, family, groups))

    def keep_best(self, best: Best) -> None:
        """Writes the best primitives so far, whole or not at all."""
        with self.writing():
            evaluated = {"evaluation": {"iteration": best.iteration, "return": best.value}}
            files.save_tensors(self.folder.path / BEST, {**best.phi, **evaluated})

    def show(self, state: Any) -> None:
        """Makes a film of the primitives, if it is asked for, unless it would take more than a hundredth of the time."""
        policies = getattr(state, "policies", None)
        if not self.config.run.tensorboard_films or policies is None or time.monotonic() < self._next_film:
            return

        from mlsh_mpi.reporting.clip import clip

        began = time.monotonic()
        try:
            gif, height, width = clip(self._family, policies)
        except UserError as error:  # no run ends for its film
            self._next_film = math.inf
            warn(f"mlsh_mpi: there are no films in TensorBoard: {error}")
            return
        with self.writing():
            steps = self.log.rows[-1]["environment_steps"] if self.log.rows else 0
            self._logs.show_film_in_tensorboard(self.folder.path, "primitives", gif, (height, width), int(steps))
        self._next_film = time.monotonic() + FILM_SHARE * (time.monotonic() - began)

    def trained(self, policies: PrimitivePolicies, best: Best | None) -> None:
        """Closes the log, saves phi, and starts the progress bar of the test."""
        self._best = best
        with self.writing():
            self.log.close()
            save_phi(self.folder.path / PHI, policies, self.config, self._family)
        steps = policies.primitives.n * len(forced_tasks(self.config, self._family)) + methods.default_updates(self.config) + 1
        self._test = self._logs.Bar("testing", steps)

    def test_advance(self, note: str) -> None:
        """Counts one more step of the test."""
        self._test.advance(note)

    def finished(self, policies: PrimitivePolicies, forced: ForcedReturns, adaptation: Adaptation) -> None:
        """Writes tables and picture."""
        from mlsh_mpi.reporting.run_plot import draw

        self._test.close()
        config, family = self.config, self._family
        summary = self._tables.summarise(self.log.rows, self.log.totals, adaptation, forced, family, config)
        if self._best is not None:
            summary["evaluation"] = {"iteration": self._best.iteration, "return": self._best.value}
        shown_policies = policies if methods.supports_forcing(config) else None
        title = f"{experiment_name(config)}, seed {config.run.seed}"
        self.finish(
            self._tables.tables(summary),
            summary,
            lambda path: draw(path, self.log.rows, forced, family, shown_policies, title),
            f", {PHI}, {PAGE}" + f", {BEST}" * (self._best is not None),
        )
