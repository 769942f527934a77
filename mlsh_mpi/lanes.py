"""Environments as the trainer sees them: lanes in lock-step, known only through the task protocol.

The protocol: a ``gymnasium.Env`` with ``sample_task(rng, split)`` that takes ``reset(options={"task": task})``. If it also has
``tasks(split)`` its tasks are few and results are reported for each; without ``task_to_json(task)`` a task must be a JSON value;
``primitive_observation``, a slice or indices, names the part of an observation that primitives see; ``unclipped_actions = True``
asks for actions as they were drawn, beyond their bounds too. An id registered with a vector form is stepped as arrays.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

import mlsh_envs  # noqa: F401  (registers the mlsh/ environments)
from mlsh_mpi.errors import UserError, nearest

Array = np.ndarray[Any, np.dtype[Any]]
SCRIPTED = "script:"
"""Begins the name of an environment that a script passed; it cannot be made from that name again."""
EnvFactory = Callable[..., gym.Env[Any, Any]]


@dataclass(frozen=True)
class Spec:
    """What the trainer must know of an environment."""

    name: str
    observation_size: int
    action_space: gym.Space[Any]
    episode_length: int
    primitive_columns: Array
    """Indices of the observation that primitives see."""
    env: gym.Env[Any, Any]
    """One instance, to sample, list, print and draw tasks; never stepped."""

    @property
    def tasks(self) -> tuple[Any, ...]:
        """All train tasks where they are few, else none."""
        return self.listed("train")

    def listed(self, split: str) -> tuple[Any, ...]:
        """All tasks of a split where they are few, else none.

        Raises:
            UserError: the environment has no such split.
        """
        tasks = getattr(self.env.unwrapped, "tasks", None)
        try:
            return tuple(tasks(split)) if callable(tasks) else ()
        except ValueError as error:
            raise UserError(str(error)) from None

    @property
    def known_tasks(self) -> tuple[Any, ...]:
        """Every task of every split, where they are few."""
        found: list[Any] = []
        for split in ("train", "held-out"):
            with contextlib.suppress(UserError):
                found += self.listed(split)
        return tuple(found)

    def sample_task(self, rng: np.random.Generator, split: str = "train") -> Any:
        """A task of the distribution."""
        return self.env.unwrapped.sample_task(rng, split)  # type: ignore[attr-defined]

    def label(self, task: Any) -> str:
        """A task as short text, for tables and metric names: ``goal=1``, or its JSON form."""
        env = self.env.unwrapped
        value = env.task_to_json(task) if hasattr(env, "task_to_json") else task
        return ",".join(f"{k}={v}" for k, v in value.items()) or "only" if isinstance(value, dict) else str(value)


class Maker:
    """Makes an environment by Gymnasium id, by module:Class, or by calling what a script passed.

    Args:
        env: id, ``module:attribute``, or something callable that returns an environment.
        episode_length: T; None takes the environment's registered limit.
        primitive_columns: first and last of the numbers that primitives see; None takes what the environment names.

    Raises:
        UserError: there is no such id, module or attribute.
    """

    def __init__(
        self, env: str | EnvFactory, episode_length: int | None, primitive_columns: tuple[int, int] | None = None
    ) -> None:
        if episode_length is not None and episode_length < 1:
            raise UserError(f"an episode has at least one step, but --episode-length is {episode_length}")
        self._env, self._length = (_resolve(env) if isinstance(env, str) else env), episode_length
        self._columns = primitive_columns

    def spec(self) -> Spec:
        """Makes one instance and reads what the trainer must know.

        Raises:
            UserError: the environment does not follow the protocol.
        """
        env = self.single()
        name = self._env if isinstance(self._env, str) else getattr(self._env, "__name__", type(self._env).__name__)
        if not hasattr(env.unwrapped, "sample_task"):
            raise UserError(f"{name} has no sample_task(rng, split): a distribution of tasks is what MLSH learns from")
        space = env.observation_space
        if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
            raise UserError(f"observations must be flat vectors (a one-dimensional Box), but {name} has {space}")
        length = self._length or (env.spec.max_episode_steps if env.spec else None)
        if length is None:
            raise UserError(f"{name} does not say how long an episode lasts: add --episode-length STEPS")
        seen = getattr(env.unwrapped, "primitive_observation", slice(None))
        if self._columns is not None:
            first, last = self._columns
            if not 0 <= first <= last < space.shape[0]:
                most = space.shape[0] - 1
                raise UserError(
                    f"--primitive-columns {first} {last} must be first and last of the numbers that {name} observes: 0 to {most}"
                )
            seen = slice(first, last + 1)
        columns = np.arange(space.shape[0])[seen if isinstance(seen, slice) else list(seen)]
        return Spec(name, space.shape[0], env.action_space, length, columns, env)

    def single(self, render: bool = False) -> gym.Env[Any, Any]:
        """One environment that truncates its episodes at T.

        Args:
            render: it draws pictures, as arrays.

        Raises:
            UserError: it does not.
        """
        how: dict[str, Any] = {"render_mode": "rgb_array"} if render else {}
        if isinstance(self._env, str):
            return gym.make(self._env, max_episode_steps=self._length, disable_env_checker=True, **how)
        try:
            env = self._env(**how)
        except TypeError:
            if not render:
                raise
            raise UserError('the environment draws no pictures: it must take render_mode="rgb_array"') from None
        return env if self._length is None else gym.wrappers.TimeLimit(env, self._length)

    @staticmethod
    def bounded(action: Array, spec: Spec) -> Array:
        """(..., action) as :meth:`Lanes.step` hands them to the environment."""
        return _bounded(action, spec.action_space, getattr(spec.env.unwrapped, "unclipped_actions", False))

    def lanes(self, count: int) -> Lanes:
        """`count` lanes, as arrays where the environment has a vector form."""
        if isinstance(self._env, str) and gym.spec(self._env).vector_entry_point is not None:
            limit: dict[str, Any] = {} if self._length is None else {"max_episode_steps": self._length}
            vector = gym.make_vec(self._env, count, vectorization_mode="vector_entry_point", **limit)
            if vector.metadata.get("autoreset_mode") is AutoresetMode.DISABLED and hasattr(vector.unwrapped, "sample_task"):
                return Lanes(vector)
        return Lanes(ListEnv([self.single() for _ in range(count)]))


class LaneFault(Exception):  # noqa: N818  (the faulty thing is the environment)
    """What the environment of one lane did wrong."""

    def __init__(self, lane: int, fault: str) -> None:
        super().__init__(fault)
        self.lane = lane


class ListEnv:
    """Single environments behind the vector interface with autoreset disabled; `lane` is the one at work."""

    def __init__(self, envs: Sequence[gym.Env[Any, Any]]) -> None:
        self.envs, self.num_envs = list(envs), len(envs)
        self.single_action_space = envs[0].action_space
        self.unclipped_actions: bool = getattr(envs[0].unwrapped, "unclipped_actions", False)
        self._shape: tuple[int, ...] = envs[0].observation_space.shape  # type: ignore[assignment]
        self._observation = np.zeros((len(envs), *self._shape), np.float32)
        self.lane = 0

    def reset(self, *, seed: Sequence[int], options: dict[str, Any]) -> tuple[Array, dict[str, Any]]:
        """Resets the lanes of options["reset_mask"] to options["task"], a sequence with one for each lane."""
        with self._blamed():
            for lane in np.flatnonzero(options["reset_mask"]).tolist():
                self.lane = lane
                task = {"task": options["task"][lane]}
                self._put(self.envs[lane].reset(seed=seed[lane], options=task)[0])
        return self._observation.copy(), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Steps every lane."""
        reward = np.zeros(self.num_envs)
        ends = np.zeros((2, self.num_envs), np.bool_)
        with self._blamed():
            for lane, env in enumerate(self.envs):
                self.lane = lane
                observation, reward[lane], *ends[:, lane], _ = env.step(actions[lane])
                self._put(observation)
        return self._observation.copy(), reward, *ends, {}

    def _put(self, observation: Any) -> None:
        if np.shape(observation) != self._shape:
            raise LaneFault(self.lane, f"gave an observation of shape {np.shape(observation)} where its space says {self._shape}")
        self._observation[self.lane] = observation

    @contextlib.contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except LaneFault:
            raise
        except Exception as error:
            raise LaneFault(self.lane, f"raised {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Closes every environment."""
        for env in self.envs:
            env.close()


class Lanes:
    """Episodes in lock-step; the caller restarts those that end."""

    def __init__(self, vector: Any) -> None:
        self._vector = vector
        self.count: int = vector.num_envs
        self._space, self._unclipped = vector.single_action_space, getattr(vector, "unclipped_actions", False)

    def reset(self, mask: Array, seeds: Sequence[int], tasks: Sequence[Any]) -> Array:
        """Starts new episodes.

        Args:
            mask: (L,) bool, the lanes that restart.
            seeds: (L,) a seed for each lane.
            tasks: (L,) a task for each lane.

        Returns:
            (L, observation) of all lanes.
        """
        observation, _ = self._vector.reset(seed=seeds, options={"reset_mask": mask, "task": tasks})
        return observation

    def step(self, action: Array) -> tuple[Array, Array, Array]:
        """Steps all lanes; Box actions are clipped to their bounds, unless the environment does that.

        Returns:
            (L, observation), (L,) rewards, and (L,) whether the episode is over: by the task's own end or its own horizon.
        """
        bounded = _bounded(action, self._space, self._unclipped)
        observation, reward, terminated, truncated, _ = self._vector.step(bounded)
        return observation, reward, terminated | truncated

    @property
    def at_work(self) -> int | None:
        """The lane that is being stepped or reset, where they are not all one array."""
        return getattr(self._vector, "lane", None)

    def close(self) -> None:
        """Frees the environments."""
        self._vector.close()


def _bounded(action: Array, space: gym.Space[Any], unclipped: bool) -> Array:
    return action if unclipped or not isinstance(space, gym.spaces.Box) else np.clip(action, space.low, space.high)


def known_environments() -> list[str]:
    """Ids of the environments that come with this project."""
    return sorted(name for name in gym.registry if name.startswith("mlsh/"))


def _resolve(env: str) -> str | EnvFactory:
    if ":" not in env:
        try:
            gym.spec(env)
        except gym.error.Error:
            hint = nearest(env, known_environments())
            raise UserError(
                f"there is no environment {env!r}{hint}: use a Gymnasium id such as {known_environments()[0]}, or module:Class"
            ) from None
        return env
    module_name, _, attribute = env.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise UserError(f"--env {env} is not of the form module:Class, such as my_package.my_module:MyEnv")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"--env {env} needs the module {error.name!r}, which Python cannot find: install it or start where it lies"
        ) from None
    if not hasattr(module, attribute):
        raise UserError(f"module {module_name} has no {attribute!r}{nearest(attribute, dir(module))}, asked for by --env {env}")
    factory: EnvFactory = getattr(module, attribute)
    if not callable(factory):
        raise UserError(f"--env {env} must name a class or a function that returns an environment, not {factory!r}")
    return factory
