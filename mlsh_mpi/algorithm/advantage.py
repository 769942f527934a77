"""Pure functions: generalised advantage estimation, and a Rollout from the master's and from the primitives' point of view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def gae(reward: Array, value: Array, next_value: Array, continues: Array, gamma: float, lam: float) -> Array:
    """Generalised advantage estimation (Schulman et al. 2016) along the first axis.

    Args:
        reward: (T, L) rewards.
        value: (T, L) V of the state before each step.
        next_value: (T, L) V of the state after each step: 0 where the episode ended, the bootstrap value where it was cut.
        continues: (T, L) bool, whether the advantage of a step includes that of the next one.
        gamma: discount factor per step.
        lam: lambda.

    Returns:
        (T, L) advantages; adding `value` gives the lambda-returns.
    """
    delta = reward + gamma * next_value - value
    decay = np.where(continues, gamma * lam, 0).astype(delta.dtype)
    advantage = np.empty_like(delta)
    following = np.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        following = delta[t] + decay[t] * following
        advantage[t] = following
    return advantage


def one_longer(values: Array) -> Array:
    """Appends a row of zeros, (M, ...) -> (M + 1, ...): a :class:`MasterView` has one observation more than decisions."""
    return np.concatenate((values, np.zeros_like(values[:1])))


@dataclass(frozen=True)
class PendingDecision:
    """The unfinished macro-action in each lane at the end of a collection; the next collection continues it."""

    observation: Array
    """(L, observation) at the decision."""
    choice: Array
    """(L,) int64, the chosen primitive."""
    log_prob: Array
    """(L,) log-probability of the choice when it was made."""
    reward: Array
    """(L,) summed reward so far."""
    length: Array
    """(L,) steps so far; 0 where no macro-action is unfinished."""


@dataclass(frozen=True)
class MasterView:
    """The 1/N timescale (paper, section 4.1): a decision is an action, and its macro-action is one transition.

    M is the largest number of macro-actions in any lane; rows that a lane does not have are not valid.
    """

    observation: Array
    """(M + 1, L, observation) at each decision and, after a lane's last decision, at the end of the collection."""
    choice: Array
    """(M, L) int64, the chosen primitive."""
    reward: Array
    """(M, L) summed over the macro-action."""
    end: Array
    """(M, L) bool: the episode ended in this macro-action."""
    valid: Array
    """(M, L) bool: the macro-action ran to its full length or to the end of the episode. An unfinished one is not valid; the
    macro-action before it bootstraps from the observation at its beginning."""
    length: Array
    """(M, L) steps of the macro-action so far."""

    def advantages(self, value: Array, gamma: float, lam: float) -> Array:
        """Advantages from the values of `observation`: (M + 1, L) -> (M, L), 0 where not valid."""
        continues = self.valid & ~self.end
        reward = np.where(self.valid, self.reward, value[:-1])
        next_value = np.where(continues, value[1:], 0)
        return gae(reward, value[:-1], next_value, continues, gamma, lam)

    def cut(self, log_prob: Array) -> PendingDecision:
        """The unfinished macro-actions at the end of the collection, given the (M, L) log-probabilities of the choices."""
        lanes = np.arange(self.choice.shape[1])
        last = (self.length > 0).sum(0) - 1
        at = (last, lanes)

        return PendingDecision(
            observation=self.observation[at],
            choice=self.choice[at],
            log_prob=log_prob[at],
            reward=self.reward[at],
            length=np.where(self.valid[at], 0, self.length[at]),
        )

    @classmethod
    def joined(cls, views: Sequence[MasterView]) -> MasterView:
        """Joins views of the same lanes in chronological order. Between two of them is an invalid row, from whose observation the
        macro-action before it bootstraps."""
        if len(views) == 1:
            return views[0]

        joined = {"observation": np.concatenate([view.observation for view in views])}
        for name in ("choice", "reward", "end", "valid", "length"):
            each = [getattr(view, name) for view in views]
            joined[name] = np.concatenate([*map(one_longer, each[:-1]), each[-1]])
        return cls(**joined)


def master_view(
    observation: Array,
    reward: Array,
    end: Array,
    primitive: Array,
    decides: Array,
    final_observation: Array,
    macro_length: int,
    pending: PendingDecision | None = None,
) -> MasterView:
    """Summarises each macro-action. The arguments are those of a Rollout, with shapes (T, L, ...) and (L, observation), and the
    unfinished macro-actions of the previous collection."""
    lanes = np.arange(end.shape[1])
    continues = ~decides[0]

    # (T, L) number of the macro-action, within its lane, to which each step belongs.
    which = np.cumsum(decides, axis=0) - 1 + continues
    count = which[-1] + 1
    shape = (int(count.max()), len(lanes))

    at = (which * len(lanes) + lanes).reshape(-1)
    cells = shape[0] * shape[1]

    def summed(values: Array) -> Array:
        return np.bincount(at, values.reshape(-1), cells).reshape(shape)

    # Observation and choice at the beginning of each macro-action; one more row for the end of the collection.
    begins = np.nonzero(decides)
    cell = (which[begins], begins[1])
    choice = np.zeros(shape, np.int64)
    choice[cell] = primitive[begins]
    seen = np.zeros((shape[0] + 1, *observation.shape[1:]), observation.dtype)
    seen[cell] = observation[begins]
    seen[count, lanes] = final_observation

    ended = summed(end) > 0
    total = summed(reward).astype(reward.dtype)
    length = np.bincount(at, minlength=cells).reshape(shape)

    # The first macro-action of a lane may have begun in the previous collection.
    if pending is not None:
        seen[0, continues], choice[0, continues] = pending.observation[continues], pending.choice[continues]
        total[0, continues] += pending.reward[continues]
        length[0, continues] += pending.length[continues]

    valid = ended | (length == macro_length)
    return MasterView(observation=seen, choice=choice, reward=total, end=ended, valid=valid, length=length)


def primitive_advantages(
    reward: Array,
    end: Array,
    decides: Array,
    value: Array,
    final_value: Array,
    ended_value: Array | float = 0.0,
    *,
    through_macro_actions: bool,
    gamma: float,
    lam: float,
) -> Array:
    """Advantages on the full timescale.

    The value of a state is that of the primitive active in it. With `through_macro_actions` the advantage continues into the
    next macro-action, as in the released code. Without it the advantage stops where the next macro-action begins and bootstraps
    from the value of the next primitive: what that one does well or badly is not credited to the first.

    Args:
        reward: (T, L) rewards.
        end: (T, L) bool, the episode ended with this step.
        decides: (T, L) bool, a macro-action starts with this step.
        value: (T, L) V by the active primitive.
        final_value: (L,) V after the last step, by the last active primitive.
        ended_value: (T, L) value after the end of an episode: 0, or V where only the time limit ended it.
        through_macro_actions: whether the advantage continues into the next macro-action.
        gamma: discount factor per step.
        lam: lambda.

    Returns:
        (T, L) advantages.
    """
    following = np.concatenate((value[1:], final_value[None]))
    continues = ~end
    if not through_macro_actions:
        continues[:-1] &= ~decides[1:]
    return gae(reward, value, np.where(end, ended_value, following), continues, gamma, lam)
