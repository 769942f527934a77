"""Gymnasium's own environments as families of one task, so that this trainer takes them."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np


class _OneTask(gym.Wrapper):
    """Looks as if it were not wrapped: the outermost environment offers the tasks."""

    name: ClassVar[str]

    def __init__(self) -> None:
        super().__init__(gym.make(self.name))

    @property
    def unwrapped(self) -> Any:
        """Itself."""
        return self

    def sample_task(self, rng: np.random.Generator, split: str = "train") -> str:
        """There is one."""
        return "only"

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return self.env.reset(seed=seed)


class CartPole(_OneTask):
    """Balance a pole for up to 500 steps."""

    name = "CartPole-v1"


class Ant(_OneTask):
    """Run ahead for up to 1000 steps."""

    name = "Ant-v5"


class Humanoid(_OneTask):
    """Walk ahead for up to 1000 steps."""

    name = "Humanoid-v5"
