"""Moments of each row's samples, pooled over ranks before the row learns, and the running scale of its returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mlsh_mpi.networks.actor_critic import StackedActorCritic

Array = np.ndarray[Any, np.dtype[Any]]
RETURN_DECAY = 0.9
"""Decay of earlier returns at each update: returns rise while a policy learns, so a mean over all of them would lag behind."""


@dataclass(frozen=True)
class Pooled:
    """Moments of the samples of each of n rows, over all ranks that share the stack; (n,) each."""

    count: Array
    advantage: tuple[Array, Array]
    """Mean and standard deviation."""
    returns: tuple[Array, Array]
    """Mean and standard deviation of the lambda-returns."""
    log_prob: Array
    """Mean log-probability of the actions."""

    @classmethod
    def from_sums(cls, sums: Array) -> Pooled:
        """From (6, n) sums: counts, advantages, their squares, returns, their squares, log-probabilities."""
        count = np.maximum(sums[0], 1)
        mean = sums[1:] / count

        def moments(first: Array, second: Array) -> tuple[Array, Array]:
            return first, np.sqrt(np.maximum(second - first**2, 0))

        return cls(sums[0], moments(mean[0], mean[1]), moments(mean[2], mean[3]), mean[4])

    @property
    def explained_variance(self) -> Array:
        """Share of the returns' variance that the values explain; advantages are their errors. Not finite without variance."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return 1 - (self.advantage[1] / self.returns[1]) ** 2


class ReturnScale:
    """Running mean and standard deviation of each row's returns; value networks learn and predict returns in these units.

    When the scale changes, the last layer of the value network is adjusted so that its predictions stay the same (PopArt: van
    Hasselt et al. 2016). Before the first returns every value is 0.
    """

    def __init__(self, stack: StackedActorCritic) -> None:
        self._stack = stack
        self.sums = torch.zeros(stack.n, 3, dtype=torch.float64)
        """(n, 3) sums of weights, returns and their squares, decayed by :data:`RETURN_DECAY` at each update."""

    def reset(self, row: int) -> None:
        """Forgets the returns of one row."""
        self.sums[row] = 0

    @property
    def moments(self) -> tuple[Array, Array]:
        """(n,) means and (n,) standard deviations, float32; both 0 for rows that have had no returns."""
        weight, total, squares = self.sums.numpy().T
        mean = total / np.maximum(weight, 1e-9)
        deviation = np.sqrt(np.maximum(squares / np.maximum(weight, 1e-9) - mean**2, 0))
        deviation = np.maximum(deviation, 1e-3 * np.abs(mean) + 1e-8) * (weight > 0)  # all returns may be equal
        return mean.astype(np.float32), deviation.astype(np.float32)

    def update(self, pooled: Pooled) -> None:
        """Updates the scale with the returns of an iteration."""
        mean, deviation = self.moments

        known, (first, spread) = self.sums.numpy(), pooled.returns
        new = pooled.count[:, None] * np.stack((np.ones_like(first), first, spread**2 + first**2), axis=1)
        rows = np.flatnonzero(pooled.count)
        known[rows] = RETURN_DECAY * known[rows] + new[rows]

        # Keep the value network's predictions in the new units.
        now_mean, now_deviation = self.moments
        moved = [row for row in rows.tolist() if deviation[row] > 0]
        scale = deviation[moved] / now_deviation[moved]
        shift = (mean[moved] - now_mean[moved]) / now_deviation[moved]
        self._stack.rescale_values(moved, torch.from_numpy(scale), torch.from_numpy(shift))


def diagnostics(of_update: Array, stack: StackedActorCritic, pooled: Pooled) -> Array:
    """(n, 9) columns as in :data:`mlsh_mpi.algorithm.ppo.DIAGNOSTICS`, from an update's result; NaN if a row did not learn."""
    log_std = stack.network.log_std(stack.parameters).exp().numpy()
    deviation = log_std.mean(1) if log_std.shape[1] else np.full(stack.n, np.nan)
    return np.column_stack((of_update, pooled.explained_variance, -pooled.log_prob, deviation))
