"""Sums of the numbers that environments give as `info`, on ranks that see different names."""

import threading

import numpy as np

from mlsh_mpi.algorithm.info_sums import MOST, InfoSums
from mlsh_mpi.algorithm.metrics import Tally, iteration_metrics
from mlsh_mpi.algorithm.schedule import Phase


class World:
    """Ranks as threads: sums, and gathers, in the order of their numbers."""

    def __init__(self, size):
        self.size, self.parts, self.calls = size, [None] * size, [0] * size
        self.barrier = threading.Barrier(size)

    def of(self, rank):
        world = self

        class Ranks:
            def allgather(self, value):
                world.calls[rank] += 1
                world.parts[rank] = value
                world.barrier.wait(10)
                found = list(world.parts)
                world.barrier.wait(10)
                return found

            def allreduce(self, values):
                values[:] = np.sum([part.copy() for part in self.allgather(values.copy())], axis=0)

        return Ranks()


def iterations_of(ranks, told):
    """What each rank knows after each iteration: {name: (G,) means}, for `told`[iteration][rank], a list of (group, numbers)."""
    world, found = World(ranks), [[] for _ in range(ranks)]

    def one(rank):
        names = []
        for of_ranks in told:
            flat = np.zeros(InfoSums.size(names, 2))
            sums = InfoSums(names, 2, flat)
            for group, numbers in of_ranks[rank]:
                sums.add(group, numbers)
            own = world.of(rank)
            own.allreduce(flat)
            sums.gather_new(own)
            found[rank].append({name: means.tolist() for name, means in sums.means()})

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    return found, world.calls


def test_a_name_that_comes_late_and_on_one_rank_only_is_counted_at_once_on_all():
    told = [
        [[(0, {"a": 1.0})], []],
        [[(0, {"a": 3.0}), (0, {"a": 0.0})], [(1, {"late": 5.0}), (1, {"late": 7.0, "a": 1.0})]],
        [[(0, {"late": 2.0})], [(1, {"a": 4.0})]],
    ]
    found, calls = iterations_of(2, told)
    np.testing.assert_equal(found[0], found[1])
    np.testing.assert_equal(found[0][0], {"a": [1.0, np.nan]})
    np.testing.assert_equal(found[0][1], {"a": [1.5, 1.0], "late": [np.nan, 6.0]})
    np.testing.assert_equal(found[0][2], {"a": [np.nan, 4.0], "late": [2.0, np.nan]})
    assert calls == [3 + 2] * 2  # a sum each iteration, and a gather in the two that had a new name


def test_any_number_of_ranks_finds_the_same_means():
    rng = np.random.default_rng(0)
    told = [[(group, {f"n{rng.integers(4)}": float(rng.normal())}) for group in (0, 0, 1, 1)] for _ in range(5)]
    (alone,), _ = iterations_of(1, [[of] for of in told])
    two, _ = iterations_of(2, [[of[:2], of[2:]] for of in told])
    np.testing.assert_equal(two[1], alone)


def test_no_more_names_than_there_is_room_for_are_kept_and_none_is_gathered_for_ever():
    many = {f"{number:03}": 1.0 for number in range(MOST + 9)}
    found, calls = iterations_of(2, [[[(0, many)], []], [[(0, many)], [(1, {"zzz": 1.0})]]])
    assert [sorted(names) for names in found[1]] == [sorted(many)[:MOST]] * 2
    assert calls == [2 + 1] * 2


def test_metrics_tell_all_groups_from_those_in_their_joint_phase():
    tally = Tally.empty(groups=2, primitives=1, ranks=1, names=["is_success"])
    tally.groups[:], tally.costs[:] = 1.0, 1.0
    for group, success in ((0, 1.0), (0, 0.0), (1, 0.0)):
        tally.info.add(group, {"is_success": success})
    metrics = iteration_metrics(tally, [Phase(0, False, True, 9), Phase(0, False, False, 3)], [], min_samples=64)
    assert metrics["info/is_success"] == (0.5 + 0.0) / 2
    assert metrics["info/is_success/adapted"] == 0.5
