"""Pure functions: the placement of groups and workers on ranks. The algorithm never depends on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np

from mlsh_mpi.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Placement:
    """What is placed on one rank: either whole groups, or some of the workers of one group."""

    groups: tuple[int, ...]
    """Groups on this rank; more than one only if all their workers are here."""
    workers: tuple[int, ...]
    """Workers on this rank, in order of their groups, equally many for each group."""
    shares_group: bool
    """Whether other ranks have workers of the same group, so that theta's gradients need communication."""

    def for_workers(self, of_groups: Sequence[T]) -> list[T]:
        """Given a value for each group, the value for each worker on this rank."""
        return [of_groups[group] for group in self.groups for _ in range(self.workers_per_group)]

    @property
    def workers_per_group(self) -> int:
        """Number of workers on this rank of each of its groups."""
        return len(self.workers) // len(self.groups)


def grown(groups: int, workers_per_group: int, ranks: int) -> int:
    """The number of groups: as configured, but at least one for each rank if groups have one worker."""
    return max(groups, ranks) if workers_per_group == 1 else groups


def ranks_with(groups: Sequence[bool], workers_per_group: int, ranks: int) -> list[int]:
    """The ranks that have workers of at least one marked group."""
    hosted = _hosted(len(groups), workers_per_group, ranks)
    return [rank for rank, its_groups in enumerate(hosted) if any(groups[group] for group in its_groups)]


@cache
def _hosted(groups: int, workers_per_group: int, ranks: int) -> list[tuple[int, ...]]:
    """The groups on every rank."""
    return [place(groups, workers_per_group, ranks, rank).groups for rank in range(ranks)]


def place(groups: int, workers_per_group: int, ranks: int, rank: int) -> Placement:
    """Assigns groups to ranks in even blocks or, with more ranks than groups, ranks to groups and workers to those ranks.

    Args:
        groups: number of groups, after :func:`grown`.
        workers_per_group: number of workers that share one task and one theta.
        ranks: size of the MPI world.
        rank: the rank whose placement is returned.

    Raises:
        UserError: there are more ranks than workers.
    """
    if ranks > groups * workers_per_group:
        raise UserError(
            f"every rank needs a worker, but there are {ranks} ranks and {groups * workers_per_group} workers "
            f"({groups} groups of {workers_per_group}): start at most {groups * workers_per_group} ranks or raise "
            "--groups or --workers"
        )
    if ranks <= groups:
        own_groups = np.array_split(np.arange(groups), ranks)[rank]
        workers = (own_groups[:, None] * workers_per_group + np.arange(workers_per_group)).reshape(-1)
        return Placement(tuple(own_groups.tolist()), tuple(workers.tolist()), shares_group=False)
    ranks_of_group = np.array_split(np.arange(ranks), groups)
    group = next(g for g, members in enumerate(ranks_of_group) if rank in members)
    members = ranks_of_group[group]
    workers = np.array_split(np.arange(workers_per_group), len(members))[rank - members[0]] + group * workers_per_group
    return Placement((group,), tuple(workers.tolist()), shares_group=len(members) > 1)
