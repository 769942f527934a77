"""The main command: set-up, header, training by Algorithm 1 (mlsh.py), the final test, tables and picture.

mpirun -np 4 python -m mlsh_mpi.train [PRESET] [--options]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import torch

from mlsh_mpi import baselines, runs
from mlsh_mpi.adaptation import Adaptation, Trial, adapt
from mlsh_mpi.comm import Job, job
from mlsh_mpi.config import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.frame import Keeper, Opened, Report, first_rank_asks, opened_by_all
from mlsh_mpi.health import forced_returns
from mlsh_mpi.hosting import host
from mlsh_mpi.metrics import Target, shown
from mlsh_mpi.options import with_options
from mlsh_mpi.policies import Array
from mlsh_mpi.presets import preset_config
from mlsh_mpi.probe import probed, refuse_too_much_memory, unpicklable_part
from mlsh_mpi.skills import PHI, Skills, save_phi
from mlsh_mpi.state import groups_of
from mlsh_mpi.task_family import SCRIPTED, EnvFactory, Maker, Spec
from mlsh_mpi.tasks import TEST_SEED, final_tasks


def run(
    preset: str | Config = "moving-bandits", env: str | EnvFactory | None = None, fresh: bool = False, **options: Any
) -> Path:
    """Trains, tests and reports, as one MPI job. Call it on every rank; what rank 0 passes counts.

    A script or notebook may call it as often as it likes, one run at a time. Only in the main thread does a run leave in order
    when the process is asked to by a signal.

    Args:
        preset: name of a preset, or a configuration.
        env: your environment, by a Gymnasium id, ``module:id`` or ``module:Class``; or a class, function or lambda that returns
            it, which need not be importable on the other ranks.
        fresh: move an earlier run in the same folder aside.
        options: of the command line, with underscores: ``iterations=30, groups=8, macro_length=5``.

    Returns:
        The run folder, with config.json, metrics.jsonl, TensorBoard events, phi.pt, picture.png, summary.json and summary.txt.

    Raises:
        UserError: something that was asked for does not fit; with several ranks it ends the job with exit code 2.
        EnvironmentFault: the environment went wrong; with several ranks it ends the job with exit code 1.
        SystemExit: with code 75, because the job was asked to leave early; the same call continues the run.
    """
    with job(script=True) as current:
        world = current.world

        def resolved() -> Config:
            config = with_options(preset if isinstance(preset, Config) else preset_config(preset), options)
            if env is None:
                return config
            name = env if isinstance(env, str) else SCRIPTED + getattr(env, "__qualname__", type(env).__name__)
            return dataclasses.replace(config, environment=dataclasses.replace(config.environment, env=name))

        config = world.first(world.agreed(resolved))
        factory = None if isinstance(env, str) else env
        if world.size > 1:
            world.agreed(lambda: _refuse_unpicklable(factory) if world.rank == 0 else None)
            factory = world.first(factory)
        return run_job(current, config, factory or config.environment.env, fresh)


def _refuse_unpicklable(env: EnvFactory | None) -> None:
    try:
        cloudpickle.dumps(env)
    except Exception as error:
        part = unpicklable_part(env)
        raise UserError(
            f"the environment travels to the other ranks, but cannot be pickled ({error}) because of {part}: make that inside "
            "the environment's class or function, or name the environment as module:Class"
        ) from None


def main() -> None:
    """``python -m mlsh_mpi.train``: see there."""
    with job() as current:
        wanted = first_rank_asks(current, _asked)
        if wanted is not None:
            config, fresh = wanted
            run_job(current, config, config.environment.env, fresh)


def _asked(arguments: Sequence[str]) -> tuple[Config, bool] | None:
    from mlsh_mpi.cli import asked  # only rank 0 pays for importing it

    return asked(arguments)


def run_job(current: Job, config: Config, env: str | EnvFactory, fresh: bool) -> Path:
    """The same inside a job that is already there.

    Args:
        current: the job.
        config: the same on every rank.
        env: id, module:Class, or a factory.
        fresh: move an earlier run in the same folder aside.

    Raises:
        UserError: on every rank, for whatever does not fit.
    """
    torch.set_num_threads(1)
    world = current.world
    maker = world.agreed(lambda: Maker.of(config.environment, env))
    spec = probed(maker, current)
    world.agreed(lambda: _check(config, spec, current))
    if not spec.name.startswith(SCRIPTED):
        current.same_everywhere(runs.environment_source(spec))
    path = runs.default_folder(config)
    opened, saved, done = opened_by_all(
        current, path, config, lambda: runs.identity(spec, current.library), fresh, "--iterations"
    )
    if done:
        return path
    if saved and runs.stopped(saved, config):  # trained, and left while it was tested
        config = dataclasses.replace(config, run=dataclasses.replace(config.run, iterations=saved["iteration"]))
    groups = groups_of(config, world, saved)
    world.agreed(lambda: host(groups, config.sampling.workers, world.size, world.rank))  # a run does not grow once it has begun
    report = _Report(config, current, spec, groups, opened) if opened else None

    cycle = config.hierarchy.warmup + config.hierarchy.joint
    train = baselines.trainer(config.algorithm.algorithm)
    skills = train(config, current, maker, spec, saved, Keeper(config, current, report, cycle))
    if report is not None:
        report.trained(skills)
    _test(config, current, maker, spec, skills, report)
    return path


def _test(config: Config, current: Job, maker: Maker, spec: Spec, skills: Skills, report: _Report | None) -> None:
    """What has been learned: each primitive alone on each task, and how fast new tasks are learned."""

    def advance(note: str) -> None:
        current.leave_if_asked()
        if report is not None:
            report.test_advance(note)

    tasks = _forced_tasks(config, spec)
    matrix = forced_returns(config, current, maker, spec, skills, tasks, config.run.seed + TEST_SEED, advance)
    count = max(config.run.test_masters, current.world.size, len(spec.tasks))
    trial = Trial(config, current, maker, spec, final_tasks(spec, config.run.seed + TEST_SEED, count))
    learners = baselines.learners(baselines.usual_method(config), trial, skills)
    updates = baselines.usual_updates(config)
    adaptation = adapt(
        learners,
        updates,
        lambda metrics, _: advance(f"after {metrics['updates']:.0f} updates: return {shown(metrics['return/mean'])}"),
        look=lambda update: update == updates,
    )
    if report is not None:
        report.finished(skills, matrix, adaptation)


def _forced_tasks(config: Config, spec: Spec) -> tuple[Any, ...]:
    """On which each primitive is tried alone."""
    return spec.tasks if baselines.can_be_forced(config) else ()


def _check(config: Config, spec: Spec, current: Job) -> None:
    """Refuses what does not fit.

    Raises:
        UserError: configuration, environment and ranks do not fit one another.
    """
    config.check(spec.episode_length)
    world, groups = current.world, groups_of(config, current.world, None)
    refuse_too_much_memory(groups * config.sampling.workers, baselines.steps_of_a_worker(config, spec), spec, current)
    host(groups, config.sampling.workers, world.size, world.rank)
    if config.run.stop_when is not None:
        Target.parse(config.run.stop_when)


class _Report(Report):
    """Of a training run."""

    def __init__(self, config: Config, current: Job, spec: Spec, groups: int, opened: Opened) -> None:
        from mlsh_mpi import logs, report  # only what every rank needs is imported by every rank

        self._spec, self._report, self._logs = spec, report, logs
        done = opened.saved["iteration"] if opened.saved else 0
        header = report.header(config, current, spec, groups, opened.folder.path, done)
        super().__init__(current, config, opened, header, "training", report.steps_per_iteration(config, spec, groups))

    def trained(self, skills: Skills) -> None:
        """Closes the log, keeps phi, and announces the test."""
        with self.writing():
            self.log.close()
            save_phi(self.folder.path / PHI, skills, self.config, self._spec)
        steps = skills.primitives.n * len(_forced_tasks(self.config, self._spec)) + baselines.usual_updates(self.config) + 1
        self._test = self._logs.Bar("testing", steps)

    def test_advance(self, note: str) -> None:
        """One step of the test further."""
        self._test.advance(note)

    def finished(self, skills: Skills, matrix: Array, adaptation: Adaptation) -> None:
        """Tables and picture."""
        from mlsh_mpi.figures.picture import draw

        self._test.close()
        config, spec = self.config, self._spec
        summary = self._report.summarise(self.log.rows, adaptation, matrix, spec, config)
        shown_skills = skills if baselines.can_be_forced(config) else None
        title = f"{config.preset}, seed {config.run.seed}"
        self.finish(
            self._report.tables(summary),
            summary,
            lambda path: draw(path, self.log.rows, matrix, spec, shown_skills, title),
            ", phi.pt",
        )


if __name__ == "__main__":
    from mlsh_mpi.train import main as started

    started()
