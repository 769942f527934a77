"""An environment with its tasks, as the trainer sees it: only through the task protocol.

The protocol: a ``gymnasium.Env`` with ``sample_task(rng, split)`` that takes ``reset(options={"task": task})``. If it also has
``tasks(split)`` its tasks are few and results are reported for each; without ``task_to_json(task)`` a task must be a JSON value;
``primitive_observation``, a slice or indices, names the part of an observation that primitives see; ``unclipped_actions = True``
asks for actions as they were drawn, beyond their bounds too. Any of it may stand in a ``gymnasium.Wrapper`` around somebody
else's environment: what counts is the outermost object that has it. An id registered with a vector form is stepped as arrays.
"""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

import mlsh_envs  # noqa: F401  (registers the mlsh/ environments)
from mlsh_mpi.actions import Actions
from mlsh_mpi.config import Environment
from mlsh_mpi.errors import EnvironmentFault, Interrupted, UserError, as_words, nearest
from mlsh_mpi.lanes import Lanes, ListEnv

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
    """One instance, to sample, list, print and draw tasks; stepped by nobody but the probe."""
    actions: Actions
    """How it wants what policies draw."""

    @property
    def tasks(self) -> tuple[Any, ...]:
        """All train tasks where they are few, else none."""
        return self.listed("train")

    def listed(self, split: str) -> tuple[Any, ...]:
        """All tasks of a split where they are few, else none.

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
        """Every task of every split, where they are few."""
        found: list[Any] = []
        for split in ("train", "held-out"):
            with contextlib.suppress(UserError):
                found += self.listed(split)
        return tuple(found)

    def sample_task(self, rng: np.random.Generator, split: str = "train") -> Any:
        """A task of the distribution.

        Raises:
            EnvironmentFault: the environment raised something.
            ValueError: by which it refuses a split other than "train".
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
        """What the outermost wrapper that has an attribute of this name has, or the environment itself; else the default."""
        return outermost(self.env, name, default)

    def labels(self, tasks: Sequence[Any]) -> list[str]:
        """Those of several; none where tasks are too many to be told apart."""
        return [self.label(task) for task in tasks] if self.tasks else []

    def label(self, task: Any) -> str:
        """A task as short text, for tables and metric names: ``goal=1``, or its JSON form."""
        to_json = self.attribute("task_to_json")
        value = task if to_json is None else to_json(task)
        return ",".join(f"{k}={v}" for k, v in value.items()) or "only" if isinstance(value, dict) else str(value)


class Maker:
    """Makes an environment by Gymnasium id, by module:Class, or by calling what a script passed.

    Args:
        env: id, ``module:attribute``, or something callable that returns an environment.
        episode_length: T; None takes the environment's registered limit.
        primitive_columns: first and last of the numbers that primitives see; None takes what the environment names.
        settings: what the environment is made with, each as name=value, a value being JSON or else text.

    Raises:
        UserError: there is no such id, module or attribute, or a setting is not of that form.
    """

    def __init__(
        self,
        env: str | EnvFactory,
        episode_length: int | None,
        primitive_columns: tuple[int, int] | None = None,
        settings: Sequence[str] = (),
    ) -> None:
        if episode_length is not None and episode_length < 1:
            raise UserError(f"an episode has at least one step, but --episode-length is {episode_length}")
        self._env, self._length = (_resolve(env) if isinstance(env, str) else env), episode_length
        self._columns, self._settings = primitive_columns, dict(map(_setting, settings))

    @classmethod
    def of(cls, config: Environment, env: str | EnvFactory | None = None) -> Maker:
        """What a run is configured to have.

        Args:
            config: of the run.
            env: what a script passed instead of a name.
        """
        return cls(env or config.env, config.episode_length, config.primitive_columns, config.env_settings)

    @property
    def name(self) -> str:
        """The environment's id, or the name of what makes it."""
        return self._env if isinstance(self._env, str) else getattr(self._env, "__name__", type(self._env).__name__)

    def spec(self) -> Spec:
        """Makes one instance and reads what the trainer must know.

        Raises:
            UserError: the environment does not follow the protocol.
        """
        env, name = self.single(), self.name
        if not callable(outermost(env, "sample_task")):
            raise UserError(f"{name} has no sample_task(rng, split): a distribution of tasks is what MLSH learns from")
        space = env.observation_space
        if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
            raise UserError(f"observations must be flat vectors (a one-dimensional Box), but {name} has {space}")
        length = self._length or (env.spec.max_episode_steps if env.spec else None)
        if length is None:
            raise UserError(f"{name} does not say how long an episode lasts: add --episode-length STEPS")
        seen = outermost(env, "primitive_observation", slice(None))
        if self._columns is not None:
            first, last = self._columns
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
        return Spec(name, space.shape[0], env.action_space, length, columns, env, _actions_of(env))

    def single(self, render: bool = False) -> gym.Env[Any, Any]:
        """One environment that truncates its episodes at T.

        Args:
            render: it draws pictures, as arrays.

        Raises:
            UserError: it cannot be made, or does not draw.
        """
        how: dict[str, Any] = {"render_mode": "rgb_array"} if render else {}
        try:
            if isinstance(self._env, str):
                return gym.make(self._env, max_episode_steps=self._length, disable_env_checker=True, **self._settings, **how)
            env = self._env(**self._settings, **how)
        except Interrupted:
            raise
        except BaseException as error:
            if self._settings and isinstance(error, (TypeError, ValueError)):
                given = " ".join(f"{name}={value}" for name, value in self._settings.items())
                raise UserError(f"the environment does not take --env-settings {given} ({error})") from None
            if render and isinstance(error, (TypeError, ValueError)):
                raise UserError('the environment draws no pictures: it must take render_mode="rgb_array"') from None
            raise UserError(f"the environment {self.name} could not be made: it raised {as_words(error)}") from error
        if not isinstance(env, gym.Env):
            raise UserError(f"{self.name} must return a gymnasium.Env, but returned {type(env).__name__}")
        return env if self._length is None else gym.wrappers.TimeLimit(env, self._length)

    def vector(self, count: int) -> Lanes | None:
        """`count` lanes as arrays; None where the environment has no vector form that can be used."""
        if isinstance(self._env, str) and gym.spec(self._env).vector_entry_point is not None:
            limit: dict[str, Any] = {} if self._length is None else {"max_episode_steps": self._length}
            vector = gym.make_vec(self._env, count, vectorization_mode="vector_entry_point", **limit, **self._settings)
            if vector.metadata.get("autoreset_mode") is AutoresetMode.DISABLED and hasattr(vector.unwrapped, "sample_task"):
                unclipped = bool(getattr(vector.unwrapped, "unclipped_actions", False))
                return Lanes(vector, Actions.of(vector.single_action_space, unclipped))
        return None

    def lanes(self, count: int) -> Lanes:
        """`count` lanes, as arrays where the environment has a vector form."""
        arrays = self.vector(count)
        if arrays is not None:
            return arrays
        envs = [self.single() for _ in range(count)]
        return Lanes(ListEnv(envs), _actions_of(envs[0]))


def outermost(env: gym.Env[Any, Any], name: str, default: Any = None) -> Any:
    """An attribute of the outermost wrapper that has it, or of the environment itself; else the default."""
    return env.get_wrapper_attr(name) if env.has_wrapper_attr(name) else default


def _actions_of(env: gym.Env[Any, Any]) -> Actions:
    """How a single environment wants what policies draw."""
    return Actions.of(env.action_space, bool(outermost(env, "unclipped_actions", False)))


def _setting(text: str) -> tuple[str, Any]:
    name, is_one, value = text.partition("=")
    if not (is_one and name.isidentifier()):
        raise UserError(f"--env-settings takes name=value, such as integrator=implicitfast, not {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def known_environments() -> list[str]:
    """Ids of the environments that come with this project."""
    return sorted(name for name in gym.registry if name.startswith("mlsh/"))


def _resolve(env: str) -> str | EnvFactory:
    """A registered id, or what makes the environment.

    Args:
        env: an id, ``module:id`` for one that a module registers (Gymnasium's own way to write it), or ``module:attribute``.

    Raises:
        UserError: it names nothing.
    """
    module_name, is_in_module, name = env.rpartition(":")
    if not is_in_module:
        if not _is_registered(env):
            hint = "" if "/" in env and not env.startswith("mlsh/") else nearest(env, known_environments())
            raise UserError(
                f"there is no environment {env!r}{hint}: use a Gymnasium id such as "
                f"{known_environments()[0]}, module:id for one that your module registers, or module:Class"
            )
        return env
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise UserError(f"--env {env} is not of the form module:Class or module:id, such as my_package.my_module:MyEnv")
    if module_name.endswith(".py"):
        raise UserError(f"--env {env} names a file: leave out .py, for it is the module that is imported")
    try:
        module = importlib.import_module(module_name)
    except Interrupted:
        raise
    except ModuleNotFoundError as error:
        raise UserError(
            f"--env {env} needs the module {error.name!r}, which Python cannot find: install it or start where it lies"
        ) from None
    except BaseException as error:
        raise UserError(f"--env {env} needs the module {module_name}, which raised {as_words(error)}") from error
    if not hasattr(module, name):
        if _is_registered(name):
            return name
        ids = [known for known, spec in gym.registry.items() if str(spec.entry_point).startswith(f"{module_name}:")]
        raise UserError(f"module {module_name} has no {name!r}{nearest(name, [*dir(module), *ids])}, asked for by --env {env}")
    factory: EnvFactory = getattr(module, name)
    if not callable(factory):
        raise UserError(f"--env {env} must name a class or a function that returns an environment, not {factory!r}")
    return factory


def _is_registered(env: str) -> bool:
    try:
        gym.spec(env)
    except gym.error.Error:
        return False
    return True
