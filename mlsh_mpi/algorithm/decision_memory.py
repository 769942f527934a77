"""A master's memory of its task: its decisions of the last iterations, and unfinished macro-actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlsh_mpi.algorithm.advantage import MasterView, PendingDecision, one_longer

Array = np.ndarray[Any, np.dtype[Any]]


class Memory:
    """The decisions of the workers on this rank; a worker's lanes are adjacent.

    Args:
        iterations: number of iterations to remember, including the latest.
        workers: number of workers on this rank.
        continues: whether a collection continues the unfinished macro-actions of the previous one.
    """

    def __init__(self, iterations: int, workers: int, *, continues: bool) -> None:
        self._iterations, self._workers, self._continues = iterations, workers, continues
        self._views: list[MasterView] = []
        self._log_probs: list[Array] = []
        self.pending: PendingDecision | None = None

    def forget(self, workers: Sequence[bool]) -> None:
        """Forgets the decisions of the marked workers, because their task is over."""
        for number, view in enumerate(self._views):
            lanes = np.repeat(workers, view.choice.shape[1] // self._workers)
            self._views[number] = replace(view, valid=view.valid & ~lanes)

    def add(self, view: MasterView, log_prob: Array, continues: Array) -> tuple[MasterView, Array]:
        """Adds the decisions of an iteration.

        Args:
            view: the decisions of this iteration.
            log_prob: (M, L) log-probabilities of its choices under the current masters.
            continues: (L,) bool, whether the first macro-action began in an earlier iteration: its log-probability stays.

        Returns:
            All remembered decisions, latest last, and the (M, L) log-probabilities of the choices when they were made.
        """
        log_prob = log_prob.copy()
        if self.pending is not None:
            log_prob[0] = np.where(continues, self.pending.log_prob, log_prob[0])
        self.pending = view.cut(log_prob) if self._continues else None
        self._views = [*self._views, view][-self._iterations :]
        self._log_probs = [*self._log_probs, log_prob][-self._iterations :]
        return MasterView.joined(self._views), np.concatenate([*map(one_longer, self._log_probs[:-1]), log_prob])

    def worker_states(self) -> list[dict[str, Any]]:
        """The state of each worker for a resume, as tensors of its lanes."""
        if self._iterations == 1 and not self._continues:
            return [{}] * self._workers
        views = [vars(view) | {"log_prob": log_prob} for view, log_prob in zip(self._views, self._log_probs, strict=True)]
        pending = {} if self.pending is None else vars(self.pending)
        return [
            {
                "views": [{name: self._part(values, worker, 1) for name, values in view.items()} for view in views],
                "pending": {name: self._part(values, worker, 0) for name, values in pending.items()},
            }
            for worker in range(self._workers)
        ]

    def _part(self, values: Array, worker: int, axis: int) -> Tensor:
        return torch.from_numpy(np.array_split(values, self._workers, axis)[worker].copy())

    def load_state_dict(self, of_workers: Sequence[Mapping[str, Any]]) -> None:
        """Restores what :meth:`worker_states` returned, possibly on other ranks."""
        if not of_workers or not all(of_workers):
            return
        for parts in zip(*(worker["views"] for worker in of_workers), strict=True):
            view = {name: _side_by_side([part[name].numpy() for part in parts]) for name in parts[0]}
            self._log_probs.append(view.pop("log_prob"))
            self._views.append(MasterView(**view))
        pending = [worker["pending"] for worker in of_workers]
        if self._continues and all(pending):
            joined = {name: np.concatenate([part[name].numpy() for part in pending]) for name in pending[0]}
            self.pending = PendingDecision(**joined)


def _side_by_side(parts: Sequence[Array]) -> Array:
    """(M, lanes, ...) of each worker -> (largest M, all lanes, ...), padded with zeros."""
    longest = max(len(part) for part in parts)
    return np.concatenate([np.pad(part, [(0, longest - len(part))] + [(0, 0)] * (part.ndim - 1)) for part in parts], axis=1)
