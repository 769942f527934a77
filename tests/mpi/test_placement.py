"""The shipped trainer gives the same on any number of ranks: the same bits within a job, the same numbers across layouts."""

import itertools

import numpy as np
import pytest
import torch

from mpi.conftest import but_for_time
from mpi.launcher import PROGRAMS, mpirun

pytestmark = pytest.mark.mpi
LAYOUTS = {"private": (1, 2, 3, 4), "shared": (1, 2, 3, 4, 6), "early ends": (1, 2, 4), "short": (1, 2, 3, 4)}
"""Numbers of ranks that host each case. The first has 4 groups of 1 worker; the others have 2 of 3, split from 3 ranks on."""
EVERY = [(case, ranks) for case, layouts in LAYOUTS.items() for ranks in layouts]
ACROSS = [(case, ranks) for case, ranks in EVERY if ranks > 1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """For each (case, ranks), what the program found."""
    found = {}
    for ranks in LAYOUTS["shared"]:
        cases = [case for case, hosted in EVERY if hosted == ranks]
        path = tmp_path_factory.mktemp("placement") / "out.pt"
        mpirun(ranks, PROGRAMS / "placement.py", path, *cases, cwd=PROGRAMS).succeeded()
        found |= {(case, ranks): record for case, record in torch.load(path, weights_only=False).items()}
    return found


def pairs(runs, case, ranks):
    """Each iteration on one rank beside the same one on several."""
    return list(zip(runs[case, 1]["iterations"], runs[case, ranks]["iterations"], strict=True))


def thetas(iteration):
    """Every group's theta, from the first rank that hosts it."""
    found = {}
    for hosted in iteration["theta"]:
        for group, theta in hosted.items():
            found.setdefault(group, theta)
    return found


def close(one, other, tolerance=1e-5):
    np.testing.assert_allclose(other, one, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("case", "ranks"), EVERY)
def test_phi_and_filter_have_the_same_bits_on_all_ranks_after_every_iteration(runs, case, ranks):
    for iteration in runs[case, ranks]["iterations"]:
        for bits in (iteration["phi_bits"], iteration["filter_bits"]):
            assert len(bits) == ranks
            assert len(set(bits)) == 1


@pytest.mark.parametrize("case", LAYOUTS)
def test_phi_moves_in_joint_iterations_only(runs, case):
    iterations = runs[case, 1]["iterations"]
    for before, after in itertools.pairwise(iterations):
        joint = after["metrics"]["schedule/joint_groups"] > 0
        assert joint == (not np.array_equal(before["phi"], after["phi"]))
    assert np.abs(iterations[-1]["phi"] - iterations[0]["phi"]).max() > 1e-3


@pytest.mark.parametrize(("case", "ranks"), [("shared", 3), ("shared", 4), ("shared", 6), ("early ends", 4)])
def test_theta_has_the_same_bits_on_the_ranks_that_share_it(runs, case, ranks):
    hosts = []
    for iteration in runs[case, ranks]["iterations"]:
        for group, theta in thetas(iteration).items():
            copies = [hosted[group] for hosted in iteration["theta"] if group in hosted]
            assert all(np.array_equal(copy, theta) for copy in copies)
            hosts.append(len(copies))
    assert max(hosts) == -(-ranks // 2)


@pytest.mark.parametrize(("case", "ranks"), ACROSS)
def test_tasks_are_the_same(runs, case, ranks):
    for alone, together in pairs(runs, case, ranks):
        assert together["labels"] == alone["labels"]
        assert len(alone["labels"]) == (0 if case == "early ends" else len(thetas(alone)))


@pytest.mark.parametrize(("case", "ranks"), ACROSS)
def test_the_first_iteration_is_the_same_step_for_step(runs, case, ranks):
    """Resets, decisions, actions, rewards and ends of every worker."""
    alone, together = runs[case, 1]["first"], runs[case, ranks]["first"]
    assert sorted(together) == sorted(alone) == list(range(4 if case == "private" else 6))
    for worker, seen in alone.items():
        for name, values in seen.items():
            np.testing.assert_array_equal(together[worker][name], values, err_msg=f"{name} of worker {worker}")


@pytest.mark.parametrize(("case", "ranks"), ACROSS)
def test_returns_lengths_and_usage_of_every_group_are_the_same(runs, case, ranks):
    for alone, together in pairs(runs, case, ranks):
        close(alone["groups"], together["groups"])


@pytest.mark.parametrize(("case", "ranks"), ACROSS)
def test_metrics_are_the_same_but_for_time(runs, case, ranks):
    for alone, together in pairs(runs, case, ranks):
        one, other = (but_for_time(iteration["metrics"]) for iteration in (alone, together))
        assert one.keys() == other.keys()
        close(list(one.values()), list(other.values()))


@pytest.mark.parametrize(("case", "ranks"), ACROSS)
def test_phi_and_theta_are_the_same_to_rounding(runs, case, ranks):
    for alone, together in pairs(runs, case, ranks):
        close(alone["phi"], together["phi"])
        one, other = thetas(alone), thetas(together)
        assert one.keys() == other.keys()
        for group, theta in one.items():
            close(theta, other[group], 1e-4)


def test_episodes_end_early_where_they_should(runs):
    """Else the case would show nothing: workers that make different numbers of decisions."""
    decisions = {seen["decides"].sum() for seen in runs["early ends", 1]["first"].values()}
    assert len(decisions) > 1
    assert all(seen["end"][:-1].any() for seen in runs["early ends", 1]["first"].values())
