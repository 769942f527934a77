"""Pure: generalised advantage estimation, and the master's and the primitives' view of one Rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def gae(reward: Array, value: Array, next_value: Array, carries: Array, gamma: float, lam: float) -> Array:
    """Generalised advantage estimation (Schulman et al. 2016) along the first axis.

    Args:
        reward: (T, L).
        value: (T, L) V of the state in which each step began.
        next_value: (T, L) V of what follows each step: 0 after an end, a bootstrap after a cut.
        carries: (T, L) bool, whether the advantage of the next step belongs to this step's future.
        gamma: discount a step.
        lam: lambda.

    Returns:
        (T, L) advantages; adding `value` gives the lambda-returns.
    """
    delta = reward + gamma * next_value - value
    decay = np.where(carries, gamma * lam, 0).astype(delta.dtype)
    advantage = np.empty_like(delta)
    following = np.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        following = delta[t] + decay[t] * following
        advantage[t] = following
    return advantage


@dataclass(frozen=True)
class MasterView:
    """The 1/N timescale (paper, section 4.1): one decision is one action, its macro-action one transition.

    M is the largest number of macro-actions of a lane; rows that a lane does not have are not valid.
    """

    observation: Array
    """(M + 1, L, observation): where each decision was made; after a lane's last one, where the collection stopped."""
    choice: Array
    """(M, L) int64."""
    reward: Array
    """(M, L) summed over the macro-action."""
    end: Array
    """(M, L) bool: the episode ended in this macro-action."""
    valid: Array
    """(M, L) bool: the macro-action ran to its length or to the episode's end. One cut by the collection is dropped; the
    observation where it began is what the one before it bootstraps from."""

    def advantages(self, value: Array, gamma: float, lam: float) -> Array:
        """(M + 1, L) values of `observation` -> (M, L) advantages, 0 where not valid."""
        carries = self.valid & ~self.end
        reward = np.where(self.valid, self.reward, value[:-1])
        next_value = np.where(carries, value[1:], 0)
        return gae(reward, value[:-1], next_value, carries, gamma, lam)


def master_view(
    observation: Array,
    reward: Array,
    end: Array,
    primitive: Array,
    decides: Array,
    final_observation: Array,
    macro_length: int,
) -> MasterView:
    """Sums each macro-action up; the arguments are those of a Rollout, shapes (T, L, ...) and (L, observation)."""
    lanes = np.arange(end.shape[1])
    which = np.cumsum(decides, axis=0) - 1
    count = which[-1] + 1
    shape = (int(count.max()), len(lanes))
    at = (which * len(lanes) + lanes).reshape(-1)
    cells = shape[0] * shape[1]

    def summed(values: Array) -> Array:
        return np.bincount(at, values.reshape(-1), cells).reshape(shape)

    begins = np.nonzero(decides)
    cell = (which[begins], begins[1])
    choice = np.zeros(shape, np.int64)
    choice[cell] = primitive[begins]
    seen = np.zeros((shape[0] + 1, *observation.shape[1:]), observation.dtype)
    seen[cell] = observation[begins]
    seen[count, lanes] = final_observation
    ended = summed(end) > 0
    length = np.bincount(at, minlength=cells).reshape(shape)
    return MasterView(
        observation=seen,
        choice=choice,
        reward=summed(reward).astype(reward.dtype),
        end=ended,
        valid=ended | (length == macro_length),
    )


def primitive_advantages(
    reward: Array,
    end: Array,
    decides: Array,
    value: Array,
    final_value: Array,
    *,
    through_macro_actions: bool,
    gamma: float,
    lam: float,
) -> Array:
    """Advantages on the full timescale.

    The value of a state is that of the primitive active in it, so where one primitive hands over to the next, the successor's
    value is what the first one gets for the rest of the episode. By default the advantage stops there: what the next
    primitive then does well or badly is no credit of the first. `through_macro_actions` lets it run on, as released.

    Args:
        reward: (T, L).
        end: (T, L) bool.
        decides: (T, L) bool, a macro-action starts here.
        value: (T, L) V of the active primitive.
        final_value: (L,) V of the last active primitive after the last step.
        through_macro_actions: carry the advantage over to the next macro-action.
        gamma: discount.
        lam: lambda.

    Returns:
        (T, L) advantages.
    """
    following = np.concatenate((value[1:], final_value[None]))
    carries = ~end
    if not through_macro_actions:
        carries[:-1] &= ~decides[1:]
    return gae(reward, value, np.where(end, 0, following), carries, gamma, lam)
