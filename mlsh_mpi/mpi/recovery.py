"""Going on without ranks that died: what each rank knows alone is kept by another rank too, and the others take it over.

It needs Open MPI's fault tolerance (ULFM, ``mpirun --with-ft ulfm``), with which the death of a rank is an error in its partners'
calls, not the end of the job. Bland et al. 2013, "Post-failure recovery of MPI communication capability".
"""

from __future__ import annotations

import pickle
import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from mlsh_mpi.errors import UserError
from mlsh_mpi.mpi.job import Job
from mlsh_mpi.mpi.library import FAULT_TOLERANT, MPI, library_version
from mlsh_mpi.output import warn

T = TypeVar("T")
Moment = tuple[int, int]
"""Number of ranks and of finished iterations, when ranks exchanged their copies."""
NOTICE = 10.0
"""Seconds within which the death of a rank becomes known."""
NEWEST = 2
"""Iterations of which copies are kept: ranks may learn of a death one iteration apart."""


def lacking() -> str:
    """Why the MPI library cannot go on without a rank; empty if it can."""
    version = re.match(r"Open MPI v?(\d+)", library_version())
    return (
        "" if version and int(version[1]) >= 5 else f"only Open MPI 5 can go on without a rank, and this is {library_version()}"
    )


def why_not() -> str:
    """Why this job would not outlive a rank; empty if it would."""
    return lacking() or ("" if FAULT_TOLERANT else "mpirun was started without --with-ft ulfm")


@dataclass(frozen=True)
class Recovered:
    """The state of all ranks after an iteration."""

    iteration: int
    """Number of finished iterations."""
    common: Any
    """What every rank knows."""
    parts: list[Any]
    """What each rank knew alone."""


class Copies:
    """This rank's copies of its own state and of another rank's.

    Args:
        job: the MPI job.

    Raises:
        UserError: this job cannot outlive a rank.
    """

    def __init__(self, job: Job) -> None:
        if reason := why_not():
            raise UserError.of_all(f"--recover: {reason}; launch/local.sh and launch/hosts.sh start Open MPI as it must be")
        job.world.leave_shared_memory()  # whose pipes would wait for the dead
        self._job = job
        self._parts: dict[Moment, dict[int, bytes]] = {}
        self._common: dict[Moment, bytes] = {}
        self.recovered: Recovered | None = None
        """The state to continue from; None if no rank was lost, or before the first iteration was over."""
        self.losses = 0
        """How often ranks were lost."""

    def keep(self, iteration: int, part: Any, common: Any) -> None:
        """Keeps the state after an iteration, and gives this rank's part to another rank, if possible of another host. Every rank
        must call it.

        Args:
            iteration: number of finished iterations.
            part: what only this rank knows; it must be picklable, as the next.
            common: what every rank knows.
        """
        world, most_here = self._job.world, max(Counter(self._job.host_of).values())
        moment = (world.size, iteration)
        own = pickle.dumps(part)
        giver, given = world.shift(own, most_here if most_here < world.size else 1)
        self._parts = self._newest(self._parts) | {moment: {world.rank: own, giver: given}}
        self._common = self._newest(self._common) | {moment: pickle.dumps(common)}

    def recover(self) -> None:
        """Makes the survivors a world of their own, with the state after the last iteration that they know whole.

        Raises:
            MPI.Exception: another rank died meanwhile; then all survivors must call it again.
        """
        job = self._job
        with suppress(OSError):
            job.closing.close()
        was, members = job.world.rank, list(zip(job.world.started_as, job.host_of, strict=True))
        job.join(job.world.survivors())
        job.world.leave_shared_memory()
        self.losses += 1
        self.recovered = self._gathered()
        here = set(job.world.allgather(was))
        lost = [f"{number} on {host}" for rank, (number, host) in enumerate(members) if rank not in here]
        if job.world.rank == 0:
            since = f"iteration {self.recovered.iteration}" if self.recovered else "the last checkpoint"
            warn(f"mlsh_mpi: lost rank{'s' * (len(lost) > 1)} {', '.join(lost)}; {job.world.size} ranks go on from {since}")

    def _gathered(self) -> Recovered | None:
        """The newest state of which the survivors have every part; an earlier recovery's if that is newer."""
        world = self._job.world
        held: dict[Moment, set[int]] = {}
        for known in world.allgather({moment: set(parts) for moment, parts in self._parts.items()}):
            for moment, ranks in known.items():
                held.setdefault(moment, set()).update(ranks)
        whole = [moment for moment, ranks in held.items() if ranks == set(range(moment[0]))]
        earlier = max(
            (known for known in world.allgather(self.recovered) if known), key=lambda each: each.iteration, default=None
        )
        if not whole:
            return earlier
        newest = max(whole, key=lambda moment: moment[1])
        if earlier and earlier.iteration >= newest[1]:
            return earlier

        parts: dict[int, bytes] = {}
        for of_rank in world.allgather(self._parts.get(newest, {})):
            parts |= of_rank
        common = next(known for known in world.allgather(self._common.get(newest)) if known is not None)
        return Recovered(newest[1], pickle.loads(common), [pickle.loads(parts[rank]) for rank in range(newest[0])])

    def _newest(self, kept: dict[Moment, T]) -> dict[Moment, T]:
        return dict(list(kept.items())[1 - NEWEST :])


def outlive(job: Job, attempt: Callable[[Copies], T]) -> T:
    """Calls `attempt`, and again after each loss of ranks, until it returns. Every rank must call it.

    Raises:
        UserError: this job cannot outlive a rank.
    """
    copies = Copies(job)
    while True:
        try:
            return attempt(copies)
        except MPI.Exception as error:
            _check_is_loss(job, error)
        _recover(copies, job)


def _recover(copies: Copies, job: Job) -> None:
    while True:
        try:
            copies.recover()
        except MPI.Exception as error:  # one more died meanwhile
            _check_is_loss(job, error)
        else:
            return


def _check_is_loss(job: Job, error: MPI.Exception) -> None:
    """Raises the error again if no rank has died: not every error says so, and it may become known a moment later."""
    until = time.monotonic() + NOTICE
    while error.Get_error_class() not in (MPI.ERR_PROC_FAILED, MPI.ERR_REVOKED) and not job.world.has_lost():
        if time.monotonic() > until:
            raise error
        time.sleep(0.01)
