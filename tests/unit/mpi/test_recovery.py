"""Which state survivors agree on, given the copies that each of them holds."""

import pickle
import threading

import pytest

from mlsh_mpi.errors import UserError
from mlsh_mpi.mpi import recovery
from mlsh_mpi.mpi.recovery import Copies, Recovered


class World:
    """A rank among threads."""

    def __init__(self, rank, size, barrier, board):
        self.rank, self.size, self._barrier, self._board = rank, size, barrier, board

    def allgather(self, value):
        self._board[self.rank] = value
        self._barrier.wait()
        values = [self._board[rank] for rank in range(self.size)]
        self._barrier.wait()
        return values

    def gather(self, value):
        values = self.allgather(value)
        return values if self.rank == 0 else None

    def leave_shared_memory(self):
        pass

    @property
    def started_as(self):
        return list(range(self.size))

    def shift(self, value, distance):
        source = (self.rank - distance) % self.size
        return source, self.allgather(value)[source]


def worlds(size):
    """A world for each of several threads."""
    barrier, board = threading.Barrier(size), {}
    return [World(rank, size, barrier, board) for rank in range(size)]


def on_each(jobs):
    """Runs something on each rank, a thread each, and returns the results in their order."""
    results = [None] * len(jobs)

    def run(number):
        results[number] = jobs[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return results


@pytest.fixture
def four(monkeypatch):
    """Four ranks' copies after two iterations."""
    monkeypatch.setattr(recovery, "why_not", lambda: "")

    class Job:
        host_of = ["here"] * 4

        def __init__(self, world):
            self.world = world

    ranks = [Copies(Job(world)) for world in worlds(4)]
    for iteration in (1, 2):
        on_each([lambda r=r, i=iteration: r.keep(i, f"part {r._job.world.rank} of {i}", f"phi {i}") for r in ranks])
    return ranks


def gathered(ranks):
    """What these survivors put together on their rank 0."""
    for copies, world in zip(ranks, worlds(len(ranks)), strict=True):
        copies._job.world = world
    found = on_each([copies._gathered for copies in ranks])
    assert found[1:] == [(None, None)] * (len(ranks) - 1)
    return found[0]


@pytest.mark.parametrize("lost", [[0], [3], [0, 2]])
def test_the_state_of_lost_ranks_is_held_by_others(four, lost):
    found = gathered([copies for rank, copies in enumerate(four) if rank not in lost])
    assert found == (Recovered(2, "phi 2", [f"part {rank} of 2" for rank in range(4)]), None)


def test_an_iteration_that_not_all_have_exchanged_is_made_again(four):
    four[0]._parts[4, 3] = {0: pickle.dumps("part 0 of 3")}
    assert gathered(four[:3])[0].iteration == 2


def test_two_neighbours_at_once_take_their_state_with_them(four):
    """Then what the attempt began with counts, which each survivor holds whole; else the run folder's checkpoint."""
    assert gathered(four[:2]) == (None, None)
    for copies in four:
        copies.begin(1, "all after 1")
    assert gathered(four[:2]) == (None, "all after 1")


def test_what_a_later_attempt_began_with_counts_more_than_older_copies(four):
    """It may be known to one survivor alone, if another rank died while the folder was opened."""
    four[2].begin(5, "all after 5")
    assert gathered(four[1:]) == (None, "all after 5")


def test_only_two_iterations_are_kept(four):
    on_each([lambda r=r: r.keep(3, "part", "phi") for r in four])
    assert [list(copies._parts) for copies in four] == [[(4, 2), (4, 3)]] * 4
    assert [list(copies._common) for copies in four] == [[(4, 2), (4, 3)]] * 4


@pytest.mark.parametrize(
    ("library", "enabled", "reason"),
    [
        ("Open MPI v5.0.11", True, ""),
        ("Open MPI v5.0.11", False, "without --with-ft ulfm"),
        ("Open MPI v4.1.4", True, "only Open MPI 5"),
        ("MPICH Version: 5.0.2", True, "only Open MPI 5"),
    ],
)
def test_where_it_can_be_used(monkeypatch, library, enabled, reason):
    monkeypatch.setattr(recovery, "library_version", lambda: library)
    monkeypatch.setattr(recovery, "FAULT_TOLERANT", enabled)
    found = recovery.why_not()
    assert reason in found
    assert bool(reason) == bool(found)
    if reason:
        with pytest.raises(UserError, match="--recover"):
            Copies(None)
