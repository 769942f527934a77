"""What a master knows of its task: its decisions of the last iterations, and those that a collection cut."""

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
    """The decisions of the workers hosted here; a worker's lanes are neighbours.

    Args:
        iterations: how many are kept, the newest counted.
        workers: how many are hosted here.
        goes_on: whether collections go on with the macro-actions that the one before cut.
    """

    def __init__(self, iterations: int, workers: int, *, goes_on: bool) -> None:
        self._iterations, self._workers, self._goes_on = iterations, workers, goes_on
        self._views: list[MasterView] = []
        self._log_probs: list[Array] = []
        self.pending: PendingDecision | None = None

    def forget(self, workers: Sequence[bool]) -> None:
        """Forgets what some workers did: their task is over."""
        for number, view in enumerate(self._views):
            lanes = np.repeat(workers, view.choice.shape[1] // self._workers)
            self._views[number] = replace(view, valid=view.valid & ~lanes)

    def add(self, view: MasterView, log_prob: Array, continues: Array) -> tuple[MasterView, Array]:
        """Takes in what an iteration saw.

        Args:
            view: of this iteration.
            log_prob: (M, L) of its choices by the masters of now.
            continues: (L,) bool, where the first macro-action was decided before; it keeps the log-probability of then.

        Returns:
            All that is remembered, newest last, and the log-probabilities (M, L) when choices were made.
        """
        log_prob = log_prob.copy()
        if self.pending is not None:
            log_prob[0] = np.where(continues, self.pending.log_prob, log_prob[0])
        self.pending = view.cut(log_prob) if self._goes_on else None
        self._views = [*self._views, view][-self._iterations :]
        self._log_probs = [*self._log_probs, log_prob][-self._iterations :]
        return MasterView.joined(self._views), np.concatenate([*map(one_longer, self._log_probs[:-1]), log_prob])

    @property
    def of_workers(self) -> list[dict[str, Any]]:
        """For each worker, what a resume needs, in tensors of its lanes."""
        if self._iterations == 1 and not self._goes_on:
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

    def restore(self, of_workers: Sequence[Mapping[str, Any]]) -> None:
        """Takes over what `of_workers` gave, perhaps on other ranks."""
        if not of_workers or not all(of_workers):
            return
        for parts in zip(*(worker["views"] for worker in of_workers), strict=True):
            view = {name: _side_by_side([part[name].numpy() for part in parts]) for name in parts[0]}
            self._log_probs.append(view.pop("log_prob"))
            self._views.append(MasterView(**view))
        pending = [worker["pending"] for worker in of_workers]
        if self._goes_on and all(pending):
            joined = {name: np.concatenate([part[name].numpy() for part in pending]) for name in pending[0]}
            self.pending = PendingDecision(**joined)


def _side_by_side(parts: Sequence[Array]) -> Array:
    """(M, lanes, ...) of each worker -> (largest M, all lanes, ...)."""
    longest = max(len(part) for part in parts)
    return np.concatenate([np.pad(part, [(0, longest - len(part))] + [(0, 0)] * (part.ndim - 1)) for part in parts], axis=1)
