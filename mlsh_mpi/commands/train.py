"""The main command: set-up, header, training by Algorithm 1 (mlsh.py), the final test, tables and picture.

mpirun -np 4 python -m mlsh_mpi.train [PRESET] [--options]
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from mlsh_mpi import files
from mlsh_mpi.adaptation.diagnostics import ForcedReturns, forced_returns
from mlsh_mpi.adaptation.evaluation import Best, Evaluator
from mlsh_mpi.adaptation.loop import Adaptation, AdaptationMethod, AdaptationSet, adapt
from mlsh_mpi.adaptation.method import make_method
from mlsh_mpi.adaptation.task_selection import TEST_SEED, different_tasks, final_tasks
from mlsh_mpi.algorithm.training_state import groups_of
from mlsh_mpi.commands.reporter import PageReporter
from mlsh_mpi.commands.starting import Options, begun
from mlsh_mpi.config import methods
from mlsh_mpi.config.settings import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.mpi.job import Job, job
from mlsh_mpi.mpi.placement import place
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.output import format_value, say, warn
from mlsh_mpi.policies.phi_file import BEST, PHI, save_phi
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.environment_check import check_draws, check_memory, checked_family
from mlsh_mpi.sampling.environment_choice import SCRIPTED, EnvironmentChoice
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.experiment import Experiment
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.tracking import run_folder
from mlsh_mpi.tracking.checkpoint import Checkpoint, Resumable
from mlsh_mpi.tracking.opening import Kind, OpenRun, open_on_all_ranks
from mlsh_mpi.tracking.run_names import experiment_name
from mlsh_mpi.tracking.same_run import as_it_began, environment_source, identity, offset_of
from mlsh_mpi.tracking.session import PAGE, PICTURE, IterationHook, Target, parse_on_rank0

Callback = Callable[[dict[str, float], Resumable], object]
"""Receives the metrics of an iteration and the state after it, on rank 0; training ends if it returns True."""
FILM_SHARE = 100
"""The pause after a film of the primitives, in units of the time that it took."""
DRAWN_TASKS = 4
"""Number of drawn tasks on which each primitive is tried alone where the environment does not list its tasks."""


def main() -> None:
    """Entry point of ``python -m mlsh_mpi.train``."""
    with job() as current:
        parsed = parse_on_rank0(current, _parse)
        if parsed is not None:
            run_job(current, *parsed, options=_options() if current.world.rank == 0 else None)


def _parse(arguments: Sequence[str]) -> tuple[Config, EnvironmentChoice, bool] | None:
    from mlsh_mpi.commands.cli import parse_train_args  # only rank 0 pays for importing it

    return parse_train_args(arguments)


def _options() -> Options | None:
    from mlsh_mpi.commands.cli import asked_for

    return asked_for(sys.argv[1:])


def run_job(
    current: Job,
    config: Config,
    choice: EnvironmentChoice,
    fresh: bool,
    callback: Callback | None = None,
    watched: bool = False,
    options: Options | None = None,
) -> Path:
    """Trains, tests and reports inside an MPI job, and returns the run folder.

    Args:
        current: the MPI job.
        config: the run's configuration, the same on every rank.
        choice: what the user, not a file, says about the environment.
        fresh: whether to move an earlier run in the same folder aside.
        callback: called on rank 0 after each iteration.
        watched: whether rank 0 has a callback, the same on every rank.
        options: on rank 0 the user's options, if the configuration is to follow from the environment.

    Raises:
        UserError: on every rank; configuration, environment, ranks and folder do not fit together.
    """
    torch.set_num_threads(1)
    world = current.world
    family = checked_family(world.agreed(lambda: EnvironmentMaker.from_config(config.environment, choice)), current)
    config, reason = world.bcast(world.agreed(lambda: begun(config, family, options)))
    if reason and world.rank == 0:
        say(reason)
    world.agreed(lambda: _check(config, family, current))
    if not family.name.startswith(SCRIPTED):
        current.check_same_on_all_ranks(environment_source(family))
    path = run_folder.default_folder(config)
    asked_for = Experiment(config, current, family)
    training = methods.ALGORITHMS[config.algorithm.algorithm]
    check_resumable = methods.load_entry_point(training.check_resumable)
    kind = Kind("--iterations", (PHI, PICTURE), lambda saved: check_resumable(saved, asked_for))
    opened, saved, done = open_on_all_ranks(current, path, config, lambda: identity(family, current.library), fresh, kind)
    if done:
        return path
    if saved:
        config = as_it_began(path, saved.config, config)
    if saved and run_folder.stopped(saved, config):  # training has ended, and the job left during the test
        config = dataclasses.replace(config, run=dataclasses.replace(config.run, iterations=saved.iteration))
    if saved:  # keep what is subtracted from observations, although this job may have measured it a little differently
        family = family.subtracting(offset_of(saved.identity))
    groups = groups_of(config, world, saved)
    world.agreed(lambda: place(groups, config.sampling.workers, world.size, world.rank))  # a resumed run keeps its groups
    experiment = Experiment(config, current, family)
    reporter = TrainingReporter(experiment, groups, opened) if opened else None

    cycle = max(config.hierarchy.warmup + config.hierarchy.joint, config.run.evaluation_interval or 0)
    train = methods.load_entry_point(training.train)
    hook = IterationHook(config, current, reporter, cycle, callback if world.rank == 0 else None, watched)
    evaluator = _evaluator(experiment, groups, reporter, saved)

    def after(metrics: dict[str, float], state: Resumable) -> bool:
        return hook(metrics, state if evaluator is None else evaluator(metrics, state))

    policies = train(experiment, saved, after)
    if reporter is not None:
        reporter.trained(policies, evaluator.best if evaluator else None)
    _test(experiment, policies, reporter)
    return path


def _evaluator(
    experiment: Experiment, groups: int, reporter: TrainingReporter | None, saved: Checkpoint | None
) -> Evaluator | None:
    """Evaluates the primitives during training; None unless this job or an earlier one of the run asks for it."""
    config = experiment.config
    if config.run.evaluation_interval is None and Best.in_checkpoint(saved) is None:
        return None
    method = methods.default_method(config)

    def learners(adaptation_set: AdaptationSet, policies: PrimitivePolicies) -> AdaptationMethod:
        return make_method(method, adaptation_set, policies)

    def keep(best: Best) -> None:
        if reporter is not None:
            reporter.keep_best(best)

    return Evaluator(experiment, groups, methods.default_updates(config), learners, keep, saved)


def _test(experiment: Experiment, policies: PrimitivePolicies, reporter: TrainingReporter | None) -> None:
    """Tests what was learned: each primitive alone on each task, and how fast new tasks are learned."""
    config, current, family = experiment.config, experiment.job, experiment.family
    seed = config.run.seed + TEST_SEED
    policies = dataclasses.replace(policies, deterministic=config.hierarchy.deterministic_primitives)

    def advance(note: str) -> None:
        current.exit_if_requested()
        if reporter is not None:
            reporter.test_advance(note)

    tasks = _forced_tasks(config, family)
    forced = forced_returns(experiment, policies, tasks, seed, advance)
    count = max(config.run.test_masters, current.world.size, len(family.tasks))
    adaptation_set = AdaptationSet(config, current, family, final_tasks(family, seed, count))
    learners = make_method(methods.default_method(config), adaptation_set, policies)
    updates = methods.default_updates(config)
    adaptation = adapt(
        learners,
        updates,
        lambda metrics, _: advance(f"after {metrics['updates']:.0f} updates: return {format_value(metrics['return/mean'])}"),
        evaluate=lambda update: update == updates,
    )
    if reporter is not None:
        reporter.finished(policies, forced, adaptation)


def _forced_tasks(config: Config, family: TaskFamily) -> tuple[Any, ...]:
    """The tasks on which each primitive is tried alone: those listed, or else some of those that the fresh masters get."""
    if not methods.supports_forcing(config):
        return ()
    count = min(DRAWN_TASKS, config.run.test_masters)
    return family.tasks or different_tasks(final_tasks(family, config.run.seed + TEST_SEED, count), family)


def _check(config: Config, family: TaskFamily, current: Job) -> None:
    """Checks the configuration against the environment and the ranks.

    Raises:
        UserError: configuration, environment and ranks do not fit together.
    """
    config.check(family.episode_length)
    world, groups = current.world, groups_of(config, current.world, None)
    steps = methods.steps_of_a_worker(config, family.episode_length)
    check_memory(groups * config.sampling.workers, steps, family, current)
    place(groups, config.sampling.workers, world.size, world.rank)
    if config.run.stop_when is not None:
        Target.parse(config.run.stop_when)
    if config.run.tensorboard_films and world.rank == 0:
        check_draws(family, family.sample_task(seeding.stream(config.run.seed, "test")))


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
        steps = policies.primitives.n * len(_forced_tasks(self.config, self._family)) + methods.default_updates(self.config) + 1
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
