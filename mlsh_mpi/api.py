"""Training and adaptation for scripts and notebooks: ``mlsh_mpi.run``, ``mlsh_mpi.adapt``, and their results."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, cast

import cloudpickle
import numpy as np
import torch

from mlsh_mpi.adaptation.fresh_masters import learned_hierarchies
from mlsh_mpi.adaptation.loop import adapt as learn_all
from mlsh_mpi.adaptation.task_selection import chosen_tasks
from mlsh_mpi.commands.adapt import ready_to_learn
from mlsh_mpi.commands.train import Callback, run_job
from mlsh_mpi.config.adaptation import AdaptationSettings, AdaptConfig, resolved
from mlsh_mpi.config.overrides import fitted, for_environment, with_options
from mlsh_mpi.config.presets import DEFAULT_PRESET, begins_with, config_for
from mlsh_mpi.config.settings import Config
from mlsh_mpi.config.starting import has_preset
from mlsh_mpi.errors import UserError
from mlsh_mpi.mpi.job import job
from mlsh_mpi.networks.actor_critic import Array
from mlsh_mpi.output import format_value, say
from mlsh_mpi.policies.hierarchy import Hierarchy
from mlsh_mpi.policies.primitives import Primitives, load
from mlsh_mpi.sampling.environment_choice import SCRIPTED, EnvFactory, EnvironmentChoice
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.tracking.logs import Bar
from mlsh_mpi.tracking.metrics_file import METRICS, read_rows
from mlsh_mpi.tracking.run_folder import SUMMARY


@dataclass(frozen=True)
class Run:
    """A run in its folder, whose files are read on access."""

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
        summary: dict[str, Any] = json.loads((self.folder / SUMMARY).read_text(encoding="utf-8"))
        return summary

    @property
    def curves(self) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
        """Every logged metric by name, (iterations,) float64; NaN where an iteration did not log it."""
        rows = read_rows(self.folder / METRICS)
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: np.array([row.get(name, np.nan) for row in rows], float) for name in names}


def run(
    preset: str | Config | None = None,
    env: str | EnvFactory | None = None,
    fresh: bool = False,
    on_iteration: Callback | None = None,
    **options: Any,
) -> Run:
    """Trains, tests and reports, as one MPI job. Call it on every rank; the arguments of rank 0 count.

    A script or notebook may call it any number of times, one run at a time. A signal stops a run with a checkpoint only if it
    runs in the main thread.

    Args:
        preset: name of a preset, or a configuration; by default the environment's preset. For an environment without one,
            settings follow from its actions and the length of its episodes.
        env: your environment: a Gymnasium id, ``module:id`` or ``module:Class``; or a class, function or lambda that makes it,
            which the other ranks need not be able to import.
        fresh: whether to move an earlier run in the same folder aside.
        on_iteration: called on rank 0 after each iteration with its metrics, as in metrics.jsonl, and the state of training
            (``state.policies``); training ends early if it returns True. Only rank 0's function is called.
        options: options of the command line, with underscores: ``iterations=30, groups=8, macro_length=5``. Those that both
            master and primitives have are written ``primitive_learning_rate=1e-3`` or ``primitive={"learning_rate": 1e-3}``.

    Returns:
        The run: its ``folder`` with config.json, metrics.jsonl, TensorBoard events, phi.pt, plot.png, report.html,
        summary.json and summary.txt; its ``summary``, and the ``curves`` of all metrics. It can be used as a path.

    Raises:
        UserError: an argument is wrong, or arguments do not fit together; with several ranks it ends the job with exit code 2.
        EnvironmentFault: the environment failed; with several ranks it ends the job with exit code 1.
        SystemExit: with code 75, because a signal or a time limit stopped the job early; the same call continues the run.
    """
    with job(script=True) as current:
        world, name = current.world, _name(env)

        def with_the_options(default: Config) -> Config:
            return _named(fitted(with_options(default, options), default), name)

        def resolved() -> Config:
            default = preset if isinstance(preset, Config) else config_for(preset, name)
            if preset is None and not default.preset.startswith(DEFAULT_PRESET) and world.rank == 0:
                say(begins_with(str(name), default.preset))
            return with_the_options(default)

        config = world.bcast(world.agreed(resolved))
        choice = EnvironmentChoice(env, settings=_names_settings(options), trust="environment" in options)
        if world.size > 1:
            world.agreed(lambda: _check_picklable(env) if world.rank == 0 else None)
            choice = world.bcast(choice)
        watched = world.bcast(on_iteration is not None)  # as on rank 0, whatever this rank has passed
        follows = preset is None and not has_preset(name)
        return Run(run_job(current, config, choice, fresh, on_iteration, watched, options=with_the_options if follows else None))


def _name(env: str | EnvFactory | None) -> str | None:
    """The environment's name in configurations."""
    return env if env is None or isinstance(env, str) else SCRIPTED + getattr(env, "__qualname__", type(env).__name__)


def _named(config: Config, env: str | None) -> Config:
    """The configuration with another environment's name, if one is given."""
    return replace(config, environment=replace(config.environment, env=env)) if env else config


def _names_settings(options: Mapping[str, Any]) -> bool:
    """Whether a script gives settings of the environment itself."""
    return bool({"env_settings", "task_settings"} & set(options))


def _check_picklable(env: str | EnvFactory | None) -> None:
    try:
        cloudpickle.dumps(env)
    except Exception as error:
        part = unpicklable_part(env)
        raise UserError(
            f"the environment is sent to the other ranks, but cannot be pickled ({error}) because of {part}: create that inside "
            "the environment's class or function, or name the environment as module:Class"
        ) from None


@dataclass(frozen=True)
class Adapted:
    """Results of M fresh masters, and the learned hierarchies."""

    tasks: tuple[str, ...]
    """(M,) label of each master's task."""
    steps: int
    """Environment steps of a master for each update."""
    returns: Array
    """(updates + 1, M) mean return of an episode after 0, 1, ... updates, with exploration."""
    returns_without_exploration: Array
    """(updates + 1, M) the same with epsilon = 0: no choice of a primitive is replaced by a random one; masters still sample, and
    so do primitives unless they are set to be deterministic."""
    hierarchies: tuple[Hierarchy, ...]
    """(M,) each master after its last update, with the primitives."""


def adapt(
    primitives: Primitives | str | PathLike[str],
    env: str | EnvFactory | None = None,
    task: Any = None,
    updates: int | None = None,
    masters: int | None = None,
    trust: bool = False,
    **options: Any,
) -> Adapted:
    """Lets fresh masters learn single tasks over frozen primitives (paper, section 6.2).

    A script may call it alone or under mpirun; then every rank must call it, and the masters are placed on the ranks.

    Args:
        primitives: the primitives from :func:`load`, or the source that it takes.
        env: the environment, as in :func:`run`; by default the one in which the primitives were trained.
        task: the only task to learn; by default the environment's listed tasks in turn, or else random ones.
        updates: number of updates of each master; by default W of the training run.
        masters: number of masters, at least one for each task; by default one for each task.
        trust: whether to trust the primitives' file, so that the module it names is imported to make the environment.
        options: settings as in :func:`run`, including those of a test such as ``held_out=True``.

    Returns:
        The results and the hierarchies, the same on every rank.

    Raises:
        UserError: an argument is wrong, or arguments do not fit together.
    """
    with job(script=True) as current:
        world = current.world
        trained = world.agreed(lambda: primitives if isinstance(primitives, Primitives) else load(primitives))
        config = world.bcast(world.agreed(lambda: _scripted(trained, env, updates, masters, options)))
        choice = EnvironmentChoice(env, settings=_names_settings(options), trust=trust)
        if world.size > 1:
            choice = world.bcast(choice)

        def tasks(family: TaskFamily) -> tuple[Any, ...]:
            if task is None:
                return chosen_tasks(config, family, world.size)
            return (task,) * max(masters or 1, world.size)

        torch.set_num_threads(1)
        current.set_patience(config.run.patience)
        adaptation_set, _, learners = ready_to_learn(config, choice, current, tasks, trained.phi)
        bar = Bar("adapting", config.run.iterations, lines=4) if world.rank == 0 else None

        def advance(metrics: dict[str, float], _: object) -> None:
            if bar is not None:
                bar.advance(f"return {format_value(metrics['return/mean'])}")
            current.exit_if_requested()

        adaptation = learn_all(learners, config.run.iterations - 1, advance, evaluate=lambda _: True)
        if bar is not None:
            bar.close()
        hierarchies = tuple(learned_hierarchies(learners, adaptation, trained.phi, one_a_task=False))
        labels = tuple(map(adaptation_set.family.label, adaptation.tasks))
        return Adapted(labels, adaptation.steps, adaptation.returns, adaptation.returns_without_exploration, hierarchies)


def _scripted(
    primitives: Primitives, env: str | EnvFactory | None, updates: int | None, masters: int | None, options: Mapping[str, Any]
) -> AdaptConfig:
    """The configuration of a script's test."""
    name = _name(env)
    trained = for_environment(primitives.phi.config, name)
    hierarchy = replace(trained.hierarchy, whole_episode_iterations=0)
    run = replace(trained.run, folder=None, stop_when=None, time_limit=None, test_masters=masters or 1)
    sections = vars(trained) | {"hierarchy": hierarchy, "run": run, "test": AdaptationSettings(updates=updates), "shortened": ()}
    config = AdaptConfig(**sections)
    config = cast(AdaptConfig, with_options(config, options))
    if name is not None:
        config = replace(config, environment=replace(config.environment, env=name))
    return resolved(config)


def unpicklable_part(value: Any) -> str:
    """Names the part of a class or function that keeps it from being sent to other ranks.

    Args:
        value: a class, function or object that cannot be pickled.
    """
    if inspect.isfunction(value):
        outside = inspect.getclosurevars(value)
        parts = {f"the variable {name}": part for name, part in (*outside.nonlocals.items(), *outside.globals.items())}
    else:
        parts = {f"the attribute {name}": part for name, part in vars(value).items()} if hasattr(value, "__dict__") else {}
    for name, part in parts.items():
        try:
            cloudpickle.dumps(part)
        except Exception as error:
            return f"{name}, a {type(part).__name__} ({error})"
    return f"something in the {type(value).__name__}"
