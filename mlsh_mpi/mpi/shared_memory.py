"""Allreduce and broadcast through shared memory, for ranks of one host that outnumber its cores; each sleeps until it is needed.

MPI's own waiting is made for ranks with a core each. Here most of the cores' time would go into looking whether a message has
come, and a sum over many ranks takes many messages; so each rank leaves its part in shared memory, rank 0 puts them together, and
everybody sleeps in the kernel meanwhile. Knows nothing of MPI: how the ranks hear of the folder is the caller's affair.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
PIPES = ("arrived", "go_even", "go_odd")


def prepared(size: int, nbytes: int) -> Path | None:
    """Makes what the ranks of a :class:`SharedMemoryReducer` share: for the first of them to call.

    Args:
        size: ranks.
        nbytes: of the arrays that they will put together.

    Returns:
        A folder, which can be removed once all have joined; None if there is no room for it.
    """
    in_memory, folder = Path("/dev/shm"), None
    try:
        folder = Path(tempfile.mkdtemp(prefix="mlsh_mpi-", dir=in_memory if os.access(in_memory, os.W_OK) else None))
        for pipe in PIPES:
            os.mkfifo(folder / pipe)
        with (folder / "places").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, (size + 1) * nbytes)  # a full memory would be a bus error later
    except OSError:
        remove(folder)
        return None
    return folder


def remove(folder: Path | None) -> None:
    """Removes the folder: those who have joined keep what they have opened."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def joined(folder: Path, rank: int, size: int) -> SharedMemoryReducer | None:
    """One rank's reducer; None if it cannot be opened: ranks in containers may share a host but no folder."""
    try:
        return SharedMemoryReducer(folder, rank, size)
    except OSError:
        return None


class SharedMemoryReducer:
    """One rank's part in allreduces and broadcasts of arrays of one size.

    Args:
        folder: from :func:`prepared`.
        rank: whose part.
        size: ranks.

    Raises:
        OSError: the folder is out of reach.
    """

    def __init__(self, folder: Path, rank: int, size: int) -> None:
        self._rank, self._size, self._count = rank, size, 0
        self._arrived, *self._go = (os.open(folder / pipe, os.O_RDWR) for pipe in PIPES)
        with (folder / "places").open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)

    def allreduce(self, values: Array) -> None:
        """Sums a contiguous array over the ranks, in place, in their order: every rank ends with the same bits."""
        places = self._places(values)
        places[self._rank + 1] = values.reshape(-1)
        self._combine(lambda: np.add.reduce(places[1:], axis=0, out=places[0]))
        values[...] = places[0].reshape(values.shape)

    def broadcast(self, values: Array, source: int) -> None:
        """Replaces a contiguous array by that of one rank."""
        places = self._places(values)
        if self._rank == source:
            places[source + 1] = values.reshape(-1)
        self._combine(lambda: np.copyto(places[0], places[source + 1]))
        values[...] = places[0].reshape(values.shape)

    def close(self) -> None:
        """Lets go of memory and pipes."""
        self._memory.close()
        for pipe in (self._arrived, *self._go):
            os.close(pipe)

    def _places(self, values: Array) -> Array:
        """(size + 1, values.size): the result, which rank 0 alone writes, and a place for each rank."""
        return np.frombuffer(self._memory, values.dtype).reshape(self._size + 1, values.size)

    def _combine(self, combine: Callable[[], object]) -> None:
        """Returns on every rank once all have come and rank 0 has combined what they brought.

        The result stays until all have come again, so nobody misses it. Two pipes take turns in letting the ranks go: one that
        is fast would else take the next one's leave.
        """
        go = self._go[self._count % 2]
        self._count += 1
        if self._rank > 0:
            os.write(self._arrived, b".")
            os.read(go, 1)
            return
        missing = self._size - 1
        while missing:
            missing -= len(os.read(self._arrived, missing))
        combine()
        os.write(go, b"." * (self._size - 1))
