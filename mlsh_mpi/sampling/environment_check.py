"""Checks an environment before anything is written: that it follows the task protocol and has no silent faults."""

from __future__ import annotations

import inspect
import math
import os
import re
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice, zip_longest
from typing import Any, TypeVar

import numpy as np

from mlsh_mpi.errors import EnvironmentFault, Interrupted, UserError, as_words
from mlsh_mpi.mpi.job import Job
from mlsh_mpi.networks.distributions import head_for
from mlsh_mpi.output import warn
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.flattening import left_out
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.sampling.trial_episodes import Findings, check_usable, try_episodes
from mlsh_mpi.sampling.vector_env import STEP, LaneFault, SequentialVectorEnv, VectorEnv, fault_of_closing
from mlsh_mpi.sampling.vector_form import ALTERNATIVE

T = TypeVar("T")
Array = np.ndarray[Any, np.dtype[Any]]
DRAWS = 16
"""Number of tasks that are drawn twice each: if a fair coin chose between two tasks, and not the generator, the check would miss
it 2 times in 100,000."""
BYTES, OTHER_NUMBERS = 4, 12
"""Bytes of a number, and numbers per step besides observation and action: reward, end, primitive, decision, noise and so on."""
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{4,}")
"""A memory address in Python's default text for an object."""


def checked_family(maker: EnvironmentMaker, job: Job) -> TaskFamily:
    """The task family of an environment, after checks: every rank draws tasks, and rank 0 tries episodes.

    Every rank must call it.

    Args:
        maker: makes the environment.
        job: the MPI job.

    Raises:
        UserError: on every rank; the environment does not follow the protocol, and the message says where.
    """

    def checked() -> tuple[TaskFamily, list[str], Array | None]:
        job.watch.enter(lambda: f"the first reset and step of {maker.name}")
        try:
            family = TaskFamily.from_maker(maker)
            names = task_names(family)
            findings = check_environment(maker, family) if job.world.rank == 0 else Findings([], None)
            for note in findings.notes:
                warn(f"mlsh_mpi: {note}")
        finally:
            job.watch.leave()
        return family, names, findings.offset

    family, names, offset = job.world.agreed(checked)
    of_all = job.world.allgather((names, offset))
    for rank, (others, _) in enumerate(of_all):
        for name, other in zip_longest(names, others, fillvalue="no more"):
            if name != other:
                raise UserError.of_all(
                    f"tasks of {family.name} must be the same on every rank, but where rank 0 has {name} rank {rank} has "
                    f"{other}: draw with the given generator, from lists or tuples: the order of a set differs between processes"
                )
    return family.subtracting(of_all[0][1])


def check_environment(maker: EnvironmentMaker, family: TaskFamily) -> Findings:
    """Resets, steps, and tries a few short episodes: in a single environment, and in the vector form if there is one.

    Args:
        maker: makes the environment.
        family: the environment's task family.

    Returns:
        Notes on what is allowed but seldom intended, and the offset of observations.

    Raises:
        UserError: the environment breaks a rule, or its task does not reach it.
    """
    try:
        tasks = _different_tasks(family)
        _actions(family)

        with ExitStack() as opened:
            _episode(family, VectorEnv(SequentialVectorEnv([family.env]), family.actions), tasks[0])
            vector = maker.vector(2)
            if vector is not None:
                opened.callback(vector.close)
                _check_spaces(family, vector)
                _episode(family, vector, tasks[0])
            findings = _called(family, "step", lambda: try_episodes(family, tasks, vector))

        parts = left_out(family.env)
        without = f"{family.name}: {', '.join(parts)} is left out of observations, because it is not numbers" if parts else ""
        return replace(findings, notes=[*findings.notes, *filter(None, [maker.left_aside, without])])
    except LaneFault as fault:
        unpacked = "values to unpack (expected 5" in str(fault)  # raised by one of Gymnasium's wrappers
        rule = f": step must return ({', '.join(STEP)}), as Gymnasium requires since 0.26" if unpacked else ""
        raise UserError(f"{family.name} {fault}{rule}") from fault.__cause__


def task_names(family: TaskFamily) -> list[str]:
    """Names of some tasks, each drawn twice, and of the listed tasks.

    Raises:
        UserError: tasks are not drawn with the given generator alone, or their names cannot be used.
    """
    head_for(family.action_space)  # refuses an unknown action space before anything acts in it
    _takes(family, "sample_task", "rng, split", np.random.default_rng(0), "train")
    if family.attribute("tasks") is not None:
        _takes(family, "tasks", "split", "train")

    # Two draws with the same generator must be the same task.
    drawn = []
    for number in range(DRAWS):
        name, again = (_named(family, _drawn(family, number)) for _ in range(2))
        if name != again:
            raise UserError(
                f"sample_task of {family.name} must draw from the generator it is given and from nothing else, but returned "
                f"{name} and then {again} for the same one: ranks would disagree on the task of a group; use rng in place of "
                "self.np_random, np.random and random"
            )
        drawn.append(name)

    listed, anew = ([_named(family, task) for task in _called(family, "tasks", lambda: family.tasks)] for _ in range(2))
    if listed != anew:
        raise UserError(f"tasks of {family.name} must list the same tasks each time, but the second list differs from the first")

    for name, count in Counter(listed).items():
        if count > 1:
            raise UserError(
                f"tasks of {family.name} must have different names, but {count} of them are called {name}: list each once, or "
                "make task_to_json(task) distinguish them"
            )
    return drawn + listed


def _different_tasks(family: TaskFamily) -> list[Any]:
    """Two tasks with different names, or one if no others are drawn."""
    first = _drawn(family, 0)
    others = (_drawn(family, number) for number in range(1, DRAWS))
    return [first, *islice((task for task in others if _named(family, task) != _named(family, first)), 1)]


def _drawn(family: TaskFamily, number: int) -> Any:
    return _called(family, "sample_task", lambda: family.sample_task(seeding.stream(number, "task")))


def _named(family: TaskFamily, task: Any) -> str:
    name = _called(family, "task_to_json", lambda: family.label(task))
    if ADDRESS.search(name):
        raise UserError(
            f"tasks of {family.name} need names that are the same on every rank, but one is called {name}: let it be a JSON "
            "value or a frozen dataclass, or return its JSON form from task_to_json(task)"
        )
    return name


def _actions(family: TaskFamily) -> None:
    if not family.action_space.contains(family.actions(family.actions.middle_as_drawn)):
        raise UserError(f"the action space {family.action_space} of {family.name} has no action in its middle: check its bounds")


def _episode(family: TaskFamily, lanes: VectorEnv, task: Any) -> None:
    """Makes two resets and a step.

    Raises:
        UserError: they do not follow the protocol.
    """
    count, name = lanes.count, _named(family, task)
    for _ in range(2):
        start = _called(family, "reset", lambda: lanes.reset(np.ones(count, np.bool_), [7] * count, [task] * count))
        _check_unchanged(family, "reset", name, task)
    check_usable(family, "observation", start)
    action = np.repeat(family.actions.middle_as_drawn[None], count, axis=0)
    observation, reward, _ = _called(family, "step", lambda: lanes.step(action))
    _check_unchanged(family, "step", name, task)
    check_usable(family, "observation", observation)
    check_usable(family, "reward", reward)


def _check_spaces(family: TaskFamily, vector: VectorEnv) -> None:
    """Refuses a vector form whose observations or actions differ from those of the single form."""
    observation, action = vector.spaces
    for what, single, other in (
        ("observations", family.env.observation_space, observation),
        ("actions", family.action_space, action),
    ):
        if single.shape != other.shape or (what == "actions" and single != other):
            raise UserError(
                f"the vector form of {family.name} must have the {what} of the single form, but has {other} instead of {single}: "
                f"{ALTERNATIVE}"
            )


def _check_unchanged(family: TaskFamily, method: str, name: str, task: Any) -> None:
    if _named(family, task) != name:
        raise UserError(
            f"{method} of {family.name} must leave its task as it is, but changed {name} to {_named(family, task)}: all lanes "
            "of a group get the same object; copy it before you change it"
        )


def _takes(family: TaskFamily, method: str, expected: str, *arguments: Any) -> None:
    """Refuses a method that does not take the trainer's arguments."""
    attribute = family.attribute(method)
    if not callable(attribute):
        raise UserError(f"{method} of {family.name} must be a method that takes ({expected}), but it is {attribute!r}")
    try:
        signature = inspect.signature(attribute)
    except ValueError:  # written in C: a mistake will show when it is called
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise UserError(
            f'{method} of {family.name} must take ({expected}), but it is {method}{signature} ({error}): a split is "train" or '
            '"held-out", and an environment without held-out tasks may ignore it'
        ) from None


def _called(family: TaskFamily, method: str, call: Callable[[], T]) -> T:
    """Calls the environment, and turns what it raises into a UserError."""
    try:
        return call()
    except (UserError, LaneFault, Interrupted):
        raise
    except EnvironmentFault as fault:  # its message is a sentence already
        raise UserError(str(fault)) from fault.__cause__
    except BaseException as error:
        raise UserError(f"{method} of {family.name} raised {as_words(error)}") from error


def check_draws(family: TaskFamily, task: Any) -> None:
    """Draws one picture, so that a missing renderer is noticed before anything is learned.

    Raises:
        UserError: the environment cannot draw pictures here.
    """
    env = family.maker.single(render=True)
    try:
        env.reset(seed=0, options={"task": task})
        picture = env.render()
    except (Interrupted, UserError):
        raise
    except Exception as error:
        raise UserError(f"{family.name} could not be drawn: it raised {as_words(error)}") from error
    finally:
        family.maker.mention(fault_of_closing(env))
    if picture is None:
        raise UserError(f"{family.name} draws no pictures: render() returned None")


def check_memory(workers: int, steps: int, family: TaskFamily, job: Job) -> None:
    """Refuses an iteration whose data would not fit into this rank's share of its host's memory.

    Args:
        workers: number of workers on all ranks.
        steps: environment steps of a worker in an iteration.
        family: the environment's task family.
        job: the MPI job.

    Raises:
        UserError: the data would not fit.
    """
    own_workers = -(-workers // job.world.size)
    numbers = BYTES * (2 * family.observation_size + math.prod(family.action_space.shape or (1,)) + OTHER_NUMBERS)
    needed, share = own_workers * steps * numbers, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / job.ranks_here
    if needed > share:
        raise UserError(
            f"{own_workers:,} workers of this rank collect {steps:,} steps each, which takes {needed / 1e9:,.0f} GB of memory, "
            f"but {share / 1e9:,.1f} GB is a rank's share of this host: use fewer --groups, --workers or --steps, or more hosts"
        )
