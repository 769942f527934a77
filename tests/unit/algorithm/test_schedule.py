"""The schedule by its properties: for any number of groups, W and U."""

from collections import Counter
from itertools import count, pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlsh_mpi.algorithm.schedule import from_which_phi_learns, phase, phases, staged

groups_ = st.integers(1, 130)
warmups = st.integers(0, 40)
joints = st.integers(1, 40)


def history(group, groups, warmup, joint, cycles=3):
    """A group's phases, through its lead-in and some whole cycles."""
    length = warmup + joint
    return [phase(i, group, groups=groups, warmup=warmup, joint=joint) for i in range((cycles + 1) * length)]


def starts(groups, warmup, joint):
    """The iteration at which each group begins its first cycle."""
    sizes = {"groups": groups, "warmup": warmup, "joint": joint}
    return [next(i for i in count() if phase(i, g, **sizes).cycle == 0) for g in range(groups)]


@given(groups=groups_, warmup=warmups, joint=joints, data=st.data())
def test_every_cycle_is_w_warmups_then_u_joint_updates(groups, warmup, joint, data):
    group = data.draw(st.integers(0, groups - 1))
    phases = history(group, groups, warmup, joint)
    lead_in = sum(p.cycle == -1 for p in phases)
    assert lead_in < warmup + joint
    assert {p.joint for p in phases[:lead_in]} <= {warmup == 0}
    cycles = [phases[i : i + warmup + joint] for i in range(lead_in, len(phases), warmup + joint)]
    whole = [cycle for cycle in cycles if len(cycle) == warmup + joint]
    assert len(whole) >= 3
    for number, cycle in enumerate(whole):
        assert [p.joint for p in cycle] == [False] * warmup + [True] * joint
        assert {p.cycle for p in cycle} == {number}


@given(groups=groups_, warmup=warmups, joint=joints, iteration=st.integers(0, 99), early=st.integers(0, 99))
def test_phi_learns_from_joint_phases_and_at_first_from_every_group(groups, warmup, joint, iteration, early):
    now = phases(iteration, groups, warmup, joint)
    learns = from_which_phi_learns(iteration, now, early)
    assert learns == ([True] * groups if iteration < early else [each.joint for each in now])


@given(groups=groups_, warmup=warmups, joint=joints, data=st.data())
def test_a_new_task_comes_exactly_where_the_cycle_changes(groups, warmup, joint, data):
    group = data.draw(st.integers(0, groups - 1))
    phases = history(group, groups, warmup, joint)
    cycles = [p.cycle for p in phases]
    changes = [True] + [one != other for one, other in pairwise(cycles)]
    assert [p.new_task for p in phases] == changes
    assert cycles == sorted(cycles)

    updates = []
    for new in changes:
        updates.append(0 if new else updates[-1] + 1)
    assert [p.updates for p in phases] == updates


@given(groups=groups_, warmup=warmups, joint=joints)
@example(groups=10, warmup=20, joint=40)
def test_the_stagger_is_even(groups, warmup, joint):
    length = warmup + joint
    first = starts(groups, warmup, joint)
    per_phase = Counter(first)
    counts = [per_phase[delay] for delay in range(length)]
    assert max(counts) - min(counts) <= 1
    if groups < length:
        ordered = sorted(first)
        gaps = np.diff([*ordered, ordered[0] + length])
        assert max(gaps) - min(gaps) <= 1


@given(groups=groups_, warmup=warmups, joint=joints)
@example(groups=10, warmup=9, joint=1)
@example(groups=11, warmup=9, joint=1)
@example(groups=2, warmup=20, joint=40)
def test_phi_learns_at_every_iteration_once_the_first_warmups_are_over(groups, warmup, joint):
    if groups * joint < warmup + joint:
        return
    everyone = zip(*(history(g, groups, warmup, joint, cycles=1) for g in range(groups)), strict=True)
    learns = [any(p.joint for p in now) for now in everyone]
    assert learns == [False] * warmup + [True] * (len(learns) - warmup)


@pytest.mark.parametrize("ranks", [2, 3, 4, 7])
@pytest.mark.parametrize(
    ("groups", "warmup", "joint", "most"),
    [(60, 9, 1, 1), (10, 9, 1, 1), (64, 9, 1, 1), (60, 20, 1, 1), (10, 20, 40, 2), (10, 20, 30, 2)],
)
def test_ranks_share_the_joint_work(groups, warmup, joint, most, ranks):
    """A rank hosts neighbouring groups, so each block of neighbours needs about as many joint groups as the others."""
    blocks = np.array_split(np.arange(groups), ranks)
    length = warmup + joint
    for i in range(length, 2 * length):
        phases = [phase(i, g, groups=groups, warmup=warmup, joint=joint) for g in range(groups)]
        work = [sum(phases[g].joint for g in block) for block in blocks]
        assert max(work) - min(work) <= most


def test_the_first_iterations_have_a_value_of_their_own():
    assert [staged(i, 2, at_first=50, later=10) for i in range(4)] == [50, 50, 10, 10]
    assert staged(0, 0, at_first=50, later=10) == 10
