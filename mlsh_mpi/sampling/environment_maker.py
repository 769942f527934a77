"""Makes environments as users specify them: by Gymnasium id, by module:Class, or by a factory passed from a script."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import gymnasium as gym
import numpy as np

import mlsh_envs  # noqa: F401  (registers the mlsh/ environments)
from mlsh_envs.families import Family, with_tasks
from mlsh_mpi.config.settings import EnvironmentConfig
from mlsh_mpi.errors import Interrupted, UserError, as_words, nearest
from mlsh_mpi.output import warn
from mlsh_mpi.sampling import mujoco_warnings
from mlsh_mpi.sampling.actions import Actions
from mlsh_mpi.sampling.environment_choice import EnvFactory, EnvironmentChoice, check_is_environment
from mlsh_mpi.sampling.flattening import flattened
from mlsh_mpi.sampling.vector_env import SequentialVectorEnv, VectorEnv
from mlsh_mpi.sampling.vector_form import NotUsed, vector_lanes

LONGEST = 2000
"""Largest number of characters of a setting."""


class EnvironmentMaker:
    """Makes an environment by Gymnasium id, by module:Class, or by calling a factory passed from a script.

    Args:
        env: id, ``module:attribute``, or a callable that returns an environment.
        episode_length: T, steps of an episode; None takes the environment's registered time limit.
        primitive_columns: first and last index of the part of an observation that primitives see; None for the environment's own.
        settings: keyword arguments of the environment, each as name=value; a value is JSON or Python, or else text.
        task_settings: tasks, each as the keyword arguments that are its own: name=value, or several with commas between them.

    Raises:
        UserError: there is no such id, module or attribute, or a setting is not of that form.
    """

    def __init__(
        self,
        env: str | EnvFactory,
        episode_length: int | None,
        primitive_columns: tuple[int, int] | None = None,
        settings: Sequence[str] = (),
        task_settings: Sequence[str] = (),
    ) -> None:
        if episode_length is not None and episode_length < 1:
            raise UserError(f"an episode has at least one step, but --episode-length is {episode_length}")
        self._env, self.episode_length = (_resolve(env) if isinstance(env, str) else env), episode_length
        if task_settings:
            self._env = with_tasks(self._env, [dict(_task_settings(text)) for text in task_settings])
        self.left_aside = ""
        """Why the environment's vector form is not used, once :meth:`vector` has been called; empty if it is used or missing."""
        self.primitive_columns, self._settings = primitive_columns, dict(map(_setting, settings))
        self._mentioned = False
        self.offset: np.ndarray[Any, np.dtype[Any]] | None = None
        """(observation,) that lanes subtract from observations: see :attr:`Interface.offset`."""

    @classmethod
    def from_config(cls, config: EnvironmentConfig, choice: EnvironmentChoice | None = None) -> EnvironmentMaker:
        """From a run's configuration, which may come from somebody else's file.

        Args:
            config: settings of the run's environment.
            choice: what the user, not a file, says about the environment; by default nothing.

        Raises:
            UserError: as for the class; or the configuration names code that the user has not named.
        """
        choice = choice or EnvironmentChoice()
        for setting in (*map(_setting, config.env_settings), *chain(*map(_task_settings, config.task_settings))):
            choice.check_setting(*setting)
        env = choice.env
        if env is None:
            choice.check_code(config.env)
            env = _resolve(config.env)
            if ":" in config.env:
                check_is_environment(config.env, env)
        return cls(env, config.episode_length, config.primitive_columns, config.env_settings, config.task_settings)

    def mention(self, fault: str) -> None:
        """Warns, once, about a fault when an environment was closed; does nothing if `fault` is empty."""
        if fault and not self._mentioned:
            self._mentioned = True
            warn(f"mlsh_mpi: {self.name} {fault} when it was closed, after its work was done: fix its close()")

    @property
    def name(self) -> str:
        """The environment's id, or the name of its factory."""
        return self._env if isinstance(self._env, str) else getattr(self._env, "__name__", type(self._env).__name__)

    def single(self, render: bool = False) -> gym.Env[Any, Any]:
        """One environment that truncates its episodes at T.

        Args:
            render: whether it renders frames as arrays.

        Raises:
            UserError: it cannot be made, or does not render.
        """
        mode: dict[str, Any] = {"render_mode": "rgb_array"} if render else {}
        mujoco_warnings.tell_once()  # before and after: its module may be loaded already, or only now

        try:
            env = self._made(mode)
        except Interrupted:
            raise
        except BaseException as error:
            if self._settings and isinstance(error, (TypeError, ValueError)):
                raise UserError(self._refused_settings(error)) from None
            if render and isinstance(error, (TypeError, ValueError)):
                raise UserError('the environment draws no pictures: it must take render_mode="rgb_array"') from None
            raise UserError(f"the environment {self.name} could not be made: it raised {as_words(error)}") from error
        finally:
            mujoco_warnings.tell_once()

        if not isinstance(env, gym.Env):
            raise UserError(f"{self.name} must return a gymnasium.Env, but returned {type(env).__name__}")
        if not isinstance(self._env, str) and self.episode_length is not None:
            env = gym.wrappers.TimeLimit(env, self.episode_length)
        return flattened(env, self.name)

    def _made(self, how: Mapping[str, Any]) -> Any:
        """What Gymnasium or the factory returns."""
        if isinstance(self._env, str):
            return gym.make(self._env, max_episode_steps=self.episode_length, disable_env_checker=True, **self._settings, **how)
        if isinstance(self._env, Family) and isinstance(self._env.env, str) and self.episode_length is not None:
            how = {"max_episode_steps": self.episode_length, **how}  # in place of the registered limit
        return self._env(**self._settings, **how)

    def _refused_settings(self, error: Exception) -> str:
        """What is wrong with the environment's settings, given the exception that it raised."""
        message = str(error).partition(" was raised from the environment creator")[0]  # what gym.make appends
        unknown = re.search(r"unexpected keyword argument '(\w+)'", message)
        if unknown and unknown[1] in self._settings:
            known = _settings_of(self._env)
            choices = f": there are {', '.join(known)}" if known else ""
            return f"--env-settings: {self.name} has no setting {unknown[1]}{nearest(unknown[1], known)}{choices}"
        given = " ".join(f"{name}={value}" for name, value in self._settings.items())
        if message.endswith("takes no arguments"):
            return f"--env-settings: {self.name} has no settings, so it does not take {given}"
        return f"{self.name} does not take --env-settings {given}: {message}"

    def vector(self, count: int) -> VectorEnv | None:
        """`count` lanes stepped as arrays; None if the environment has no usable vector form.

        Raises:
            UserError: it has one that could not be made.
        """
        if not isinstance(self._env, str) or gym.spec(self._env).vector_entry_point is None:
            return None
        try:
            return vector_lanes(self._env, count, self.episode_length, self._settings)
        except NotUsed as reason:
            self.left_aside = f"{self.name} is stepped one episode after another, because its vector form {reason}"
            return None

    def lanes(self, count: int) -> VectorEnv:
        """`count` lanes, stepped as arrays if the environment has a usable vector form, else one after another."""
        lanes = self.vector(count)
        if lanes is None:
            envs = [self.single() for _ in range(count)]
            lanes = VectorEnv(SequentialVectorEnv(envs), actions_of(envs[0]), self.episode_length or registered_length(envs[0]))
        lanes.offset = self.offset
        return lanes


def _settings_of(env: str | EnvFactory) -> list[str]:
    """Names of the keyword arguments of a class and its bases, or of a function; none if they are not known."""
    try:
        entry = gym.spec(env).entry_point if isinstance(env, str) else env
        factory = gym.envs.registration.load_env_creator(entry) if isinstance(entry, str) else entry
        makers = [factory, getattr(factory, "world_type", None)]  # the project's environments pass settings to their worlds
        callables = [base for maker in makers for base in (inspect.getmro(maker) if inspect.isclass(maker) else [maker])]
        parameters = [p for each in callables if each not in (None, object) for p in inspect.signature(each).parameters.values()]
    except (TypeError, ValueError, AttributeError, ImportError):
        return []
    named = (p.name for p in parameters if p.default is not p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    return sorted({*named} - {"render_mode"})


def outermost(env: gym.Env[Any, Any], name: str, default: Any = None) -> Any:
    """An attribute of the outermost wrapper that has it, or of the environment itself; the default if none has it."""
    return env.get_wrapper_attr(name) if env.has_wrapper_attr(name) else default


def registered_length(env: gym.Env[Any, Any]) -> int | None:
    """The time limit with which a single environment was registered; None if there is none."""
    return env.spec.max_episode_steps if env.spec else None


def actions_of(env: gym.Env[Any, Any]) -> Actions:
    """The conversion from policies' actions to those of a single environment."""
    return Actions.from_space(env.action_space, bool(outermost(env, "unclipped_actions", False)))


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise UserError(f"settings of an environment are given as name=value, such as integrator=implicitfast, not {text!r}")
    if len(text) > LONGEST:
        raise UserError(f"--env-settings takes at most {LONGEST} characters, but {name} has {len(text):,}")
    for parsed in (json.loads, ast.literal_eval):
        with suppress(Exception):  # text of another kind can raise anything
            return name, parsed(value)
    return name, value


def _task_settings(text: str) -> list[tuple[str, Any]]:
    """The settings of a task: g=5.0,l=1.0."""
    return [_setting(part) for part in text.split(",")]


def known_environments() -> list[str]:
    """Ids of the environments that come with this project."""
    return sorted(name for name in gym.registry if name.startswith("mlsh/"))


def _resolve(env: str) -> str | EnvFactory:
    """A registered id, or a factory.

    Args:
        env: an id, ``module:id`` for one that a module registers (Gymnasium's own notation), or ``module:attribute``.

    Raises:
        UserError: nothing has that name.
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
        raise UserError(f"--env {env} names a file: leave out .py, because --env takes the module's name")

    try:
        module = importlib.import_module(module_name)
    except Interrupted:
        raise
    except ModuleNotFoundError as error:
        raise UserError(
            f"--env {env} needs the module {error.name!r}, which Python cannot find: install it, or start in its folder"
        ) from None
    except BaseException as error:
        raise UserError(f"--env {env} needs the module {module_name}, which raised {as_words(error)}") from error

    if not hasattr(module, name):
        if _is_registered(name):
            return name
        ids = [known for known, spec in gym.registry.items() if str(spec.entry_point).startswith(f"{module_name}:")]
        raise UserError(f"module {module_name} has no {name!r}{nearest(name, [*dir(module), *ids])}, which --env {env} names")

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
