"""Makes environments as users specify them: by Gymnasium id, by module:Class, or by a factory that a script passed."""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode

import mlsh_envs  # noqa: F401  (registers the mlsh/ environments)
from mlsh_mpi.config.settings import Environment
from mlsh_mpi.errors import Interrupted, UserError, as_words, nearest
from mlsh_mpi.output import warn
from mlsh_mpi.sampling.actions import Actions
from mlsh_mpi.sampling.lanes import Lanes, SequentialVectorEnv

SCRIPTED = "script:"
"""Prefix of the name of an environment that a script passed; it cannot be made again from that name."""
EnvFactory = Callable[..., gym.Env[Any, Any]]


class EnvironmentMaker:
    """Makes an environment by Gymnasium id, by module:Class, or by calling what a script passed.

    Args:
        env: id, ``module:attribute``, or a callable that returns an environment.
        episode_length: T, steps of an episode; None takes the environment's registered time limit.
        primitive_columns: first and last index of what primitives see of an observation; None takes what the environment names.
        settings: keyword arguments of the environment, each as name=value; a value is JSON or Python, or else text.

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
        self._env, self.episode_length = (_resolve(env) if isinstance(env, str) else env), episode_length
        self.primitive_columns, self._settings = primitive_columns, dict(map(_setting, settings))
        self._mentioned = False

    @classmethod
    def of(cls, config: Environment, env: str | EnvFactory | None = None) -> EnvironmentMaker:
        """From a run's configuration.

        Args:
            config: settings of the run's environment.
            env: the environment's id, or a factory that a script passed; None takes the configured one.
        """
        return cls(env or config.env, config.episode_length, config.primitive_columns, config.env_settings)

    def mention(self, fault: str) -> None:
        """Says, once, what went wrong when an environment was closed; nothing if `fault` is empty."""
        if fault and not self._mentioned:
            self._mentioned = True
            warn(f"mlsh_mpi: {self.name} {fault} when it was closed, after its work was done: mend its close()")

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
        how: dict[str, Any] = {"render_mode": "rgb_array"} if render else {}
        try:
            if isinstance(self._env, str):
                return gym.make(
                    self._env, max_episode_steps=self.episode_length, disable_env_checker=True, **self._settings, **how
                )
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
        return env if self.episode_length is None else gym.wrappers.TimeLimit(env, self.episode_length)

    def vector(self, count: int) -> Lanes | None:
        """`count` lanes stepped as arrays; None if the environment has no vector form that can be used."""
        if isinstance(self._env, str) and gym.spec(self._env).vector_entry_point is not None:
            limit: dict[str, Any] = {} if self.episode_length is None else {"max_episode_steps": self.episode_length}
            vector = gym.make_vec(self._env, count, vectorization_mode="vector_entry_point", **limit, **self._settings)
            if vector.metadata.get("autoreset_mode") is AutoresetMode.DISABLED and hasattr(vector.unwrapped, "sample_task"):
                unclipped = bool(getattr(vector.unwrapped, "unclipped_actions", False))
                return Lanes(vector, Actions.of(vector.single_action_space, unclipped))
        return None

    def lanes(self, count: int) -> Lanes:
        """`count` lanes, stepped as arrays if the environment has a vector form, else one after another."""
        arrays = self.vector(count)
        if arrays is not None:
            return arrays
        envs = [self.single() for _ in range(count)]
        return Lanes(SequentialVectorEnv(envs), actions_of(envs[0]))


def outermost(env: gym.Env[Any, Any], name: str, default: Any = None) -> Any:
    """An attribute of the outermost wrapper that has it, or of the environment itself; the default if none has it."""
    return env.get_wrapper_attr(name) if env.has_wrapper_attr(name) else default


def actions_of(env: gym.Env[Any, Any]) -> Actions:
    """The conversion from policies' actions to those of a single environment."""
    return Actions.of(env.action_space, bool(outermost(env, "unclipped_actions", False)))


def _setting(text: str) -> tuple[str, Any]:
    name, is_one, value = text.partition("=")
    if not (is_one and name.isidentifier()):
        raise UserError(f"--env-settings takes name=value, such as integrator=implicitfast, not {text!r}")
    for parsed in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError):
            return name, parsed(value)
    return name, value


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
