"""Pure but for one sum over ranks: samples of a rollout in the order in which they are learned from, and their normalisation."""

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
    """Sorting keys, (epochs, W, lanes of a worker * M), for (W, lanes of a worker, M) samples that may be valid.

    A worker's stream is asked for as many as its own lanes need, whatever other workers here did.
    """
    keys = np.zeros((epochs, *valid.shape))
    for w, stream in enumerate(streams):
        some = np.flatnonzero(valid[w].any(0))
        keys[:, w, :, some] = stream.random((epochs, valid.shape[1], len(some))).transpose(2, 0, 1)
    return keys.reshape(epochs, len(streams), valid.shape[1] * valid.shape[2])


def lanes_first(values: Array) -> Array:
    """(T, L, ...) -> (L, T, ...): a worker's samples become neighbours."""
    return np.ascontiguousarray(values.swapaxes(0, 1))


def samples(values: Array) -> Tensor:
    """(T, L, ...) -> (L * T, ...)."""
    first = lanes_first(values)
    return torch.from_numpy(first.reshape(-1, *first.shape[2:]))


def normalise(advantages: Array, returns: Array, log_prob: Array, rows: Array, n: int, ranks: Ranks) -> tuple[Array, Pooled]:
    """Zero mean and unit deviation for each row over the pooled samples of all ranks that share it.

    Args:
        advantages: of the samples.
        returns: what their values should have been.
        log_prob: of their actions.
        rows: of the stack; -1 leaves a sample out.
        n: rows of the stack.
        ranks: that share it.

    Returns:
        Normalised advantages (0 where the row is -1), and what was pooled.
    """
    used = rows >= 0
    row = rows[used]
    values, targets, log_probs = (each[used].astype(np.float64) for each in (advantages, returns, log_prob))
    sums = np.zeros((6, n))  # of a type of its own: bincount returns integers where there is nothing to count
    for kind, each in enumerate((values**0, values, values**2, targets, targets**2, log_probs)):
        sums[kind] = np.bincount(row, each, n)
    ranks.allreduce(sums)
    pooled = Pooled.of(sums)
    mean, deviation = pooled.advantage
    normalised = np.zeros_like(advantages)
    normalised[used] = (values - mean[row]) / (deviation[row] + 1e-8)
    return normalised, pooled
