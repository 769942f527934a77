"""Tasks for environments that have none: constructor arguments, attributes, rewards."""

import pickle

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest

from mlsh_envs import with_tasks

GRAVITIES = [{"g": 5.0}, {"g": 15.0}]


class Counter(gym.Env):
    """Observes the number of steps."""

    observation_space, action_space = gym.spaces.Box(0, 99, (1,), np.float32), gym.spaces.Discrete(2)

    def __init__(self, gain=1.0, bias=0.0, render_mode=None):
        self.gain, self.bias, self.steps, self.closed = gain, bias, 0, False

    def reset(self, *, seed=None, options=None):
        assert not options
        self.steps = 0
        return np.float32([0]), {}

    def step(self, action):
        self.steps += 1
        return np.float32([self.steps]), self.gain * self.steps + self.bias, False, False, {"steps": self.steps}

    def close(self):
        self.closed = True


def rewards(env, task, steps=3):
    env.reset(seed=0, options={"task": task})
    return [env.step(0)[1] for _ in range(steps)]


def test_tasks_may_be_arguments_of_the_constructor():
    env = with_tasks(Counter, [{"gain": 1.0}, {"gain": -2.0, "bias": 1.0}])()
    assert rewards(env, {"gain": -2.0, "bias": 1.0}) == [-1, -3, -5]
    assert rewards(env, {"gain": 1.0}) == [1, 2, 3]
    assert env.reset(seed=0)[0] == [0]  # the task stays
    assert env.step(0)[1] == 1
    made = [env.env, env._environment({"gain": -2.0, "bias": 1.0})]
    env.close()
    assert [one.closed for one in made] == [True, True]


def test_or_of_a_registered_environment():
    env = with_tasks("Pendulum-v1", GRAVITIES)(max_episode_steps=70)
    env.reset(seed=0, options={"task": {"g": 15.0}})
    assert (env.unwrapped.g, env.spec.max_episode_steps) == (15.0, 70)
    other = gym.make("Pendulum-v1", g=15.0)
    other.reset(seed=0)
    np.testing.assert_array_equal(env.step(np.float32([0.5]))[0], other.step(np.float32([0.5]))[0])


def test_or_attributes_or_a_function():
    attributes = with_tasks(Counter, [{"gain": 3.0}], apply="attributes")()
    assert rewards(attributes, {"gain": 4.0}) == [4, 8, 12]
    function = with_tasks(Counter, [1, 2], apply=lambda env, task: setattr(env, "bias", 10.0 * task))()
    assert rewards(function, 2) == [21, 22, 23]
    with pytest.raises(ValueError, match=r"Counter has no attribute 'gian' that task \{'gian': 1\} could set"):
        rewards(attributes, {"gian": 1})


def test_or_options_of_a_reset():
    class Placed(Counter):
        def reset(self, *, seed=None, options=None):
            self.bias = float(options["cell"])
            return super().reset(seed=seed)

    env = with_tasks(Placed, [{"cell": 3}, {"cell": 5}], apply="options")()
    assert rewards(env, {"cell": 5}, 2) == [6, 7]
    assert rewards(env, {"cell": 3}, 2) == [4, 5]


def test_or_a_reward_of_ones_own():
    seen = []

    def reward(task, observation, action, info):
        seen.append((task, observation.tolist(), action, info["steps"]))
        return -task * info["steps"]

    env = with_tasks(Counter, [1, -1], reward=reward)()
    assert rewards(env, -1) == [1, 2, 3]
    assert seen[-1] == (-1, [3.0], 0, 3)


def test_tasks_are_listed_and_drawn_by_split():
    env = with_tasks(Counter, GRAVITIES, apply="attributes", held_out=[{"g": 9.0}])()
    rng = np.random.default_rng(0)
    assert env.tasks() == GRAVITIES
    assert {env.sample_task(rng)["g"] for _ in range(40)} == {5.0, 15.0}
    assert env.sample_task(rng, "held-out") == {"g": 9.0}
    with pytest.raises(ValueError, match="has no tasks in split 'held-out'; it has: train"):
        with_tasks(Counter, [{"gain": 1.0}])().sample_task(rng, "held-out")


def test_tasks_may_be_drawn_from_a_continuum_and_are_then_not_listed():
    env = with_tasks(Counter, lambda rng: float(rng.uniform(1, 2)), reward=lambda task, *_: task)()
    assert not hasattr(env, "tasks")
    assert 1 <= env.sample_task(np.random.default_rng(3)) < 2
    assert rewards(env, 1.5, 1) == [1.5]


def test_drawn_tasks_are_applied_as_listed_ones_are():
    env = with_tasks(Counter, lambda rng: {"gain": float(rng.integers(2, 5))})()
    assert rewards(env, {"gain": 4.0}) == [4, 8, 12]
    with pytest.raises(ValueError, match="say what a task changes"):
        with_tasks(Counter, lambda rng: int(rng.integers(2)))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"tasks": []}, "at least one task"),
        ({"tasks": [1, 2]}, "say what a task changes"),
        ({"tasks": [1, 2], "apply": "arguments"}, 'apply="arguments" needs tasks that are mappings'),
        ({"tasks": [{"a": 1}], "apply": "attributes", "held_out": [3]}, "needs tasks that are mappings"),
    ],
)
def test_mistakes_are_named(given, says):
    with pytest.raises(ValueError, match=says):
        with_tasks(Counter, **given)


def test_tasks_with_other_spaces_are_refused():
    class Wide(Counter):
        def __init__(self, width=1):
            super().__init__()
            self.observation_space = gym.spaces.Box(0, 99, (width,), np.float32)

    env = with_tasks(Wide, [{"width": 1}, {"width": 2}])()
    with pytest.raises(ValueError, match="must have the same observations"):
        env.reset(options={"task": {"width": 2}})


def test_a_family_travels_to_other_ranks_and_has_a_name():
    family = with_tasks("Pendulum-v1", GRAVITIES, reward=lambda task, *_: task["g"])
    again = pickle.loads(cloudpickle.dumps(family))
    assert (again.__name__, again.__qualname__, again.tasks) == ("Pendulum-v1", "Pendulum-v1", GRAVITIES)
    assert rewards_of_one_step(again()) == 15.0


def rewards_of_one_step(env):
    env.reset(seed=0, options={"task": {"g": 15.0}})
    return env.step(np.float32([0.0]))[1]
