"""The common part of masters and primitives: a stack of actor-critics, its PPO update, and the ranks that share it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from mlsh_mpi.algorithm import ppo
from mlsh_mpi.algorithm.return_scale import Pooled, ReturnScale
from mlsh_mpi.config.ppo_settings import PPO
from mlsh_mpi.mpi.ranks import Ranks
from mlsh_mpi.networks.actor_critic import StackedActorCritic

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class StackTrainer:
    """Trains a stack, each row of which is one master or one primitive."""

    stack: StackedActorCritic
    update: ppo.PPOUpdate
    ranks: Ranks
    return_scale: ReturnScale | None
    """None unless values are standardised."""

    @classmethod
    def create(cls, stack: StackedActorCritic, config: PPO, ranks: Ranks) -> StackTrainer:
        """A trainer whose gradients are summed over `ranks`."""
        return cls(stack, ppo.PPOUpdate(stack, config), ranks, ReturnScale(stack) if config.standardise_values else None)

    def state_dict(self) -> dict[str, Tensor]:
        """All that learning changes, as views."""
        optimiser, scale = self.update.optimiser, self.return_scale
        adam = {"mean": optimiser.mean, "square": optimiser.square, "steps": optimiser.steps, "adapted": optimiser.adapted}
        return {"parameters": self.stack.flat, **adam, **({} if scale is None else {"returns": scale.sums})}

    def load_state_dict(self, saved: Mapping[str, Tensor], rows: Sequence[int] | slice = slice(None)) -> None:
        """Copies saved tensors, or some of their rows; tensors missing in a checkpoint of an earlier version stay as they are."""
        for name, values in self.state_dict().items():
            if name in saved:
                values.copy_(saved[name][rows])

    def allreduce(self, buffer: Tensor) -> None:
        """Sums gradients and sample counts over the ranks that share this stack, in place."""
        self.ranks.allreduce(buffer.numpy())

    @contextmanager
    def allreduce_among(self, active: Sequence[int]) -> Iterator[StackTrainer | None]:
        """A trainer that sums over the active ranks only; None on the others, to which the result is broadcast afterwards.

        Every rank knows the active ranks from the schedule, so this needs no communication, and no rank waits in an allreduce to
        which it contributes nothing.

        Args:
            active: the ranks that have data for this stack.
        """
        ranks = self.ranks.among(active) if active else None
        yield None if ranks is None else replace(self, ranks=ranks)
        if active and len(active) < self.ranks.size:
            for values in self.state_dict().values():
                self.ranks.broadcast(values.numpy(), active[0])

    def restart(self, row: int, rng: np.random.Generator) -> None:
        """Initialises the parameters of one row and resets its optimiser and return scale."""
        self.stack.initialise(row, rng)
        self.update.optimiser.reset(row)
        if self.return_scale is not None:
            self.return_scale.reset(row)

    def returns_from(self, value: Array, row: Array) -> Array:
        """Converts outputs of the value networks to expected returns, given the row of each; all of the same shape."""
        if self.return_scale is None:
            return value
        mean, deviation = self.return_scale.moments
        return value * deviation[row] + mean[row]

    def targets(self, returns: Array, row: Array, pooled: Pooled) -> Array:
        """Converts returns to targets of the value networks: updates the return scale, then inverts :meth:`returns_from`."""
        if self.return_scale is None:
            return returns
        self.return_scale.update(pooled)
        mean, deviation = self.return_scale.moments
        return (returns - mean[row]) / np.maximum(deviation[row], 1e-8)
