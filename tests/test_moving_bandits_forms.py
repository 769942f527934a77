"""The two forms of 2D Moving Bandits: equal to one another, repeatable, and whole after a trip through pickle."""

import pickle

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest

from mlsh_envs import MovingBandits, MovingBanditsTask, MovingBanditsVector

ID = "mlsh/MovingBandits-v0"
TASKS = (MovingBanditsTask(0), MovingBanditsTask(1))


@pytest.mark.parametrize("through", [pickle, cloudpickle])
@pytest.mark.parametrize("make", [MovingBandits, lambda: MovingBanditsVector(3)], ids=["single", "vector"])
def test_a_pickled_environment_goes_on_where_it_was(through, make):
    env = make()
    env.reset(seed=4, options={"task": TASKS[1]})
    rng = np.random.default_rng(0)
    play(env, rng, 7)
    twin = through.loads(through.dumps(env))
    state = rng.bit_generator.state
    expected = play(env, rng, 30), env.reset()[0], play(env, rng, 30)
    rng.bit_generator.state = state
    found = play(twin, rng, 30), twin.reset()[0], play(twin, rng, 30)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def play(env, rng, steps):
    """Random actions: observations with the rewards beside them."""
    lanes = getattr(env, "num_envs", None)
    seen = []
    for _ in range(steps):
        observation, reward, *_ = env.step(rng.integers(5, size=lanes))
        seen.append(np.concatenate((observation, np.reshape(reward, (*np.shape(observation)[:-1], 1))), axis=-1))
    return np.stack(seen)


@pytest.mark.parametrize("make", [MovingBandits, lambda: MovingBanditsVector(3)], ids=["single", "vector"])
def test_one_seed_gives_one_history(make):
    histories = []
    for seed in (9, 9, 10):
        env = make()
        starts = env.reset(seed=seed)[0]
        first = play(env, np.random.default_rng(0), 20)
        histories.append(np.concatenate((starts.ravel(), first.ravel(), env.reset()[0].ravel())))
    np.testing.assert_array_equal(histories[0], histories[1])
    assert not np.array_equal(histories[0], histories[2])


def test_vector_equals_singles_through_partial_and_bare_resets():
    lanes = 4
    vector = gym.make_vec(ID, lanes, vectorization_mode="vector_entry_point")
    singles = [gym.make(ID) for _ in range(lanes)]
    rng = np.random.default_rng(1)

    def reset(mask, seeds, tasks):
        """Seeds None and tasks None are a bare reset."""
        options = {"reset_mask": np.array(mask)} | ({} if tasks is None else {"task": tasks})
        observation, _ = vector.reset(seed=seeds, options=options)
        for lane in np.flatnonzero(mask):
            task = None if tasks is None else {"task": tasks[lane]}
            single, _ = singles[lane].reset(seed=None if seeds is None else seeds[lane], options=task)
            np.testing.assert_array_equal(observation[lane], single)

    def steps(count):
        for _ in range(count):
            actions = rng.integers(5, size=lanes)
            for lane, results in enumerate(zip(*vector.step(actions)[:4], strict=True)):
                for found, expected in zip(results, singles[lane].step(actions[lane])[:4], strict=True):
                    np.testing.assert_array_equal(found, expected)

    reset([True] * lanes, [7, 8, 9, 7], [TASKS[0], TASKS[1], TASKS[1], TASKS[1]])
    steps(20)
    reset([True, False, True, False], [11, 12, 13, 14], [TASKS[1], TASKS[0], TASKS[0], TASKS[0]])
    steps(30)
    reset([False, True, False, True], None, None)
    steps(20)
    reset([True] * lanes, None, None)
    steps(50)


def test_vector_gives_lane_i_the_seed_plus_i():
    observation, _ = MovingBanditsVector(3).reset(seed=5)
    for lane in range(3):
        np.testing.assert_array_equal(observation[lane], MovingBandits().reset(seed=5 + lane)[0])


@pytest.mark.parametrize("seed", [2**31, 2**62 + 1, 2**63 + 1, 2**64, 2**100])
def test_any_seed_that_gymnasium_takes_will_do(seed):
    vector, _ = MovingBanditsVector(2).reset(seed=[seed, 0])
    np.testing.assert_array_equal(vector[0], MovingBandits().reset(seed=seed)[0])


@pytest.mark.parametrize("env", [MovingBandits(), MovingBanditsVector(1)], ids=["single", "vector"])
def test_refuses_negative_seeds(env):
    with pytest.raises(gym.error.Error, match="greater or equal to zero"):
        env.reset(seed=-1)
