"""Who hosts whom, for every size of job in a broad range."""

import pytest

from mlsh_mpi.errors import UserError
from mlsh_mpi.mpi.placement import grown, place

SIZES = [
    (groups, workers, ranks)
    for groups in (1, 2, 3, 7, 10, 60, 64)
    for workers in (1, 2, 5, 12)
    for ranks in (*range(1, 13), 16, 23, 33, 60, 64, 100, 119, 120)
    if ranks <= groups * workers
]


def hostings(groups, workers, ranks):
    return [place(groups, workers, ranks, rank) for rank in range(ranks)]


def spread(sizes):
    return max(sizes) - min(sizes)


def test_the_sizes_tried_include_those_of_the_paper():
    assert {(10, 12, 7), (10, 12, 11), (10, 12, 64), (10, 12, 120), (64, 1, 64)} <= set(SIZES)


@pytest.mark.parametrize(("groups", "workers"), sorted({size[:2] for size in SIZES}))
def test_everyone_is_hosted_once_and_evenly(groups, workers):
    for ranks in (r for g, w, r in SIZES if (g, w) == (groups, workers)):
        hosted = hostings(groups, workers, ranks)
        assert [worker for h in hosted for worker in h.workers] == list(range(groups * workers))
        for h in hosted:
            assert h.groups
            assert len(h.workers) == h.workers_per_group * len(h.groups)
            assert {worker // workers for worker in h.workers} == set(h.groups)
            assert h.groups == tuple(sorted(h.groups))
        ranks_of = [[h for h in hosted if group in h.groups] for group in range(groups)]
        if ranks <= groups:
            assert spread([len(h.groups) for h in hosted]) <= 1
            assert all(len(hosts) == 1 for hosts in ranks_of)
        else:
            assert all(len(h.groups) == 1 for h in hosted)
            assert spread([len(hosts) for hosts in ranks_of]) <= 1
            assert all(spread([len(h.workers) for h in hosts]) <= 1 for hosts in ranks_of)
        for hosts in ranks_of:
            assert {h.shares_group for h in hosts} == {len(hosts) > 1}


def test_some_by_hand():
    assert [h.groups for h in hostings(5, 1, 2)] == [(0, 1, 2), (3, 4)]
    assert [h.workers for h in hostings(2, 3, 2)] == [(0, 1, 2), (3, 4, 5)]
    assert [h.workers for h in hostings(2, 3, 3)] == [(0, 1), (2,), (3, 4, 5)]
    assert [h.shares_group for h in hostings(2, 3, 3)] == [True, True, False]


@pytest.mark.parametrize(("groups", "workers", "ranks"), [(10, 12, 121), (1, 1, 2), (3, 2, 64)])
def test_refuses_ranks_without_a_worker(groups, workers, ranks):
    for rank in (0, ranks - 1):
        with pytest.raises(UserError) as refusal:
            place(groups, workers, ranks, rank)
        for part in (f"{ranks} ranks", f"{groups * workers} workers", f"{groups} groups of {workers}", "start at most"):
            assert part in str(refusal.value)


@pytest.mark.parametrize(
    ("groups", "workers", "ranks", "expected"),
    [(60, 1, 64, 64), (60, 1, 60, 60), (60, 1, 2, 60), (10, 12, 64, 10), (10, 12, 200, 10), (1, 1, 7, 7)],
)
def test_one_worker_a_group_grows_to_one_group_a_rank(groups, workers, ranks, expected):
    assert grown(groups, workers, ranks) == expected
