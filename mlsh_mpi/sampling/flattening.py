"""Observations of any kind as flat vectors, and combinations of discrete choices as one choice: by Gymnasium's own wrappers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from mlsh_mpi.errors import UserError

PIXELS = 1024
"""Numbers from which on an array of bytes with two or three axes counts as an image."""
CHOICES = 1024
"""Combinations of discrete actions up to which they are one choice."""


def flattened(env: gym.Env[Any, Any], name: str) -> gym.Env[Any, Any]:
    """The environment with flat observations and a single action; as it is if it has these already.

    Args:
        env: a single environment.
        name: its name, for messages.

    Raises:
        UserError: it observes pixels or nothing that is a number, or has too many combinations of actions.
    """
    space = env.observation_space
    if isinstance(space, spaces.Dict):
        numeric = [key for key, part in space.items() if is_numeric(part)]
        if numeric and len(numeric) < len(space):
            env = gym.wrappers.FilterObservation(env, numeric)
    if not is_flat(env.observation_space):
        _check_observations(env.observation_space, name)
        env = gym.wrappers.FlattenObservation(env)

    if isinstance(env.action_space, (spaces.MultiDiscrete, spaces.MultiBinary)):
        env = JointAction(env, name)
    return env


def is_flat(space: gym.Space[Any]) -> bool:
    """Whether a space is a Box of one dimension."""
    return isinstance(space, spaces.Box) and len(space.shape) == 1


def is_numeric(space: gym.Space[Any]) -> bool:
    """Whether a space, or each of its parts, is made of numbers, a fixed count of them: no text, graph or sequence."""
    kinds = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    return all(isinstance(part, kinds) for part in _parts(space))


def _parts(space: gym.Space[Any]) -> Iterator[gym.Space[Any]]:
    """The spaces of which nested Dict and Tuple spaces consist; a space that is neither is its only part."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        for part in space.values() if isinstance(space, spaces.Dict) else space:
            yield from _parts(part)
    else:
        yield space


def left_out(env: gym.Env[Any, Any]) -> list[str]:
    """Names of the parts of a Dict observation that :func:`flattened` has left out because they are not numbers."""
    while isinstance(env, gym.Wrapper):
        if isinstance(env, gym.wrappers.FilterObservation):
            whole = env.env.observation_space
            return [key for key in whole if key not in env.observation_space.spaces]  # type: ignore[attr-defined]
        env = env.env
    return []


def _check_observations(space: gym.Space[Any], name: str) -> None:
    """Refuses what cannot be flattened or should not be.

    Raises:
        UserError: it says what to do.
    """
    if not is_numeric(space):
        raise UserError(
            f"observations must be numbers, a fixed count of them, but {name} has {space}: write a gymnasium.ObservationWrapper "
            "that returns numbers, and name a function that applies it"
        )
    for part in _parts(space):
        if (
            isinstance(part, spaces.Box)
            and part.dtype == np.uint8
            and len(part.shape) in (2, 3)
            and np.prod(part.shape) >= PIXELS
        ):
            raise UserError(
                f"observations must not be pixels, but {name} has {part}: policies here have no convolutions, so let the "
                "environment observe features"
            )


class JointAction(gym.ActionWrapper[Any, Any, Any]):
    """Combinations of discrete choices (MultiDiscrete, MultiBinary) as one choice; the last of them varies fastest.

    Args:
        env: the environment.
        name: its name, for messages.

    Raises:
        UserError: there are more than :data:`CHOICES` combinations.
    """

    def __init__(self, env: gym.Env[Any, Any], name: str) -> None:
        super().__init__(env)
        space: Any = env.action_space
        binary = isinstance(space, spaces.MultiBinary)
        self._shape = space.shape
        self._choices = np.full(space.shape, 2).ravel() if binary else np.ravel(space.nvec)
        self._start = np.zeros(self._choices.size, np.int64) if binary else np.ravel(space.start)
        self._dtype = space.dtype
        combinations = float(np.prod(self._choices, dtype=np.float64))
        if combinations > CHOICES:
            raise UserError(
                f"combinations of actions become one choice among {CHOICES:,} at most, but {name} has {combinations:,.0f} "
                f"({space}): offer fewer actions in a gymnasium.ActionWrapper, and name a function that applies it"
            )
        self.action_space = spaces.Discrete(int(combinations))

    def action(self, action: Any) -> Any:
        """The combination that a choice stands for."""
        parts = np.array(np.unravel_index(int(action), self._choices.tolist())) + self._start
        return parts.astype(self._dtype).reshape(self._shape)
