"""Random streams: named alike they are alike, named apart they are apart."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlsh_mpi.sampling.seeding import Purpose, episode_seeds, next_episode_seed, stream

purposes = st.sampled_from(get_args(Purpose))
names = st.tuples(st.integers(0, 2**40), purposes, st.lists(st.integers(0, 2**31), max_size=3).map(tuple))


def draw(seed, purpose, place):
    return stream(seed, purpose, *place).integers(2**63, size=2).tolist()


@given(names)
def test_the_same_name_gives_the_same_stream(name):
    assert draw(*name) == draw(*name)


@given(names, names)
def test_two_names_give_two_streams(one, other):
    assume(one != other)
    assert draw(*one) != draw(*other)


@given(names, st.integers(0, 2), st.integers(1, 1000))
def test_every_coordinate_counts(name, which, step):
    seed, purpose, place = name
    assume(which < len(place))
    moved = (*place[:which], place[which] + step, *place[which + 1 :])
    assert draw(seed, purpose, place) != draw(seed, purpose, moved)
    assert draw(seed, purpose, place) != draw(seed + step, purpose, place)
    assert draw(seed, purpose, place) != draw(seed, purpose, (*place, 0))


def test_no_two_streams_of_a_run_begin_alike():
    first = [
        stream(seed, purpose, iteration, worker).integers(2**63)
        for seed in (0, 1, 2**20)
        for purpose in get_args(Purpose)
        for iteration in range(12)
        for worker in range(12)
    ]
    assert len(set(first)) == len(first)


def test_streams_of_neighbours_are_uncorrelated():
    rows = np.stack([stream(0, "action", iteration, worker).random(4000) for iteration in (0, 1) for worker in (0, 1)])
    assert np.abs(np.corrcoef(rows) - np.eye(4)).max() < 5 / np.sqrt(4000)


@given(st.integers(0, 2**31), st.integers(0, 10**6), st.integers(0, 10**4), st.integers(1, 40))
def test_first_episodes_have_seeds_that_environments_take(seed, iteration, worker, lanes):
    seeds = episode_seeds(seed, iteration, worker, lanes)
    assert seeds.shape == (lanes,)
    assert seeds.dtype == np.int64
    assert seeds.min() >= 0
    assert seeds.max() < 2**31
    np.testing.assert_array_equal(seeds, episode_seeds(seed, iteration, worker, lanes))


@given(st.integers(0, 2**31 - 1), st.integers(1, 10**6))
def test_later_episodes_have_seeds_that_environments_take(first, episode):
    seed = next_episode_seed(first, episode)
    assert type(seed) is int
    assert 0 <= seed < 2**31
    assert seed == next_episode_seed(first, episode)


def test_episodes_of_one_lane_and_of_all_lanes_differ():
    lane = [next_episode_seed(3, episode) for episode in range(1, 200)]
    assert len(set(lane)) == len(lane)
    assert next_episode_seed(3, 2) not in (next_episode_seed(4, 1), next_episode_seed(2, 3))
    firsts = np.concatenate([episode_seeds(0, i, w, 40) for i in range(5) for w in range(5)])
    assert len(np.unique(firsts)) == len(firsts)


@pytest.mark.parametrize("place", [(-1,), (0, -3)])
def test_places_are_not_negative(place):
    with pytest.raises(ValueError, match="non-negative"):
        stream(0, "task", *place)
