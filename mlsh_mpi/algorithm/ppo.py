"""Proximal policy optimisation for a stack of actor-critics, independent of MPI: `reduce` sums over the ranks that share it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim.adam import adam

from mlsh_mpi.algorithm.gradients import Gradients, Minibatch
from mlsh_mpi.config.ppo_settings import PPO
from mlsh_mpi.networks.actor_critic import MEASURED, StackedActorCritic

Array = np.ndarray[Any, np.dtype[Any]]
Reduce = Callable[[Tensor], None]
"""Sums a flat tensor over the ranks that share the stack, in place."""
UPDATE_DIAGNOSTICS = ("policy_loss", "value_loss", "approximate_kl", "clip_fraction", "gradient_norm", "learning_rate")
"""Diagnostics of an update, for each row: means over its last epoch, and the learning rate of that epoch."""
DIAGNOSTICS = (*UPDATE_DIAGNOSTICS, "explained_variance", "entropy", "standard_deviation")
"""All diagnostics of a row that learned; the entropy, in nats, is estimated from the sampled actions."""
RATES = (1e-6, 1e-2)
"""Limits of an adaptive learning rate."""
CALL_COST = 1.4e6
"""Samples times parameters that take as long to compute as the overhead of separate calls for one more row, about 80 us."""


@dataclass(frozen=True)
class Batch:
    """S samples of this rank, for all rows of the stack together."""

    observation: Tensor
    """(S, observation followed by the inputs of the value network alone)."""
    action: Tensor
    """(S,) int64 or (S, action) float32."""
    log_prob: Tensor
    """(S,) log-probability of the action when it was taken."""
    advantage: Tensor
    """(S,) normalised."""
    target: Tensor
    """(S,) lambda-returns."""


@dataclass(frozen=True)
class Plan:
    """The samples of each minibatch of each row: E epochs of M minibatches, n rows, at most B samples."""

    index: Tensor
    """(E, M, n, B) indices of a batch's samples."""
    weight: Tensor
    """(E, M, n, B) float32: 1 for a sample, 0 for padding."""
    blocks: tuple[Block, ...]
    """Which rows are computed together."""


class Block(NamedTuple):
    """Rows of a stack whose minibatches are computed in one batched call."""

    rows: slice
    width: int
    """Samples of each row, padding included; at most B."""


def plan(rows: Array, n: int, keys: Array, minibatches: int, regular: int = 0, parameters: int = 0) -> Plan:
    """Plans minibatches as unions of slices of every worker's samples, so that they do not depend on the workers' placement.

    The samples of one worker for one row are divided, in the order of their keys, into `minibatches` slices whose sizes differ
    by one at most.

    Args:
        rows: (W, S) row of the stack that each sample of each of W workers belongs to; -1 leaves it out.
        n: number of rows of the stack.
        keys: (E, W, S) uniform random numbers in [0, 1), drawn separately for each worker.
        minibatches: M, minibatches in an epoch.
        regular: B in the usual case; other sizes are rounded up, so that few shapes occur.
        parameters: number of parameters of a row. If the rows' minibatches differ so much in size that padding would cost more
            than separate calls, rows are computed one by one.
    """
    epochs, (workers, samples) = len(keys), rows.shape

    # Each worker's samples sorted by row, and within a row by key.
    order = np.argsort(keys + rows, axis=-1)
    sorted_rows = np.take_along_axis(np.broadcast_to(rows, keys.shape), order, -1)

    # A sample's position among those of its worker and row determines its minibatch.
    counts = np.stack([(rows == row).sum(-1) for row in range(-1, n)], axis=-1)
    starts = np.cumsum(counts, axis=-1) - counts
    worker = np.arange(workers)[:, None]
    position = np.arange(samples) - starts[worker, sorted_rows + 1]
    minibatch = position * minibatches // counts[worker, sorted_rows + 1]

    # A cell is a row's part of a minibatch; samples that are left out have a cell after all others.
    cell = np.where(sorted_rows < 0, minibatches * n, minibatch * n + sorted_rows).reshape(epochs, -1)
    sample = (order + worker * samples).reshape(epochs, -1)

    cells = minibatches * n
    by_cell = np.argsort(cell, axis=-1, kind="stable")
    cell, sample = np.take_along_axis(cell, by_cell, -1), np.take_along_axis(sample, by_cell, -1)

    # All cells are padded to the width of the largest.
    sizes = np.stack([np.bincount(epoch, minlength=cells + 1) for epoch in cell])
    widths = [_width(size, regular) for size in sizes[:, :cells].reshape(-1, n).max(0).tolist()]
    width = max(widths)

    begins = np.cumsum(sizes, axis=-1) - sizes
    slot = np.arange(cell.shape[1]) - np.take_along_axis(begins, cell, -1)
    epoch, used = np.nonzero(cell < cells)
    to = (epoch, cell[epoch, used], slot[epoch, used])
    index = np.zeros((epochs, cells, width), np.int64)
    weight = np.zeros((epochs, cells, width), np.float32)
    index[to], weight[to] = sample[epoch, used], 1
    shape = (epochs, minibatches, n, width)

    # One call for all rows, unless padding costs more than it saves in calls.
    blocks = [Block(slice(row, row + 1), width) for row, width in enumerate(widths) if width]
    if (n * width - sum(widths)) * parameters <= (n - 1) * CALL_COST:
        blocks = [Block(slice(0, n), width)] if width else []
    return Plan(torch.from_numpy(index).view(shape), torch.from_numpy(weight).view(shape), tuple(blocks))


def _width(size: int, regular: int) -> int:
    """B for minibatches of up to `size` samples: the regular B if that is only a little more, else `size` rounded up by at most
    an eighth or to a multiple of 4."""
    if 0.75 * regular < size <= regular:
        return regular
    step = max(4, 2 ** (size.bit_length() - 4))
    return -(-size // step) * step


class Optimiser:
    """Adam (Kingma and Ba 2015) with separate moments for each row of a stack: torch's implementation, called as a function.

    `torch.optim.Adam` does the same, but with so few parameters its bookkeeping takes longer than the arithmetic.
    """

    def __init__(self, stack: StackedActorCritic) -> None:
        self.mean, self.square = torch.zeros_like(stack.flat), torch.zeros_like(stack.flat)
        """(n, P) running means of the gradient and of its square."""
        self.steps = torch.zeros(stack.n)
        """(n,) number of steps taken."""
        self.adapted = torch.ones(stack.n)
        """(n,) factors by which the learning rate is multiplied."""
        self._rows = list(zip(stack.flat, stack.gradient, self.mean, self.square, self.steps, strict=True))

    def reset(self, row: int) -> None:
        """Resets the moments and the adaptive learning rate of one row."""
        for state in (self.mean, self.square, self.steps):
            state[row] = 0
        self.adapted[row] = 1

    def step(self, active: Sequence[bool], learning_rates: Sequence[float]) -> None:
        """Takes one step for each active row, at its own learning rate; the other rows keep their parameters and moments."""
        moving: dict[float, list[tuple[Tensor, ...]]] = {}
        for row, is_active, rate in zip(self._rows, active, learning_rates, strict=True):
            if is_active:
                moving.setdefault(rate, []).append(row)
        for rate, rows in moving.items():
            self._step(rows, rate)

    def _step(self, rows: Sequence[tuple[Tensor, ...]], learning_rate: float) -> None:
        parameters, gradients, means, squares, steps = map(list, zip(*rows, strict=True))
        adam(
            *(parameters, gradients, means, squares, [], steps),
            lr=learning_rate,
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
            weight_decay=0.0,
            amsgrad=False,
            maximize=False,
            fused=True,
        )


class PPOUpdate:
    """Trains a stack by PPO, with Adam.

    Args:
        stack: n actor-critics, changed in place.
        config: PPO settings of this timescale.
    """

    def __init__(self, stack: StackedActorCritic, config: PPO) -> None:
        self._stack, self._config = stack, config
        self._gradients = Gradients(stack, config)
        self.optimiser = Optimiser(stack)

    def gradient(self, parts: Sequence[tuple[int, Minibatch]], reduce: Reduce) -> list[float]:
        """Sets `stack.gradient` to the mean gradient over the pooled samples of a minibatch.

        One reduction carries the summed gradients of all rows and their sample counts.

        Args:
            parts: this rank's part of the minibatch, for each block: the number of its first row, and the samples of its rows.
            reduce: see :data:`Reduce`.

        Returns:
            Pooled sample count of each row.
        """
        stack = self._stack
        stack.buffer.zero_()
        for first, minibatch in parts:
            self._gradients.add(minibatch, first)
        reduce(stack.buffer)
        counts: list[float] = stack.counts.tolist()
        stack.gradient /= stack.counts.clamp(min=1).unsqueeze(-1)
        return counts

    def __call__(self, batch: Batch, plan: Plan, active: Sequence[bool], learning_rate: float, reduce: Reduce) -> Array:
        """One iteration's update: every minibatch of every epoch, with one reduction each.

        Everything adaptive depends only on sums over all ranks, so that every rank makes the same decision.

        Args:
            batch: samples of this rank; may be empty.
            plan: their division into minibatches.
            active: whether each row learns in this iteration; the same on every rank that shares the stack.
            learning_rate: step size of Adam, before :attr:`PPO.adaptive_kl` adapts it.
            reduce: see :data:`Reduce`.

        Returns:
            (n, 6) columns as in :data:`UPDATE_DIAGNOSTICS`, NaN for rows that did not learn.
        """
        config, learning = self._config, list(active)
        results = np.full((self._stack.n, len(UPDATE_DIAGNOSTICS)), np.nan)
        rates = self._rates(learning_rate)

        for number, minibatches in enumerate(epochs_of(batch, plan), 1):
            self._gradients.measures = config.target_kl is not None or number == len(plan.index)
            measured = self._epoch(minibatches, learning, rates, reduce)

            if self._gradients.measures:
                learned = np.array(learning) & (measured[:, -1] > 0)
                means = measured[:, :-1] / np.maximum(measured[:, -1:], 1)
                results[learned] = np.column_stack((means, rates))[learned]
                learning = [on and not kl > (config.target_kl or np.inf) for on, kl in zip(learning, results[:, 2], strict=True)]
                if not any(learning):
                    break

        self._adapt(results[:, 2], rates)
        return results

    def _rates(self, learning_rate: float) -> list[float]:
        """(n,) current step size of each row."""
        if self._config.adaptive_kl is None:
            return [learning_rate] * self._stack.n
        return [learning_rate * factor for factor in self.optimiser.adapted.tolist()]

    def _epoch(
        self, minibatches: list[list[tuple[int, Minibatch]]], learning: Sequence[bool], rates: Sequence[float], reduce: Reduce
    ) -> Array:
        """Runs one epoch.

        Returns:
            (n, 6) sums over the samples of all ranks: `stack.measured`, the gradient's norm, and the number of samples.
        """
        stack, config = self._stack, self._config
        sums = torch.zeros(stack.n, MEASURED + 2)
        for parts in minibatches:
            counts = self.gradient(parts, reduce)

            if config.max_gradient_norm is not None or self._gradients.measures:
                norm = torch.linalg.vector_norm(stack.gradient, dim=1)
                sums += torch.column_stack((stack.measured, norm * stack.counts, stack.counts))
            if config.max_gradient_norm is not None:
                stack.gradient *= (config.max_gradient_norm / (norm + 1e-6)).clamp(max=1).unsqueeze(-1)

            self.optimiser.step([on and count > 0 for on, count in zip(learning, counts, strict=True)], rates)
        return sums.numpy().astype(np.float64)

    def _adapt(self, kl: Array, rates: Sequence[float]) -> None:
        """Sets the rows' learning rates for the next update from their KL divergence, (n,), in the last epoch of this one."""
        target = self._config.adaptive_kl
        if target is None:
            return
        for row in np.flatnonzero(~np.isnan(kl)).tolist():
            factor = 1 / 1.5 if kl[row] > 2 * target else 1.5 if kl[row] < target / 2 else 1.0
            new_rate = min(max(rates[row] * factor, RATES[0]), RATES[1])
            self.optimiser.adapted[row] *= new_rate / rates[row]


def epochs_of(batch: Batch, plan: Plan) -> Iterator[list[list[tuple[int, Minibatch]]]]:
    """The minibatches of each epoch, each as a list of blocks of rows; empty if this rank has no samples."""
    blocks = plan.blocks if len(batch.log_prob) else ()
    for index, weight in zip(plan.index, plan.weight, strict=True):
        parts: list[list[tuple[int, Minibatch]]] = [[] for _ in index]
        for rows, width in blocks:
            at = index[:, rows, :width]
            flat = at.reshape(-1)  # index_select() is twice as fast as indexing
            fields = [values.index_select(0, flat).view(*at.shape, *values.shape[1:]) for values in vars(batch).values()]
            for part, *minibatch in zip(parts, *fields, weight[:, rows, :width], strict=True):
                part.append((rows.start, Minibatch(*minibatch)))
        yield parts
