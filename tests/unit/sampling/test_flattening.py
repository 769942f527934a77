"""Observations of any kind become vectors, combinations of choices one choice."""

import itertools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from mlsh_mpi.errors import UserError
from mlsh_mpi.sampling.environment_check import check_environment
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.flattening import flattened, left_out
from mlsh_mpi.sampling.task_family import TaskFamily

NUMBERS = spaces.Box(-1, 1, (2,), np.float32)
GRID = spaces.Box(0, 10, (7, 7, 3), np.uint8)


class Anything(gym.Env):
    """Observes and does what it is told to."""

    def __init__(self, observation, action=None, render_mode=None):
        self.observation_space, self.action_space = observation, action or spaces.Discrete(2)
        self.actions = []

    def sample_task(self, rng, split="train"):
        return int(rng.integers(2))

    def reset(self, *, seed=None, options=None):
        self.task = (options or {}).get("task", 0)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        self.actions.append(action)
        return self.observation_space.sample(), float(self.task), False, False, {}


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(5),
        spaces.MultiDiscrete([3, 4]),
        spaces.MultiBinary(6),
        GRID,
        spaces.Dict(at=NUMBERS, key=spaces.Discrete(3)),
        spaces.Tuple((NUMBERS, spaces.Dict(deep=spaces.MultiBinary(2)))),
    ],
    ids=str,
)
def test_observations_are_flattened_as_gymnasium_does(space):
    made = Anything(space)
    env = flattened(made, "Anything")
    assert env.observation_space.shape == (spaces.flatdim(space),)
    space.seed(3)
    expected = spaces.flatten(space, space.sample())
    np.testing.assert_array_equal(env.reset(seed=3)[0], expected)
    family = TaskFamily.from_maker(EnvironmentMaker(lambda: Anything(space), 10))
    assert family.observation_size == spaces.flatdim(space)


def test_flat_vectors_stay_as_they_are():
    env = Anything(NUMBERS)
    assert flattened(env, "Anything") is env


def test_text_beside_numbers_is_left_out_and_a_note_says_so():
    space = spaces.Dict(image=GRID, direction=spaces.Discrete(4), mission=spaces.Text(50))
    env = flattened(Anything(space), "Anything")
    assert (env.observation_space.shape, left_out(env)) == ((147 + 4,), ["mission"])
    maker = EnvironmentMaker(lambda: Anything(space), 10)
    notes = check_environment(maker, TaskFamily.from_maker(maker)).notes
    assert any("mission is left out of observations, because it is not numbers" in note for note in notes)


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (spaces.Box(0, 255, (84, 84, 3), np.uint8), "must not be pixels"),
        (spaces.Dict(camera=spaces.Box(0, 255, (64, 64), np.uint8), at=NUMBERS), "must not be pixels"),
        (spaces.Tuple((NUMBERS, spaces.Box(0, 255, (64, 64), np.uint8))), "must not be pixels"),
        (spaces.Text(9), "must be numbers, a fixed count"),
        (spaces.Sequence(NUMBERS), "must be numbers, a fixed count"),
    ],
    ids=str,
)
def test_what_cannot_be_a_vector_is_refused(space, says):
    with pytest.raises(UserError, match=says):
        EnvironmentMaker(lambda: Anything(space), 10).single()


@pytest.mark.parametrize(
    ("space", "choices"),
    [
        (spaces.MultiDiscrete([3, 2]), [(i, j) for i in range(3) for j in range(2)]),
        (spaces.MultiDiscrete([2, 2], start=[5, -1]), [(i, j) for i in (5, 6) for j in (-1, 0)]),
        (spaces.MultiBinary(3), list(itertools.product((0, 1), repeat=3))),
    ],
    ids=str,
)
def test_combinations_of_choices_are_one_choice(space, choices):
    made = Anything(NUMBERS, space)
    env = flattened(made, "Anything")
    assert env.action_space == spaces.Discrete(len(choices))
    env.reset(seed=0)
    for choice in range(len(choices)):
        env.step(np.int64(choice))
    assert [tuple(action.tolist()) for action in made.actions] == choices
    assert all(space.contains(action) for action in made.actions)


def test_too_many_combinations_are_refused():
    with pytest.raises(UserError, match=r"one choice among 1,024 at most, but Anything has 1,048,576"):
        flattened(Anything(NUMBERS, spaces.MultiBinary(20)), "Anything")
