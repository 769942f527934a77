"""Collective operations among ranks: reductions, broadcasts, gathers and agreement.

A waiting rank yields to ranks that work. If every rank has a core of its own, a collective is started without blocking and tested
until it is complete, at first without sleeping, which would only cost time, but yielding the core in case the kernel has put two
ranks on one. If a single host has more ranks than cores, they reduce in shared memory and sleep meanwhile (shared_memory.py); on
several such hosts they sleep between tests. A blocking collective would spin and starve the very rank that it waits for.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from mlsh_mpi.errors import UserError
from mlsh_mpi.mpi.library import FAULT_TOLERANT, MPI
from mlsh_mpi.mpi.shared_memory import SharedMemoryReducer, joined, prepared, remove
from mlsh_mpi.mpi.watchdog import WAITING, Watchdog

T = TypeVar("T")
Array = np.ndarray[Any, np.dtype[Any]]
NAP = 25e-6
"""Seconds between two tests of a pending collective, multiplied by the ranks per core: a test costs about 10 us, so that the
share of the cores that all waiting ranks use together does not depend on their number."""
SPIN = 2e-4
"""Seconds for which a rank with a core of its own tests without sleeping: most waits are shorter than a sleep would be."""


@dataclass
class Meter:
    """The cost of this rank's allreduces and broadcasts: seconds, including waiting; their number; bytes of their arrays."""

    seconds: float = 0.0
    calls: int = 0
    bytes: int = 0


class Ranks:
    """The ranks of a communicator, from the perspective of one of them.

    Args:
        communicator: MPI's communicator.
        ranks_per_core: number of ranks on this host for each of its cores.
        one_host: whether all ranks of the job are on one host.
        watch: the watchdog over this rank's waits.
        parent: the ranks from which these were split.
    """

    def __init__(
        self, communicator: MPI.Comm, *, ranks_per_core: float, one_host: bool, watch: Watchdog, parent: Ranks | None = None
    ) -> None:
        self._comm, self._ranks_per_core, self._one_host, self._watch = communicator, ranks_per_core, one_host, watch
        self._to_free: ExitStack = parent._to_free if parent else ExitStack()
        """Communicators and pipes to free: a process that runs many jobs would run out of them."""
        self._related: list[MPI.Comm] = parent._related if parent else []
        """The communicators of the world and of all parts of it."""
        self._related.append(communicator)
        self._among: dict[tuple[int, ...], Ranks | None] = {}
        self._reducers: dict[int, SharedMemoryReducer | None] = {}
        self.rank: int = communicator.Get_rank()
        self.size: int = communicator.Get_size()
        self.meter: Meter = parent.meter if parent else Meter()

    def allreduce(self, values: Array) -> None:
        """Sums a contiguous array over the ranks, in place; every rank ends with the same bits."""
        self._metered(values, lambda reducer: reducer.allreduce(values), lambda: self._comm.Iallreduce(MPI.IN_PLACE, values))

    def broadcast(self, values: Array, source: int) -> None:
        """Replaces a contiguous array by that of rank `source`."""
        self._metered(values, lambda reducer: reducer.broadcast(values, source), lambda: self._comm.Ibcast(values, source))

    def allgather(self, value: T) -> list[T]:
        """One value from each rank, in rank order, on every rank. Values are pickled, so they should be small."""
        self._barrier()
        with self._waiting():
            return self._comm.allgather(value)

    def gather(self, value: T) -> list[T] | None:
        """One value from each rank, in rank order, on rank 0; None on the others. Values are pickled."""
        self._barrier()
        with self._waiting():
            return self._comm.gather(value)

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """Whether each flag is set on any rank, so that all ranks make the same decision."""
        raised = np.array(flags, np.int32)
        self.allreduce(raised)
        return (raised > 0).tolist()

    def bcast(self, value: T) -> T:
        """Rank 0's value. cloudpickle sends a script's classes, functions and lambdas even to ranks that never defined them."""
        self._barrier()
        with self._waiting():
            return self._comm.bcast(value)

    def split(self, colour: int) -> Ranks:
        """The ranks that pass the same colour."""
        self._barrier()
        with self._waiting():
            part = self._comm.Split(colour, self.rank)
        self._to_free.callback(part.Free)
        return Ranks(part, ranks_per_core=self._ranks_per_core, one_host=self._one_host, watch=self._watch, parent=self)

    def shift(self, value: T, distance: int) -> tuple[int, T]:
        """Gives a value, which is pickled, to the rank that is `distance` higher, and takes one from the rank that is lower.

        Returns:
            The number of the rank that it comes from, and its value.
        """
        self._barrier()
        source = (self.rank - distance) % self.size
        with self._waiting():
            return source, self._comm.sendrecv(value, (self.rank + distance) % self.size, source=source)

    def leave_shared_memory(self) -> None:
        """From here on, arrays are combined by MPI alone, also in parts that are split off. Every rank must call it."""
        self._one_host = False

    @property
    def started_as(self) -> list[int]:
        """The ranks' numbers in the job that was started."""
        group, started = self._comm.Get_group(), MPI.COMM_WORLD.Get_group()
        return list(group.Translate_ranks(None, started))

    def has_lost(self) -> bool:
        """Whether ranks have died, or another rank has noticed that. Needs an MPI library with fault tolerance (ULFM)."""
        return self._is_revoked() or self._comm.Get_failed().Get_size() > 0

    def revoke(self) -> None:
        """Interrupts all that others wait for, in all parts too. Needs an MPI library with fault tolerance (ULFM)."""
        for communicator in self._related:
            communicator.Revoke()

    def free(self) -> None:
        """Frees communicators and shared memory. Every rank of the world must call it, as the last collective."""
        if not FAULT_TOLERANT:  # else a rank that dies now would end the job, whose work is done
            self._barrier()
        self._to_free.close()

    def among(self, members: Sequence[int]) -> Ranks | None:
        """Some of the ranks, split off at the first call; None on the others. Every rank must call it."""
        if len(members) == self.size:
            return self
        key = tuple(members)
        if key not in self._among:
            part = self.split(int(self.rank in members))
            self._among[key] = part if self.rank in members else None
        return self._among[key]

    def agreed(self, attempt: Callable[[], T]) -> T:
        """Calls `attempt` on every rank; a UserError on any of them is raised on all.

        Raises:
            UserError: that of the lowest rank that raised one.
        """
        try:
            result, mistake = attempt(), None
        except UserError as error:
            mistake = str(error)
        mistakes = [each for each in self.allgather(mistake) if each is not None]
        if mistakes:
            raise UserError.of_all(mistakes[0])
        return result

    def in_sync(self, values: Array) -> list[int]:
        """Ranks whose `values` are not bitwise equal to rank 0's; empty if all are."""
        hashes = self.allgather(zlib.crc32(values.tobytes()))
        return [rank for rank, each in enumerate(hashes) if each != hashes[0]]

    def _reducer(self, nbytes: int) -> SharedMemoryReducer | None:
        """The shared-memory reducer for arrays of this size, prepared at the first call; None where MPI is to be used."""
        if self._ranks_per_core <= 1 or not self._one_host:
            return None
        if nbytes not in self._reducers:
            self._barrier()  # so that a job that ends before all ranks get here leaves no folder behind
            folder = self.bcast(prepared(self.size, nbytes) if self.rank == 0 else None)
            reducer = None if folder is None else joined(folder, self.rank, self.size)
            if reducer is not None:
                self._to_free.callback(reducer.close)
            self._reducers[nbytes] = reducer if all(self.allgather(reducer is not None)) else None
            if self.rank == 0:
                remove(folder)
        return self._reducers[nbytes]

    def _metered(self, values: Array, meet: Callable[[SharedMemoryReducer], None], begin: Callable[[], MPI.Request]) -> None:
        """Combines the arrays of all ranks, by a shared-memory reducer or by an MPI request, and measures what that costs."""
        if self.size == 1:
            return
        reducer = self._reducer(values.nbytes)
        entered = time.perf_counter()
        if reducer is None:
            self._wait(begin())
        else:
            with self._waiting():
                meet(reducer)
        self.meter.seconds += time.perf_counter() - entered
        self.meter.calls += 1
        self.meter.bytes += values.nbytes

    def _barrier(self) -> None:
        self._wait(self._comm.Ibarrier())

    def _wait(self, request: MPI.Request) -> None:
        with self._waiting():
            long_wait = time.perf_counter() + (0 if self._ranks_per_core > 1 else SPIN)
            while not request.Test():
                if FAULT_TOLERANT and self._is_revoked():  # nobody else may know this communicator, and wake its ranks
                    raise MPI.Exception(MPI.ERR_REVOKED)
                if time.perf_counter() > long_wait:
                    time.sleep(NAP * self._ranks_per_core)
                else:
                    os.sched_yield()

    def _is_revoked(self) -> bool:
        """Whether a rank has interrupted all others, because ranks have died."""
        return self._related[0].Is_revoked() or self._comm.Is_revoked()

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Lets the watchdog watch the body, which waits for other ranks."""
        self._watch.enter(lambda: f"{self.size - 1} other ranks: one of them hangs, or its host or the network is gone", WAITING)
        try:
            yield
        finally:
            self._watch.leave()
