"""Which numbers of an environment's `info` are read, and when."""

import gymnasium as gym
import numpy as np
import pytest

from mlsh_mpi.sampling.environment_maker import actions_of
from mlsh_mpi.sampling.info import numbers_of, numbers_of_lane
from mlsh_mpi.sampling.vector_env import SequentialVectorEnv, VectorEnv


def test_plain_numbers_and_truth_values_are_read_and_nothing_else():
    info = {"is_success": True, "x": np.float32(1.5), "one": np.array([3]), "count": 7, "far": np.inf, "nan": float("nan")}
    others = {"text": "5", "none": None, "several": np.arange(2), "episode": {"r": 1.0}, "huge": 10**400, 3: 4.0, "list": [1.0]}
    assert numbers_of(info | others) == {"is_success": 1.0, "x": 1.5, "one": 3.0, "count": 7.0}
    assert numbers_of(None) == numbers_of([1.0]) == {}


def test_of_a_vector_environment_a_lane_has_what_its_mask_says():
    info = {"success": np.array([1.0, 0.0, 1.0]), "_success": np.array([True, False, True]), "x": np.array([1, 2, 3])}
    info |= {"name": np.array(["a", "b", "c"], object), "deep": {"y": np.ones(3)}, "shared": 5.0}
    assert numbers_of_lane(info, 0) == {"success": 1.0, "x": 1.0}
    assert numbers_of_lane(info, 1) == {"x": 2.0}
    assert numbers_of_lane({}, 0) == numbers_of_lane(None, 2) == {}


class Scored(gym.Env):
    """Says at the end of an episode, and only there, whether it went well; its number decides that, and when the end comes."""

    observation_space, action_space = gym.spaces.Box(-1, 1, (1,), np.float32), gym.spaces.Discrete(2)

    def __init__(self, number):
        self.number = number

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.clock = 0
        return np.zeros(1, np.float32), {"seen": 1.0}

    def step(self, action):
        self.clock += 1
        end = self.clock == 2 + self.number
        return np.zeros(1, np.float32), 0.0, end, False, {"is_success": self.number == 1} if end else {}


def stepped(vector, steps):
    lanes = VectorEnv(vector, actions_of(Scored(0)))
    lanes.reset(np.ones(lanes.count, np.bool_), [0] * lanes.count, [None] * lanes.count)
    for _ in range(steps):
        _, _, end = lanes.step(np.zeros(lanes.count, np.int64))
    return end.tolist(), lanes.numbers(np.flatnonzero(end))


@pytest.mark.parametrize("vector", ["one after another", "Gymnasium's"])
def test_single_and_vector_environments_say_the_same(vector):
    def made():
        if vector == "one after another":
            return SequentialVectorEnv([Scored(0), Scored(1)])
        makers = [lambda: Scored(0), lambda: Scored(1)]
        return gym.vector.SyncVectorEnv(makers, autoreset_mode=gym.vector.AutoresetMode.DISABLED)

    assert stepped(made(), 1) == ([False, False], [])
    assert stepped(made(), 2) == ([True, False], [{"is_success": 0.0}])
    if vector == "one after another":  # the first has been over for a step
        assert stepped(made(), 3) == ([False, True], [{"is_success": 1.0}])
