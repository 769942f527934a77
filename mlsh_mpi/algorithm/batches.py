"""The samples of a rollout in the order of learning, and their normalisation. Pure except for one allreduce."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlsh_mpi.algorithm.return_scale import Pooled
from mlsh_mpi.mpi.ranks import Ranks

Array = np.ndarray[Any, np.dtype[Any]]


def keys_of(streams: Sequence[np.random.Generator], epochs: int, valid: Array) -> Array:
    """Random sorting keys, (epochs, W, lanes of a worker * M), for samples that are valid or not, (W, lanes of a worker, M).

    Each worker's stream yields as many as its own lanes need, independently of the other workers of this rank.
    """
    keys = np.zeros((epochs, *valid.shape))
    for w, stream in enumerate(streams):
        some = np.flatnonzero(valid[w].any(0))
        keys[:, w, :, some] = stream.random((epochs, valid.shape[1], len(some))).transpose(2, 0, 1)
    return keys.reshape(epochs, len(streams), valid.shape[1] * valid.shape[2])


def lanes_first(values: Array) -> Array:
    """(T, L, ...) -> (L, T, ...), so that a worker's samples are adjacent."""
    return np.ascontiguousarray(values.swapaxes(0, 1))


def samples(values: Array) -> Tensor:
    """(T, L, ...) -> (L * T, ...), lane after lane."""
    first = lanes_first(values)
    return torch.from_numpy(first.reshape(-1, *first.shape[2:]))


def normalise(advantages: Array, returns: Array, log_prob: Array, rows: Array, n: int, ranks: Ranks) -> tuple[Array, Pooled]:
    """Normalises advantages to zero mean and unit standard deviation for each row, over its samples on all ranks.

    Args:
        advantages: advantage of each sample.
        returns: lambda-return of each sample.
        log_prob: log-probability of the action of each sample.
        rows: row of the stack that each sample belongs to; -1 leaves the sample out.
        n: number of rows of the stack.
        ranks: the ranks that share the stack.

    Returns:
        The normalised advantages (0 where the row is -1), and the pooled moments.
    """
    used = rows >= 0
    row = rows[used]
    values, targets, log_probs = (each[used].astype(np.float64) for each in (advantages, returns, log_prob))
    sums = np.zeros((6, n))  # always float64: bincount returns integers where there is nothing to count
    for kind, each in enumerate((values**0, values, values**2, targets, targets**2, log_probs)):
        sums[kind] = np.bincount(row, each, n)
    ranks.allreduce(sums)
    pooled = Pooled.from_sums(sums)
    mean, deviation = pooled.advantage
    normalised = np.zeros_like(advantages)
    normalised[used] = (values - mean[row]) / (deviation[row] + 1e-8)
    return normalised, pooled
