"""Going on without ranks that died: what each rank knows alone is kept by another rank too, and the others take it over.

It needs Open MPI's fault tolerance (ULFM, ``mpirun --with-ft ulfm``), with which the death of a rank is an error in its partners'
calls, not the end of the job. Bland et al. 2013, "Post-failure recovery of MPI communication capability".
"""

from __future__ import annotations

import atexit
import pickle
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from mlsh_mpi.errors import UserError
from mlsh_mpi.mpi.job import Job
from mlsh_mpi.mpi.library import FAULT_TOLERANT, MPI, let_speak, library_version
from mlsh_mpi.output import warn

T = TypeVar("T")
Moment = tuple[int, int]
"""Number of ranks and of finished iterations, when ranks exchanged their copies."""
NOTICE = 10.0
"""Seconds within which the death of a rank becomes known."""
FINALISING = 10
"""Seconds that MPI has to finish after a loss, in which Open MPI 5.0 hangs at times: then the process ends without it."""
KEPT = 2
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
    """What every rank knew."""
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
            raise UserError.of_all(
                f"--recover: {reason}; with this option launch/local.sh and launch/hosts.sh start Open MPI as it must be"
            )
        job.world.leave_shared_memory()  # whose pipes would wait for the dead
        self._job = job
        self._members = _members(job)
        self._parts: dict[Moment, dict[int, bytes]] = {}
        self._common: dict[Moment, bytes] = {}
        self._start: tuple[int, Any] = (-1, None)
        self.recovered: Recovered | None = None
        """After a loss, on rank 0: the newest state of which the survivors hold every part; None if there is none, or if what an
        attempt began with is newer."""
        self.began_with: Any = None
        """After a loss, on rank 0: the newest state with which an attempt began."""
        self.has_opened = False
        """Whether an attempt has opened the run folder."""

    def begin(self, iteration: int, state: Any) -> None:
        """Remembers with what an attempt begins, after the run folder has been opened.

        Args:
            iteration: number of finished iterations.
            state: the same on every rank.
        """
        self._start, self.has_opened = (iteration, state), True

    def keep(self, iteration: int, part: Any, common: Any) -> None:
        """Keeps the state after an iteration, and gives this rank's part to another rank, usually of another host, if there is
        one. Every rank must call it.

        Args:
            iteration: number of finished iterations.
            part: what only this rank knows; it must be picklable, as the next.
            common: what every rank knows.
        """
        world, most_here = self._job.world, max(Counter(self._job.host_of).values())
        moment = (world.size, iteration)
        own = pickle.dumps(part)
        giver, given = world.shift(own, most_here if most_here < world.size else 1)
        self._parts = _latest(self._parts) | {moment: {world.rank: own, giver: given}}
        self._common = _latest(self._common) | {moment: pickle.dumps(common)}

    def recover(self) -> None:
        """Makes the survivors the world, and puts the newest state that they have together.

        Raises:
            MPI.Exception: another rank died meanwhile; then all survivors must call it again.
        """
        job = self._job
        with suppress(OSError):
            job.closing.close()
        job.world.revoke()

        # Always of all ranks: wherever a second death has found them, the survivors call the same.
        survivors = MPI.COMM_WORLD.Shrink()
        try:
            job.join(survivors)
        except MPI.Exception:
            survivors.Revoke()
            raise
        job.world.leave_shared_memory()
        here = _members(job)
        let_speak(min(here))
        atexit.register(signal.alarm, FINALISING)
        self.recovered, self.began_with = self._gathered()

        lost = [f"{number} on {host}" for number, host in self._members.items() if number not in here]
        job.world.allgather(None)  # nobody forgets whom it has lost until all have come here
        self._members = here
        if job.world.rank == 0:
            since = f"iteration {self.recovered.iteration}" if self.recovered else "the last checkpoint"
            warn(f"mlsh_mpi: lost rank{'s' * (len(lost) > 1)} {', '.join(lost)}; {job.world.size} ranks go on from {since}")

    def _gathered(self) -> tuple[Recovered | None, Any]:
        """The values of `recovered` and `began_with`."""
        world = self._job.world
        of_all = world.allgather(({moment: set(parts) for moment, parts in self._parts.items()}, self._start[0]))
        holder: dict[Moment, dict[int, int]] = {}
        for rank, (known, _) in enumerate(of_all):
            for moment, numbers in known.items():
                for part in numbers:
                    holder.setdefault(moment, {}).setdefault(part, rank)
        starts = [start for _, start in of_all]
        whole = [moment for moment, ranks in holder.items() if len(ranks) == moment[0]]
        newest = max(whole, key=lambda moment: moment[1], default=None)

        if newest is None or newest[1] <= max(starts):
            began = world.gather(self._start[1] if world.rank == starts.index(max(starts)) else None)
            return None, next((state for state in began or () if state is not None), None)

        held = {part: data for part, data in self._parts.get(newest, {}).items() if holder[newest][part] == world.rank}
        common = self._common[newest] if world.rank == min(holder[newest].values()) else None
        gathered = world.gather((held, common))
        if gathered is None:
            return None, None
        parts = {part: data for of_rank, _ in gathered for part, data in of_rank.items()}
        shared = next(known for _, known in gathered if known is not None)
        return Recovered(newest[1], pickle.loads(shared), [pickle.loads(parts[part]) for part in range(newest[0])]), None


def _members(job: Job) -> dict[int, str]:
    """The hosts of the ranks, by their numbers in the job that was started."""
    return dict(zip(job.world.started_as, job.host_of, strict=True))


def _latest(kept: dict[Moment, T]) -> dict[Moment, T]:
    return dict(list(kept.items())[1 - KEPT :])


def outlive(job: Job, attempt: Callable[[Copies], T]) -> T:
    """Calls `attempt`, and again after each loss of ranks, until it returns. Every rank must call it.

    Raises:
        UserError: this job cannot outlive a rank.
    """
    copies = Copies(job)
    while True:
        try:
            result = attempt(copies)
            job.world.allgather(None)  # rank 0 may still be writing, and if it dies the others must be there
            return result
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
