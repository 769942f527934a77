"""What policies draw, and what environments are given: units of the half-width, bounds, types."""

import gymnasium as gym
import numpy as np
import pytest

from mlsh_mpi.errors import UserError
from mlsh_mpi.sampling.actions import Actions

Box, Discrete = gym.spaces.Box, gym.spaces.Discrete
SPACES = [
    Box(-1, 1, (3,), np.float32),
    Box(-0.4, 0.4, (2,), np.float32),
    Box(100, 200, (2,), np.float64),
    Box(0, 3, (2,), np.int32),
    Box(-(2**63), 2**63 - 1, (1,), np.int64),
    Box(0, 2**64 - 1, (1,), np.uint64),
    Box(1e9, 1e9 + 1, (1,), np.float64),
    Box(-3e38, 3e38, (1,), np.float32),
    Box(-np.inf, np.inf, (2,), np.float32),
    Box(np.array([0, -np.inf]), np.array([10, np.inf]), dtype=np.float64),
    Discrete(4),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_whatever_is_drawn_is_an_action_of_the_space(space):
    actions = Actions.from_space(space)
    assert space.contains(actions(actions.middle_as_drawn))
    if not isinstance(space, Discrete):
        for drawn in np.random.default_rng(0).normal(0, 3, (50, *space.shape)).astype(np.float32):
            assert space.contains(actions(drawn))


def test_a_fresh_policy_acts_all_over_the_range_and_not_at_its_edge():
    drawn = np.random.default_rng(0).normal(0, 1, (10_000, 1)).astype(np.float32)
    given = Actions.from_space(Box(100, 200, (1,), np.float64))(drawn)
    assert given.mean() == pytest.approx(150, abs=1)
    np.testing.assert_allclose(Actions.from_space(Box(100, 200, (1,)))(np.array([[-1.0], [0.0], [0.5]])), [[100], [150], [175]])
    assert given.std() == pytest.approx((given.max() - given.min()) * np.clip(drawn, -1, 1).std() / 2, rel=0.01)


def test_within_plus_and_minus_one_nothing_changes():
    drawn = np.random.default_rng(0).normal(0, 1, (100, 3)).astype(np.float32)
    given = Actions.from_space(SPACES[0])(drawn)
    np.testing.assert_array_equal(given, np.clip(drawn, -1, 1))
    assert given.dtype == np.float32


def test_whole_numbers_are_rounded_to_the_nearest():
    given = Actions.from_space(Box(0, 3, (2,), np.int32))(np.array([[-1.0, -0.2], [0.1, 5.0]], np.float32))
    assert given.tolist() == [[0, 1], [2, 3]]
    assert given.dtype == np.int32


def test_an_environment_that_clips_is_given_what_lies_beyond_in_its_own_units():
    assert Actions.from_space(Box(-0.5, 0.5, (1,)), unclipped=True)(np.float32([[3.0]])).tolist() == [[1.5]]


def test_bounds_that_floats_cannot_hold_are_reached_and_not_passed():
    for space in (Box(-(2**63), 2**63 - 1, (1,), np.int64), Box(0, 2**64 - 1, (1,), np.uint64)):
        given = Actions.from_space(space)(np.float32([[-2.0], [-1.0], [1.0], [2.0]]))
        assert given.ravel().tolist() == [int(space.low[0])] * 2 + [int(space.high[0])] * 2
    close_together = Actions.from_space(Box(1e9, 1e9 + 1, (1,), np.float64))(np.float32([[-1.0], [0.0], [0.5]]))
    np.testing.assert_allclose(close_together - 1e9, [[0], [0.5], [0.75]], atol=1e-6)
    assert np.isfinite(Actions.from_space(Box(-3e38, 3e38, (1,)))(np.float32([[0.0], [5.0]]))).all()


def test_whole_numbers_beyond_the_bounds_stay_within_their_type():
    given = Actions.from_space(Box(0, 100, (1,), np.uint8), unclipped=True)(np.float32([[-9.0], [2.0], [9.0]]))
    assert given.ravel().tolist() == [0, 150, 255]


@pytest.mark.parametrize("space", [Box(0, np.inf, (2,)), Box(np.array([-np.inf]), np.array([5.0]), dtype=np.float64)], ids=str)
def test_a_number_with_one_bound_has_no_middle(space):
    with pytest.raises(UserError, match="bounded on both sides or on none"):
        Actions.from_space(space)
