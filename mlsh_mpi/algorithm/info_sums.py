"""Means, over finished episodes and all ranks, of the numbers in the environments' `info`, whatever their names.

Names may appear late, and on one rank only. The sums of known names are reduced with the other sums of an iteration, and so is a
flag that a rank has seen a new name: only then do all ranks gather the names, and know them from the next iteration on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mlsh_mpi.mpi.ranks import Ranks

Array = np.ndarray[Any, np.dtype[Any]]
MOST = 32
"""Largest number of names; later ones are left out."""


class InfoSums:
    """Sums over one iteration.

    Args:
        names: the names known so far, in the same order on every rank; grows in place.
        groups: G, number of groups.
        flat: (size,) zeros, which the owner sums over the ranks between :meth:`add` and :meth:`gather_new`.
    """

    def __init__(self, names: list[str], groups: int, flat: Array) -> None:
        self._names, self._groups = names, groups
        self._columns = {name: column for column, name in enumerate(names)}
        self._new_names, self._sums = flat[:1], flat[1:].reshape(groups, len(names), 2)
        self._others: dict[str, Array] = {}

    @staticmethod
    def size(names: list[str], groups: int) -> int:
        """Number of values that are summed over the ranks."""
        return 1 + 2 * groups * len(names)

    def add(self, group: int, numbers: Mapping[str, float]) -> None:
        """Adds the numbers of an episode that a group has finished."""
        for name, value in numbers.items():
            if name in self._columns:
                self._sums[group, self._columns[name]] += (1.0, value)
            elif len(self._columns) < MOST:
                self._others.setdefault(name, np.zeros((self._groups, 2)))[group] += (1.0, value)
                self._new_names[0] = 1.0

    def gather_new(self, world: Ranks) -> None:
        """Makes new names known to all ranks, if any has seen one. Every rank must call it, once its part of `flat` is summed."""
        if not self._new_names[0]:
            return
        parts = world.allgather(self._others)
        names = sorted(set().union(*parts))
        self._names += [name for name in names if name not in self._names][: MOST - len(self._names)]
        self._others = {
            name: np.sum([part[name] for part in parts if name in part], axis=0) for name in names if name in self._names
        }

    def means(self) -> Iterator[tuple[str, Array]]:
        """Each name, in alphabetical order, with its (G,) means over the episodes of a group; NaN where there is none."""
        sums = {name: self._sums[:, column] for name, column in self._columns.items()} | self._others
        for name, (count, total) in ((name, sums[name].T) for name in sorted(sums)):
            yield name, np.where(count > 0, total, np.nan) / np.maximum(count, 1)
