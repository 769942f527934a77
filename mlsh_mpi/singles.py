"""Single environments stepped as lanes, for those that have no vector form."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


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
