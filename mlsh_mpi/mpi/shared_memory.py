"""Allreduce and broadcast through shared memory, for ranks of one host that outnumber its cores; each sleeps until it is needed.

MPI waits by polling, which suits ranks with a core each. Here it would take most of the cores' time, and an allreduce over many
ranks needs many messages. So each rank writes its part into shared memory; the last to arrive combines the parts and wakes the
others, which sleep in the kernel until then. This module does not use MPI: the caller sends the name of the folder to the ranks.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
PIPES = ("go_even", "go_odd")


def prepared(size: int, nbytes: int) -> Path | None:
    """Makes the files that the ranks of a :class:`SharedMemoryReducer` share; one rank calls it.

    Args:
        size: number of ranks.
        nbytes: bytes of the arrays that they will combine.

    Returns:
        A folder, which can be removed once all ranks have joined; None if there is no room for it.
    """
    in_memory, folder = Path("/dev/shm"), None
    try:
        folder = Path(tempfile.mkdtemp(prefix="mlsh_mpi-", dir=in_memory if os.access(in_memory, os.W_OK) else None))
        for pipe in PIPES:
            os.mkfifo(folder / pipe)
        with (folder / "places").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, (size + 1) * nbytes)  # else full memory would be a bus error later
        (folder / "arrived").write_bytes(bytes(8))
    except OSError:
        remove(folder)
        return None
    return folder


def remove(folder: Path | None) -> None:
    """Removes the folder; ranks that have joined keep what they have opened."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def joined(folder: Path, rank: int, size: int) -> SharedMemoryReducer | None:
    """One rank's reducer; None if the folder cannot be opened: ranks in containers may share a host but not a filesystem."""
    try:
        return SharedMemoryReducer(folder, rank, size)
    except OSError:
        return None


class SharedMemoryReducer:
    """One rank's part in allreduces and broadcasts of arrays of one size.

    Args:
        folder: the folder made by :func:`prepared`.
        rank: this rank.
        size: number of ranks.

    Raises:
        OSError: the folder cannot be reached.
    """

    def __init__(self, folder: Path, rank: int, size: int) -> None:
        self._rank, self._size, self._count = rank, size, 0
        self._go = [os.open(folder / pipe, os.O_RDWR) for pipe in PIPES]
        with (folder / "places").open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._lock = os.open(folder / "arrived", os.O_RDWR)
        self._arrived = mmap.mmap(self._lock, 0)
        for operation in (fcntl.LOCK_SH, fcntl.LOCK_UN):  # raises where the filesystem has no locks
            fcntl.flock(self._lock, operation)

    def allreduce(self, values: Array) -> None:
        """Sums a contiguous array over the ranks, in place and in rank order: every rank ends with the same bits."""
        places = self._places(values)
        places[self._rank + 1] = values.reshape(-1)
        self._combine(lambda: np.add.reduce(places[1:], axis=0, out=places[0]))
        values[...] = places[0].reshape(values.shape)

    def broadcast(self, values: Array, source: int) -> None:
        """Replaces a contiguous array by that of rank `source`."""
        places = self._places(values)
        if self._rank == source:
            places[source + 1] = values.reshape(-1)
        self._combine(lambda: np.copyto(places[0], places[source + 1]))
        values[...] = places[0].reshape(values.shape)

    def close(self) -> None:
        """Closes the shared memory, the lock and the pipes."""
        self._memory.close()
        self._arrived.close()
        for descriptor in (self._lock, *self._go):
            os.close(descriptor)

    def _places(self, values: Array) -> Array:
        """(size + 1, values.size): the result, and a place for each rank."""
        return np.frombuffer(self._memory, values.dtype).reshape(self._size + 1, values.size)

    def _combine(self, combine: Callable[[], object]) -> None:
        """Returns on every rank once all have arrived and the last of them has combined their arrays.

        The result stays until all have arrived again, so no rank misses it. Two pipes alternate in releasing the ranks:
        otherwise a fast rank could, in its next call, take the byte that should release a slower one from this call.
        """
        go = self._go[self._count % 2]
        self._count += 1
        if not self._arrives_last():
            os.read(go, 1)
            return
        combine()
        os.write(go, b"." * (self._size - 1))

    def _arrives_last(self) -> bool:
        """Counts this rank, and returns whether it is the last."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        arrived = int.from_bytes(self._arrived[:], "little") + 1
        self._arrived[:] = (arrived % self._size).to_bytes(8, "little")
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        return arrived == self._size
