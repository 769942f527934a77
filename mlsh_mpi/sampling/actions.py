"""Converts actions that a policy samples to those that an environment takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from mlsh_mpi.errors import UserError

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Actions:
    """The conversion for one action space.

    In a bounded Box a policy's actions are relative to its middle, in units of its half-width: a fresh policy, which samples
    around 0 with a standard deviation of about 1, then covers Box(100, 200) as well as Box(-1, 1). Unbounded and discrete actions
    are not changed.
    """

    space: gym.Space[Any]
    middle: Array | None
    """(action,); None if all middles are 0 and all half-widths 1."""
    half_width: Array | None
    """(action,); None if all middles are 0 and all half-widths 1."""
    unclipped: bool
    """Whether the environment also takes actions beyond its bounds."""

    @classmethod
    def from_space(cls, space: gym.Space[Any], unclipped: bool = False) -> Actions:
        """The conversion for an action space.

        Args:
            space: action space of a single environment.
            unclipped: whether the environment also takes actions beyond its bounds.

        Raises:
            UserError: a dimension is bounded on one side only, so it has no middle.
        """
        if not isinstance(space, gym.spaces.Box):
            return cls(space, None, None, unclipped)
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        bounded = np.isfinite(low) & np.isfinite(high)
        if (~bounded & (np.isfinite(low) | np.isfinite(high))).any():
            raise UserError(
                f"actions must be bounded on both sides or on none, but the action space is {space}: give it both bounds, or "
                "neither and clip in the environment"
            )
        low, high = np.where(bounded, low, -1), np.where(bounded, high, 1)
        middle, half_width = low / 2 + high / 2, high / 2 - low / 2
        if not middle.any() and (half_width == 1).all():
            return cls(space, None, None, unclipped)
        return cls(space, middle, half_width, unclipped)

    @property
    def middle_as_drawn(self) -> Array:
        """The policy's action that is converted to the middle of a Box, or to the first of several discrete actions."""
        return np.zeros(self.space.shape or (), np.float32 if isinstance(self.space, gym.spaces.Box) else np.int64)

    def __call__(self, action: Array) -> Array:
        """(..., action) as sampled -> (..., action) in the space's type and, unless `unclipped`, clipped to its bounds."""
        if not isinstance(self.space, gym.spaces.Box):
            return action
        if self.half_width is not None:
            action = self.middle + self.half_width * action  # float64: bounds may be large and close together
        if np.issubdtype(self.space.dtype, np.integer):
            return self._whole(action)
        if not self.unclipped:
            action = np.clip(action, self.space.low, self.space.high)
        return action.astype(self.space.dtype, copy=False)

    def _whole(self, action: Array) -> Array:
        """Rounds to integers. Beyond a bound the result is the bound itself, which a float cannot always represent."""
        space, kind = self.space, np.iinfo(self.space.dtype)
        low, high = (kind.min, kind.max) if self.unclipped else (space.low, space.high)  # type: ignore[attr-defined]
        with np.errstate(invalid="ignore"):
            rounded = np.rint(action).astype(space.dtype)
        return np.where(action <= low, low, np.where(action >= high, high, rounded)).astype(space.dtype, copy=False)
