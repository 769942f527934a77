"""Allreduce and broadcast in shared memory, here between threads of one process."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mlsh_mpi.mpi import shared_memory
from mlsh_mpi.mpi.shared_memory import joined, prepared, remove

ROUNDS = 200


def every_rank(size, nbytes, act):
    """What `act(reducer, rank)` gives for each rank, all at work at the same time."""
    folder = prepared(size, nbytes)
    reducers = [joined(folder, rank, size) for rank in range(size)]
    with ThreadPoolExecutor(size) as ranks:
        remove(folder)  # what they have opened stays
        return list(ranks.map(act, reducers, range(size), timeout=60))


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_every_round_sums_what_the_ranks_bring_in_their_order(size, dtype):
    brought = np.random.default_rng(0).normal(0, 1000, (ROUNDS, size, 5)).astype(dtype)

    def act(reducer, rank):
        found = []
        for values in brought[:, rank].copy():
            reducer.allreduce(values)
            found.append(values.copy())
        return np.array(found)

    expected = brought[:, 0].copy()
    for rank in range(1, size):
        expected += brought[:, rank]
    for found in every_rank(size, brought[0, 0].nbytes, act):
        np.testing.assert_array_equal(found, expected)


def test_sums_and_spreads_of_other_shapes_take_turns():
    brought = np.random.default_rng(0).random((ROUNDS, 3, 2, 4))

    def act(reducer, rank):
        found = []
        for turn in range(ROUNDS):
            values = brought[turn, rank].copy()
            if turn % 2:
                reducer.broadcast(values, turn % 3)
            else:
                reducer.allreduce(values)
            found.append(values)
        return found

    for found in every_rank(3, brought[0, 0].nbytes, act):
        for turn, values in enumerate(found):
            expected = brought[turn, turn % 3] if turn % 2 else brought[turn].sum(0)
            np.testing.assert_allclose(values, expected, rtol=1e-12)


def locked_out(*_):
    raise OSError(37, "No locks available")


def test_where_there_is_no_room_no_way_or_no_lock_there_is_no_reducer(tmp_path, monkeypatch):
    assert joined(tmp_path / "nowhere", 0, 2) is None
    with monkeypatch.context() as patched:
        patched.setattr(shared_memory.fcntl, "flock", locked_out)
        folder = prepared(2, 8)
        assert joined(folder, 0, 2) is None
        remove(folder)

    def full(*_):
        raise OSError(28, "No space left on device")

    made, mkdtemp = [], shared_memory.tempfile.mkdtemp
    monkeypatch.setattr(shared_memory.tempfile, "mkdtemp", lambda **given: made.append(mkdtemp(**given)) or made[-1])
    monkeypatch.setattr(shared_memory.os, "posix_fallocate", full)
    assert prepared(2, 8) is None
    assert [Path(folder).exists() for folder in made] == [False]
