"""From what a policy draws to what an environment is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from mlsh_mpi.errors import UserError

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Actions:
    """A policy acts in units of the half-width of a bounded Box, from its middle: a fresh one, which draws around 0 with a
    deviation of about 1, then acts all over Box(100, 200) as over Box(-1, 1). Unbounded numbers and discrete actions stay as they
    are drawn.
    """

    space: gym.Space[Any]
    middle: Array | None
    """(action,) or None where it is 0 and the half-width 1."""
    half_width: Array | None
    """(action,) likewise."""
    unclipped: bool
    """The environment wants actions beyond its bounds too."""

    @classmethod
    def of(cls, space: gym.Space[Any], unclipped: bool = False) -> Actions:
        """What fits an action space.

        Args:
            space: of one environment.
            unclipped: see there.

        Raises:
            UserError: a number is bounded on one side only, so that it has no middle.
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
        """What a policy draws for the middle of a Box, or for the first of some choices."""
        return np.zeros(self.space.shape or (), np.float32 if isinstance(self.space, gym.spaces.Box) else np.int64)

    def __call__(self, action: Array) -> Array:
        """(..., action) as drawn -> (..., action) of the space's type and, unless the environment is to clip, in its bounds."""
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
        """Rounded to the nearest; the bounds themselves beyond them, which floats cannot always hold."""
        space, kind = self.space, np.iinfo(self.space.dtype)
        low, high = (kind.min, kind.max) if self.unclipped else (space.low, space.high)  # type: ignore[attr-defined]
        with np.errstate(invalid="ignore"):
            rounded = np.rint(action).astype(space.dtype)
        return np.where(action <= low, low, np.where(action >= high, high, rounded)).astype(space.dtype, copy=False)
