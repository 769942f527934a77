"""Tasks for an environment that has none: constructor arguments, attributes, or a reward, as a family for meta-learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import gymnasium as gym
import numpy as np

Apply = Literal["arguments", "attributes", "options"] | Callable[[Any, Any], object]
Reward = Callable[[Any, Any, Any, dict[str, Any]], float]
Draw = Callable[[np.random.Generator], Any]


def with_tasks(
    env: str | Callable[..., gym.Env[Any, Any]],
    tasks: Sequence[Any] | Draw,
    *,
    apply: Apply | None = None,
    reward: Reward | None = None,
    held_out: Sequence[Any] | Draw = (),
) -> Family:
    """A family of tasks made of anybody's environment, to be passed as `env` to ``mlsh_mpi.run``.

    Some ways to apply a task::

        with_tasks("Pendulum-v1", [{"g": 5.0}, {"g": 15.0}])  # arguments of the constructor
        with_tasks("CartPole-v1", [{"length": 0.5}, {"length": 2.0}], apply="attributes")  # set at every reset
        with_tasks("HalfCheetah-v5", [1, -1], reward=lambda task, observation, action, info: task * info["x_velocity"])

    Args:
        env: a Gymnasium id, or what makes the environment: a class or function.
        tasks: the tasks, as values that JSON knows; or a function that draws one from a generator.
        apply: how a task is applied: as the constructor's ``"arguments"``, for which an environment is made once for each task;
            as ``"attributes"`` of the unwrapped environment, set before every reset; as the ``"options"`` of every reset; or by a
            function of the unwrapped environment and the task, called before every reset. By default ``"arguments"`` if tasks are
            mappings and no reward is given, else not at all.
        reward: given the task and what a step's observation, action and info are, the reward in place of the environment's own.
        held_out: tasks that training never draws, in the same form.

    Raises:
        ValueError: there are no tasks, or they are to be arguments or attributes, but are no mappings.
    """
    examples = [*_examples(tasks), *_examples(held_out)]
    if not _examples(tasks):
        raise ValueError("a family has at least one task, but tasks is empty")
    mappings = all(isinstance(task, Mapping) for task in examples)
    apply = apply or ("arguments" if mappings and reward is None else None)
    if isinstance(apply, str) and not mappings:
        raise ValueError(f'apply="{apply}" needs tasks that are mappings from names to values, such as {{"g": 5.0}}')
    if apply is None and reward is None:
        raise ValueError("say what a task changes: tasks that are mappings, apply=..., or reward=...")
    return Family(env, tasks, apply, reward, held_out)


def _examples(tasks: Sequence[Any] | Draw) -> list[Any]:
    """All tasks if they are listed, else one that is drawn."""
    return [tasks(np.random.default_rng(0))] if callable(tasks) else list(tasks)


class Family:
    """What :func:`with_tasks` returns: called like a class, it makes an environment with tasks."""

    def __init__(
        self,
        env: str | Callable[..., gym.Env[Any, Any]],
        tasks: Sequence[Any] | Draw,
        apply: Apply | None,
        reward: Reward | None,
        held_out: Sequence[Any] | Draw,
    ) -> None:
        self.env, self.tasks, self.apply, self.reward, self.held_out = env, tasks, apply, reward, held_out
        self.__name__ = env if isinstance(env, str) else getattr(env, "__name__", type(env).__name__)
        self.__qualname__ = self.__name__.rpartition("/")[2].rpartition(":")[2]

    def __call__(self, **settings: Any) -> TaskWrapper:
        """An environment with these tasks.

        Args:
            settings: more arguments of the constructor, such as render_mode.
        """
        return TaskWrapper(self, settings)

    def make(self, settings: Mapping[str, Any]) -> gym.Env[Any, Any]:
        """One environment without tasks."""
        return gym.make(self.env, disable_env_checker=True, **settings) if isinstance(self.env, str) else self.env(**settings)


class TaskWrapper(gym.Wrapper[Any, Any, Any, Any]):
    """An environment whose resets take ``options={"task": task}``.

    Args:
        family: the tasks and how they are applied.
        settings: arguments of the constructor that are the same for all tasks.
    """

    def __init__(self, family: Family, settings: Mapping[str, Any]) -> None:
        self._family, self._settings = family, dict(settings)
        self._made: dict[str, gym.Env[Any, Any]] = {}
        self._task: Any = _examples(family.tasks)[0]
        super().__init__(self._environment(self._task))
        self._spaces = self.env.observation_space, self.env.action_space
        if not callable(family.tasks):
            self.tasks = self._listed
            """All tasks of a split; there is no such method if tasks are drawn."""

    def sample_task(self, rng: np.random.Generator, split: str = "train") -> Any:
        """Draws a task.

        Raises:
            ValueError: there is no such split.
        """
        source = self._source(split)
        return source(rng) if callable(source) else source[int(rng.integers(len(source)))]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode; a task stays until another is given."""
        self._task = (options or {}).get("task", self._task)
        self.env = self._environment(self._task)
        if (self.env.observation_space, self.env.action_space) != self._spaces:
            raise ValueError(f"all tasks must have the same observations and actions, but those of {self._task!r} differ")

        apply = self._family.apply
        if apply == "attributes":
            for name, value in self._task.items():
                if not hasattr(self.env.unwrapped, name):
                    raise ValueError(f"{self._family.__name__} has no attribute {name!r} that task {self._task!r} could set")
                setattr(self.env.unwrapped, name, value)
        elif callable(apply):
            apply(self.env.unwrapped, self._task)
        return self.env.reset(seed=seed, options=dict(self._task) if apply == "options" else None)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the environment; the reward is the family's, if it has one."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self._family.reward is not None:
            reward = self._family.reward(self._task, observation, action, info)
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        """Closes the environments of all tasks."""
        for env in self._made.values():
            env.close()

    def _environment(self, task: Any) -> gym.Env[Any, Any]:
        """The environment of a task: one of its own if tasks are constructor arguments, else the same for all."""
        arguments = dict(task) if self._family.apply == "arguments" else {}
        name = repr(sorted(arguments.items()))
        if name not in self._made:
            self._made[name] = self._family.make(self._settings | arguments)
        return self._made[name]

    def _listed(self, split: str = "train") -> list[Any]:
        source = self._source(split)
        if callable(source):
            raise ValueError(f"tasks of split {split!r} are drawn, not listed")
        return list(source)

    def _source(self, split: str) -> Any:
        sources = {"train": self._family.tasks, "held-out": self._family.held_out}
        if not sources.get(split):
            there = ", ".join(name for name, source in sources.items() if source)
            raise ValueError(f"{self._family.__name__} has no tasks in split {split!r}; it has: {there}")
        return sources[split]
