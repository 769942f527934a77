"""Key Door and Allwalk against games written out by hand, and how well they can be played."""

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments import made_vector
from mlsh_envs import Allwalk, AllwalkTask, KeyDoor, KeyDoorTask
from mlsh_envs.point_world import MOVES
from scripted import PointWalker, key_walker

coordinate = st.floats(0, 400)
place = st.tuples(coordinate, coordinate)
actions = st.lists(st.integers(0, 4), max_size=60)


def walked(taken):
    """Positions after each action, in plain Python."""
    x, y = 200, 200
    for action in taken:
        x += {1: 20, 2: -20}.get(action, 0)
        y += {3: 20, 4: -20}.get(action, 0)
        yield x, y


@given(goals=st.tuples(place, place), key=place, task=st.sampled_from([0, 1]), taken=actions)
def test_key_door_follows_its_rules_step_by_step(goals, key, task, taken):
    env = KeyDoor()
    env.reset(seed=0, options={"task": KeyDoorTask(task)})
    env.world.points[0] = [*goals, key]
    has_key = False
    for action, (x, y) in zip(taken, walked(taken), strict=True):
        has_key = has_key or (x - key[0]) ** 2 + (y - key[1]) ** 2 < 2500
        at_goal = (x - goals[task][0]) ** 2 + (y - goals[task][1]) ** 2 < 2500
        observation, reward, terminated, truncated, _ = env.step(action)
        assert reward == float(has_key and at_goal)
        expected = [v / 400 for v in (x, y, *goals[0], *goals[1], *key)]
        assert observation == pytest.approx(np.array([*expected, has_key]), abs=1e-6)
        assert not terminated
        assert not truncated


@given(goal=place, taken=actions)
def test_allwalk_follows_its_rules_step_by_step(goal, taken):
    env = Allwalk()
    observation, _ = env.reset(seed=0, options={"task": AllwalkTask(*goal)})
    assert observation.tolist() == [0.5, 0.5]
    for action, (x, y) in zip(taken, walked(taken), strict=True):
        observation, reward, terminated, truncated, _ = env.step(action)
        assert reward == pytest.approx(-(abs(x - goal[0]) + abs(y - goal[1])) / 5000)
        assert observation == pytest.approx(np.array([x, y]) / 400)
        assert not terminated
        assert not truncated


def test_a_new_episode_starts_without_the_key_and_with_places_drawn_anew():
    vector = made_vector("mlsh/KeyDoor-v0", 3000)
    first, _ = vector.reset(seed=1)
    vector.world.has_key[:] = True
    second, _ = vector.reset()
    assert not second[:, 8].any()
    assert (first[:, 2:8] != second[:, 2:8]).all(1).all()
    points = first[:, 2:8].astype(np.float64)
    counts = np.stack([np.histogram(column, 10, (0, 1))[0] for column in points.T])
    assert np.abs(counts - 300).max() < 5 * np.sqrt(3000 * 0.1 * 0.9)
    assert np.abs(np.corrcoef(points.T) - np.eye(6)).max() < 5 / np.sqrt(3000)


@pytest.mark.parametrize("task", [AllwalkTask(-1, 0), AllwalkTask(0, 401), AllwalkTask(np.nan, 0), AllwalkTask("a", 0), (1, 2)])
def test_allwalk_refuses_goals_outside_the_square(task):
    with pytest.raises(ValueError, match=r"it has AllwalkTask\(x, y\) with x and y from 0 to 400"):
        Allwalk().reset(options={"task": task})


def test_allwalk_draws_goals_uniformly():
    env, rng = Allwalk(), np.random.default_rng(0)
    goals = np.array([(task.x, task.y) for task in (env.sample_task(rng) for _ in range(3000))])
    counts = np.stack([np.histogram(column, 10, (0, 400))[0] for column in goals.T])
    assert np.abs(counts - 300).max() < 5 * np.sqrt(3000 * 0.1 * 0.9)


def test_a_walker_plays_key_door_as_well_as_anyone_could():
    lanes, steps = 2000, 100
    rng = np.random.default_rng(0)
    tasks = [KeyDoorTask(int(goal)) for goal in rng.integers(2, size=lanes)]
    vector = made_vector("mlsh/KeyDoor-v0", lanes)
    observation, _ = vector.reset(seed=0, options={"task": tasks})
    walker, length = key_walker(observation, tasks)
    best = steps - (length - 1)  # the step that arrives pays
    returns = np.zeros(lanes)
    for _ in range(steps):
        observation, reward, *_ = vector.step(walker(observation))
        returns += reward
    np.testing.assert_array_equal(returns, best)
    assert 85 < best.mean() < 95


def test_a_walker_plays_allwalk_as_well_as_anyone_could():
    lanes, steps = 500, 50
    vector = made_vector("mlsh/Allwalk-v0", lanes)
    rng = np.random.default_rng(0)
    tasks = [vector.sample_task(rng) for _ in range(lanes)]
    goal = np.array([(task.x, task.y) for task in tasks])
    observation, _ = vector.reset(seed=0, options={"task": tasks})
    walker, returns = PointWalker(goal[:, None]), np.zeros(lanes)
    for _ in range(steps):
        observation, reward, *_ = vector.step(walker(observation))
        returns += reward

    # Dynamic programming along each axis: the cost of an axis is what one coordinate is away, and each step moves one of them.
    away = [np.abs(200 - goal[:, axis]) for axis in range(2)]
    costs = np.zeros(lanes)
    for _ in range(steps):
        gain = [a - np.minimum(np.abs(a - 20), a) for a in away]
        first = gain[0] >= gain[1]
        away[0] = np.where(first, np.minimum(np.abs(away[0] - 20), away[0]), away[0])
        away[1] = np.where(first, away[1], np.minimum(np.abs(away[1] - 20), away[1]))
        costs -= (away[0] + away[1]) / 5000
    assert abs(returns.mean() - costs.mean()) < 2 * returns.std() / np.sqrt(lanes)
    assert (returns <= costs + 1e-9).all()


def test_moves_are_those_of_the_page():
    assert MOVES.tolist() == [[0, 0], [20, 0], [-20, 0], [0, 20], [0, -20]]
    assert gym.spec("mlsh/KeyDoor-v0").max_episode_steps == 100
