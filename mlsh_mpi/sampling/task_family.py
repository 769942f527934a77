"""An environment with its tasks, as the trainer sees it: only through the task protocol.

The protocol: a ``gymnasium.Env`` with ``sample_task(rng, split)`` that accepts ``reset(options={"task": task})``. If it also has
``tasks(split)``, its tasks are few and results are reported for each; without ``task_to_json(task)`` a task must be a JSON value;
``primitive_observation``, a slice or indices, declares the part of an observation that primitives see; with
``unclipped_actions = True`` the environment gets actions as policies sample them, even beyond their bounds. Any of these may be
defined by a ``gymnasium.Wrapper`` around an existing environment: the outermost object that has one counts. An id registered with
a vector form is stepped as arrays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np

from mlsh_mpi.errors import EnvironmentFault, Interrupted, UserError, as_words
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker, actions_of, outermost, registered_length
from mlsh_mpi.sampling.interface import Interface


@dataclass(frozen=True)
class TaskFamily(Interface):
    """What the trainer knows about an environment."""

    episode_length: int
    """T, steps of an episode."""
    env: gym.Env[Any, Any]
    """One instance, for sampling, listing and naming tasks; only environment_check.py steps it."""
    maker: EnvironmentMaker
    """Makes lanes and single environments of the family."""

    @classmethod
    def from_maker(cls, maker: EnvironmentMaker) -> TaskFamily:
        """Makes one instance and reads what the trainer must know about it.

        Raises:
            UserError: the environment does not follow the protocol.
        """
        env, name = maker.single(), maker.name
        if not callable(outermost(env, "sample_task")):
            raise UserError(
                f"{name} has no sample_task(rng, split): a distribution of tasks is what MLSH learns from. If tasks are settings "
                "of the environment, name them with --task-settings; mlsh_envs.with_tasks makes others"
            )

        space: Any = env.observation_space  # flat: see flattening.py
        length = maker.episode_length or registered_length(env)
        if length is None:
            raise UserError(f"{name} does not say how long an episode lasts: add --episode-length STEPS")

        # The user's choice takes precedence over the environment's.
        seen = outermost(env, "primitive_observation", slice(None))
        if maker.primitive_columns is not None:
            first, last = maker.primitive_columns
            if not 0 <= first <= last < space.shape[0]:
                most = space.shape[0] - 1
                raise UserError(
                    f"--primitive-columns {first} {last} must be first and last of the numbers that {name} observes: 0 to {most}"
                )
            seen = slice(first, last + 1)

        try:
            columns = np.arange(space.shape[0])[seen if isinstance(seen, slice) else list(seen)]
        except (IndexError, TypeError, ValueError) as error:
            raise UserError(
                f"primitive_observation of {name} must be a slice or indices of {space.shape[0]} numbers, not {seen!r} ({error})"
            ) from None

        return cls(name, space.shape[0], env.action_space, columns, actions_of(env), length, env, maker)

    def subtracting(self, offset: np.ndarray[Any, np.dtype[Any]] | None) -> TaskFamily:
        """The same family, whose lanes subtract an offset from observations: see :attr:`Interface.offset`."""
        self.maker.offset = offset
        return replace(self, offset=offset)

    @property
    def tasks(self) -> tuple[Any, ...]:
        """All training tasks if the environment lists them, else none."""
        return self.listed("train")

    def listed(self, split: str) -> tuple[Any, ...]:
        """All tasks of a split if the environment lists them, else none.

        Raises:
            UserError: the environment has no such split.
        """
        tasks = self.attribute("tasks")
        try:
            return tuple(tasks(split)) if callable(tasks) else ()
        except ValueError as error:
            raise UserError(str(error)) from None

    @property
    def known_tasks(self) -> tuple[Any, ...]:
        """The listed tasks of every split."""
        tasks: list[Any] = []
        for split in ("train", "held-out"):
            with contextlib.suppress(UserError):
                tasks += self.listed(split)
        return tuple(tasks)

    def sample_task(self, rng: np.random.Generator, split: str = "train") -> Any:
        """A task of the distribution.

        Raises:
            EnvironmentFault: the environment raised an exception.
            ValueError: the environment refuses a split other than "train".
        """
        try:
            return self.attribute("sample_task")(rng, split)
        except Interrupted:
            raise
        except BaseException as error:
            if isinstance(error, ValueError) and split != "train":
                raise
            raise EnvironmentFault(f"sample_task of {self.name} raised {as_words(error)}") from error

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute of the outermost wrapper that has it, or of the environment itself; the default if none has it."""
        return outermost(self.env, name, default)

    def labels(self, tasks: Sequence[Any]) -> list[str]:
        """Labels of several tasks; none if the environment does not list its tasks."""
        return [self.label(task) for task in tasks] if self.tasks else []

    def label(self, task: Any) -> str:
        """A task as short text, for tables and metric names: ``goal=1``, or its JSON form. It is one printable line: line breaks,
        escape sequences and the like are escaped as in Python."""
        to_json = self.attribute("task_to_json")
        value = task if to_json is None else to_json(task)
        text = ",".join(f"{k}={v}" for k, v in value.items()) or "only" if isinstance(value, dict) else str(value)
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
