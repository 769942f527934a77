"""Primitives as actions: a semi-Markov decision process for any library that works with Gymnasium."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from mlsh_mpi.errors import UserError
from mlsh_mpi.policies.primitives import Primitives


class PrimitiveActions(gym.Wrapper[Any, Any, Any, Any]):
    """An environment whose action k runs primitive k for N steps, or to the end of the episode (paper, section 4.1).

    The reward is the sum over these steps, and ``info["steps"]`` their number. With it Stable-Baselines3 and other libraries can
    learn the master of one task.

    Args:
        env: a single environment, not vectorised, with its time limit.
        primitives: the frozen primitives.
        macro_length: N, steps of a macro-action.
        task: the task for every reset; None leaves it to the environment.
        seed: seeds the sampling of the primitives' actions.

    Raises:
        UserError: the primitives do not fit the environment.
    """

    def __init__(
        self, env: gym.Env[Any, Any], primitives: Primitives, macro_length: int, task: Any = None, seed: int | None = None
    ) -> None:
        super().__init__(env)
        size = (env.observation_space.shape or (0,))[0]
        if size != primitives.observation_size or env.action_space != primitives.action_space:
            raise UserError(
                f"these primitives act on {primitives.observation_size} numbers in {primitives.action_space}, but {env} has "
                f"{size} and {env.action_space}: use an environment with the same body"
            )
        if macro_length < 1:
            raise UserError(f"a macro-action lasts at least one step, but macro_length is {macro_length}")
        self.primitives, self.macro_length, self._task = primitives, macro_length, task
        self.action_space = gym.spaces.Discrete(len(primitives))
        self._rng = np.random.default_rng(seed)
        self._observation: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode, on the task of this wrapper if it has one."""
        if self._task is not None:
            options = {"task": self._task} | (options or {})
        self._observation, info = self.env.reset(seed=seed, options=options)
        return self._observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Runs one macro-action."""
        total, steps, terminated, truncated = 0.0, 0, False, False
        info: dict[str, Any] = {}
        while steps < self.macro_length and not (terminated or truncated):
            inner = self.primitives.act(self._observation, int(action), rng=self._rng)
            self._observation, reward, terminated, truncated, info = self.env.step(inner)
            total, steps = total + float(reward), steps + 1
        return self._observation, total, terminated, truncated, info | {"steps": steps}
