"""Stratified tasks: as different as can be at any time, each as likely as before, and the same for whoever asks."""

from collections import Counter

import numpy as np
import pytest

from mlsh_mpi.algorithm import schedule
from mlsh_mpi.algorithm.task_sampler import TaskSampler
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.task_family import TaskFamily

WARMUP, JOINT = 4, 8


class Listing:
    """In place of an environment's TaskFamily: so many tasks, with a chance for each."""

    def __init__(self, chances):
        self._chances, self.tasks = chances, tuple(range(len(chances)))

    def sample_task(self, rng, split="train"):
        return int(rng.choice(len(self._chances), p=self._chances))

    def label(self, task):
        return str(task)


def even(n):
    return Listing([1 / n] * n)


def over_time(family, groups, iterations, seed=0, **given):
    """The tasks of all groups at each iteration."""
    sampler = TaskSampler(family, seed, groups, WARMUP + JOINT, **({"stratify": True} | given))
    return [sampler.tasks(schedule.phases(i, groups, WARMUP, JOINT)) for i in range(iterations)]


@pytest.mark.parametrize(("tasks", "groups"), [(9, 9), (2, 10), (9, 20), (4, 3), (13, 9), (2, 2), (9, 1)])
def test_the_groups_of_one_time_have_tasks_as_different_as_can_be(tasks, groups):
    for at in over_time(even(tasks), groups, 150):
        counts = Counter(at)
        assert len(counts) >= min(tasks, groups) - 1 - (tasks > 4)
        if groups >= tasks:
            assert max(counts.values()) - min(counts[task] for task in range(tasks)) <= 3


@pytest.mark.parametrize("seed", range(3))
def test_tasks_are_drawn_without_replacement_in_the_order_of_time(seed):
    groups, cycle = 6, WARMUP + JOINT
    sampler = TaskSampler(even(4), seed, groups, cycle, stratify=True)
    begun = []
    for iteration in range(100):
        phases = schedule.phases(iteration, groups, WARMUP, JOINT)
        new = [group for group, phase in enumerate(phases) if phase.new_task]
        turns = {schedule.turn(phases[group].cycle, group, groups, cycle): group for group in new}
        begun += [sampler.task(turns[turn], phases[turns[turn]]) for turn in sorted(turns)]
        assert sorted(turns) == list(range(len(begun) - len(new), len(begun)))
    assert all(sorted(begun[i : i + 4]) == [0, 1, 2, 3] for i in range(0, len(begun) - 3, 4))
    gaps = [np.diff(np.flatnonzero(np.array(begun) == task)) for task in range(4)]
    assert np.concatenate(gaps).min() >= 2


def test_each_task_is_as_likely_as_before_for_every_group_at_every_time():
    found = np.array([over_time(even(3), 4, 60, seed)[::12] for seed in range(600)])
    for task in range(3):
        share = (found == task).mean(0)
        assert np.abs(share - 1 / 3).max() < 5 * np.sqrt(1 / 3 * 2 / 3 / 600)


def test_a_draw_is_named_by_the_seed_and_does_not_depend_on_what_was_asked_before():
    one, other = (TaskSampler(even(9), 7, 9, WARMUP + JOINT, stratify=True) for _ in range(2))
    late = schedule.phases(300, 9, WARMUP, JOINT)
    assert one.tasks(late) == [other.task(group, phase) for group, phase in reversed(list(enumerate(late)))][::-1]
    assert over_time(even(9), 9, 40, seed=1) != over_time(even(9), 9, 40, seed=2)


@pytest.mark.parametrize("family", [Listing([1.0]), TaskFamily.from_maker(EnvironmentMaker("mlsh/Allwalk-v0", None))])
def test_tasks_that_cannot_be_stratified_are_drawn_independently(family):
    stratified, drawn = (TaskSampler(family, 3, 4, 12, stratify=stratify) for stratify in (True, False))
    assert not stratified.stratified
    phases = schedule.phases(20, 4, WARMUP, JOINT)
    for one, other in zip(stratified.tasks(phases), drawn.tasks(phases), strict=True):
        assert family.label(one) == family.label(other)


@pytest.mark.parametrize("name", ["MovingBandits", "FourRooms", "AntMaze", "AntTwowalk", "HumanoidWalkCrawl"])
def test_the_environments_that_list_tasks_draw_them_all_alike(name):
    """So that stratified tasks have the distribution of drawn ones: a chi-square test over 200 draws a task."""
    family = TaskFamily.from_maker(EnvironmentMaker(f"mlsh/{name}-v0", None))
    rng, draws = np.random.default_rng(0), 200 * len(family.tasks)
    counts = Counter(family.label(family.sample_task(rng)) for _ in range(draws))
    assert set(counts) == set(map(family.label, family.tasks))
    statistic = sum((count - 200) ** 2 / 200 for count in counts.values())
    freedom = len(counts) - 1
    assert statistic < freedom + 6 * np.sqrt(2 * freedom)
