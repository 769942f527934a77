"""The main command: set-up, header, training by Algorithm 1 (mlsh.py), the final test, tables and picture.

mpirun -np 4 python -m mlsh_mpi.train [PRESET] [--options]
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mlsh_mpi.adaptation.diagnostics import forced_returns
from mlsh_mpi.adaptation.evaluation import Best, Evaluator
from mlsh_mpi.adaptation.loop import AdaptationMethod, AdaptationSet, adapt
from mlsh_mpi.adaptation.method import make_method
from mlsh_mpi.adaptation.task_selection import TEST_SEED, final_tasks
from mlsh_mpi.algorithm.training_state import groups_of, joined
from mlsh_mpi.commands.starting import Options, begun
from mlsh_mpi.commands.training_reporter import TrainingReporter, forced_tasks
from mlsh_mpi.config import methods
from mlsh_mpi.config.settings import Config
from mlsh_mpi.mpi.job import Job, job
from mlsh_mpi.mpi.placement import place
from mlsh_mpi.mpi.recovery import Copies, outlive
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.output import format_value, say
from mlsh_mpi.policies.phi_file import PHI
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.environment_check import check_draws, check_memory, checked_family
from mlsh_mpi.sampling.environment_choice import SCRIPTED, EnvironmentChoice
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.experiment import Experiment
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.tracking import run_folder
from mlsh_mpi.tracking.checkpoint import Checkpoint, Resumable
from mlsh_mpi.tracking.opening import Kind, open_on_all_ranks
from mlsh_mpi.tracking.same_run import as_it_began, environment_source, identity, offset_of
from mlsh_mpi.tracking.session import PICTURE, IterationHook, Target, parse_on_rank0

Callback = Callable[[dict[str, float], Resumable], object]
"""Receives the metrics of an iteration and the state after it, on rank 0; training ends if it returns True."""


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
    if config.run.recover:
        return outlive(current, lambda copies: _trained(current, config, family, fresh, callback, watched, copies))
    return _trained(current, config, family, fresh, callback, watched)


def _trained(
    current: Job,
    config: Config,
    family: TaskFamily,
    fresh: bool,
    callback: Callback | None,
    watched: bool,
    copies: Copies | None = None,
) -> Path:
    """Trains and tests, from the newest state that there is, and returns the run folder.

    Args:
        current: the MPI job.
        config: the run's configuration, the same on every rank.
        family: the environment's task family.
        fresh: whether to move an earlier run in the same folder aside.
        callback: called on rank 0 after each iteration.
        watched: whether rank 0 has a callback, the same on every rank.
        copies: keeps the state after each iteration, so that the job goes on if ranks are lost.
    """
    world, path = current.world, run_folder.default_folder(config)
    asked_for = Experiment(config, current, family)
    training = methods.ALGORITHMS[config.algorithm.algorithm]
    check_resumable = methods.load_entry_point(training.check_resumable)
    kind = Kind("--iterations", (PHI, PICTURE), lambda saved: check_resumable(saved, asked_for))

    def about() -> Mapping[str, Any]:
        return identity(family, current.library)

    fresh = fresh and not (copies is not None and copies.has_opened)
    opened, saved, done = open_on_all_ranks(current, path, config, about, fresh, kind, partial(_newest, copies))
    if done:
        return path
    if copies is not None:
        copies.begin(saved.iteration if saved else 0, saved)
    if saved:
        config = as_it_began(path, saved.config, config)
    if saved and run_folder.stopped(saved, config):  # training has ended, and the job left during the test
        config = dataclasses.replace(config, run=dataclasses.replace(config.run, iterations=saved.iteration))
    if saved:  # keep what is subtracted from observations, although this job may have measured it a little differently
        family = family.subtracting(offset_of(saved.identity))
    began_as = saved.identity if saved else about()
    groups = groups_of(config, world, saved)
    world.agreed(lambda: place(groups, config.sampling.workers, world.size, world.rank))  # a resumed run keeps its groups
    experiment = Experiment(config, current, family)
    reporter = TrainingReporter(experiment, groups, opened) if opened else None

    cycle = max(config.hierarchy.warmup + config.hierarchy.joint, config.run.evaluation_interval or 0)
    train = methods.load_entry_point(training.train)
    hook = IterationHook(config, current, reporter, cycle, callback if world.rank == 0 else None, watched)
    evaluator = _evaluator(experiment, groups, reporter, saved)

    def after(metrics: dict[str, float], state: Any) -> bool:
        if evaluator is not None:
            state = evaluator(metrics, state)
        reached = hook(metrics, state)
        if copies is not None:
            copies.keep(int(metrics["iteration"]), state.own_part(), (state.common_part(), dataclasses.asdict(config), began_as))
        return reached

    policies = train(experiment, saved, after)
    if reporter is not None:
        reporter.trained(policies, evaluator.best if evaluator else None)
    _test(experiment, policies, reporter)
    return path


def _newest(copies: Copies | None, saved: Checkpoint | None) -> Checkpoint | None:
    """The checkpoint of the run folder, or after a loss a newer state, if there is one."""
    if copies is None:
        return saved
    known = [saved, copies.began_with]
    if copies.recovered is not None:
        common, config, began_as = copies.recovered.common
        known.append(Checkpoint(copies.recovered.iteration, joined(common, copies.recovered.parts), config, began_as, None))
    return max((each for each in known if each is not None), key=lambda each: each.iteration, default=None)


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

    tasks = forced_tasks(config, family)
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
