"""2D Moving Bandits against a game written out by hand, and against the levels of play of the paper's environment."""

import copy
import json
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import example, given
from hypothesis import strategies as st

from mlsh_envs import MovingBandits, MovingBanditsTask, MovingBanditsVector

ID = "mlsh/MovingBandits-v0"
TASKS = (MovingBanditsTask(0), MovingBanditsTask(1))
STEPS = 50
coordinate = st.floats(0, 400)


def with_goals(env, goals, **reset):
    """The environment at the start of an episode, with the goals where a test wants them."""
    env.reset(**reset)
    world = env.unwrapped.world
    world.goals = np.array(goals, float).reshape(world.goals.shape)
    return env


def play_by_hand(goals, task, actions):
    """The rules in plain Python: rewards and observations of an episode."""
    x, y = 200, 200
    episode = []
    for action in actions:
        x += {1: 20, 2: -20}.get(action, 0)
        y += {3: 20, 4: -20}.get(action, 0)
        goal_x, goal_y = goals[task]
        reward = 1.0 if (x - goal_x) ** 2 + (y - goal_y) ** 2 < 2500 else 0.0
        episode.append((reward, [v / 400 for v in (x, y, *goals[0], *goals[1])]))
    return episode


# Both checkers advise against unbounded observations; here the agent may walk as far as it likes.
@pytest.mark.filterwarnings("ignore:.*infinity.*:UserWarning")
@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_passes_gymnasiums_checks(render_mode):
    env = gym.make(ID, render_mode=render_mode)
    check_env(env.unwrapped)
    env.reset(seed=0)
    for action in range(5):
        env.step(np.int64(action))
    env.close()


@given(
    goals=st.tuples(st.tuples(coordinate, coordinate), st.tuples(coordinate, coordinate)),
    task=st.sampled_from([0, 1]),
    actions=st.lists(st.integers(0, 4), max_size=STEPS),
)
@example(goals=((230, 240), (0, 0)), task=0, actions=[0])
@example(goals=((200, 250), (150, 200)), task=1, actions=[0, 1, 2, 3, 4])
def test_follows_the_rules_step_by_step(goals, task, actions):
    env = with_goals(MovingBandits(), goals, options={"task": TASKS[task]})
    for action, (reward, expected) in zip(actions, play_by_hand(goals, task, actions), strict=True):
        observation, given_reward, terminated, truncated, _ = env.step(np.int64(action))
        assert given_reward == reward
        assert observation == pytest.approx(np.array(expected), abs=1e-6)
        assert not terminated
        assert not truncated


@pytest.mark.parametrize(
    ("goal", "reward"),
    [
        ((230, 240), 0),
        ((230, np.nextafter(240, 0)), 1),
        ((250, 200), 0),
        ((np.nextafter(250, 0), 200), 1),
        ((150, 200), 0),
    ],
)
def test_pays_strictly_inside_a_distance_of_50(goal, reward):
    assert with_goals(MovingBandits(), [goal, (0, 0)]).step(np.int64(0))[1] == reward
    assert with_goals(MovingBanditsVector(1), [goal, (0, 0)]).step(np.array([0]))[1] == [reward]


def test_goals_are_uniform_and_independent():
    vector = MovingBanditsVector(4000)
    observation, _ = vector.reset(seed=1)
    assert (observation[:, :2] == 0.5).all()
    goals = observation[:, 2:].astype(np.float64)
    assert goals.min() >= 0
    assert goals.max() <= 1
    counts = np.stack([np.histogram(column, 10, (0, 1))[0] for column in goals.T])
    assert np.abs(counts - 400).max() < 5 * np.sqrt(4000 * 0.1 * 0.9)
    assert np.abs(np.corrcoef(goals.T) - np.eye(4)).max() < 5 / np.sqrt(4000)


def test_goals_move_at_each_reset_and_the_task_is_not_observed():
    env = MovingBandits()
    first, _ = env.reset(seed=3, options={"task": TASKS[0]})
    second, _ = env.reset()
    again, _ = env.reset(seed=3, options={"task": TASKS[1]})
    assert not np.array_equal(first[2:], second[2:])
    np.testing.assert_array_equal(first, again)


def test_truncates_after_50_steps():
    env = gym.make(ID)
    env.reset(seed=0)
    assert [env.step(np.int64(0))[2:4] for _ in range(STEPS)] == [(False, False)] * 49 + [(False, True)]
    vector = gym.make_vec(ID, 3)
    vector.reset(seed=0)
    ends = np.stack([np.stack(vector.step(np.zeros(3, int))[2:4]) for _ in range(STEPS)])
    assert not ends[:-1].any()
    assert ends[-1].tolist() == [[False] * 3, [True] * 3]


@pytest.mark.parametrize("make", [MovingBandits, lambda: MovingBanditsVector(2)], ids=["single", "vector"])
def test_a_bare_reset_keeps_the_task(make):
    env = make()
    env.reset(seed=0, options={"task": TASKS[1]})
    env.reset()
    env.reset(seed=5, options={})
    assert env.task in (TASKS[1], [TASKS[1]] * 2)


@pytest.mark.parametrize("task", TASKS)
def test_tasks_go_through_json_and_pickle(task):
    env = MovingBandits()
    assert env.task_from_json(json.loads(json.dumps(env.task_to_json(task)))) == task
    assert pickle.loads(pickle.dumps(task)) == task
    assert hash(copy.copy(task)) == hash(task)
    assert str(task) == f"MovingBanditsTask(goal={task.goal})"


def test_tasks_are_drawn_evenly_and_listed():
    env = MovingBandits()
    rng = np.random.default_rng(0)
    share = np.mean([env.sample_task(rng) == TASKS[1] for _ in range(2000)])
    assert abs(share - 0.5) < 3 * 0.5 / np.sqrt(2000)
    assert env.tasks() == TASKS
    assert env.task == TASKS[0]


@pytest.mark.parametrize("make", [MovingBandits, lambda: MovingBanditsVector(2)], ids=["single", "vector"])
@pytest.mark.parametrize(
    ("use", "says"),
    [
        (lambda env: env.reset(options={"task": MovingBanditsTask(2)}), r"no task .*goal=2.* it has: .*goal=0.*goal=1"),
        (lambda env: env.reset(options={"task": "left"}), r"no task "),
        (lambda env: env.task_from_json({"goal": 7}), r"no task \{'goal': 7\}; it has"),
        (lambda env: env.task_from_json({"place": 0}), r"no task \{'place': 0\}"),
        (lambda env: env.task_from_json([0]), r"no task "),
        (lambda env: env.sample_task(np.random.default_rng(0), "test"), r"no tasks in split 'test'; it has: train"),
        (lambda env: env.sample_task(np.random.default_rng(0), "held-out"), r"no tasks in split 'held-out'"),
    ],
    ids=[
        "no such goal",
        "not a task",
        "no such goal in JSON",
        "no such field",
        "not an object",
        "no such split",
        "empty split",
    ],
)
def test_refuses_tasks_and_splits_that_do_not_exist(make, use, says):
    env = make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=says):
        use(env)


@pytest.mark.parametrize("action", [5, -1, 0.5, None])
def test_refuses_other_actions(action):
    env = MovingBandits()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="an integer from 0 to 4"):
        env.step(action)


@pytest.mark.parametrize("actions", [[0, 5], [-1, 0], [0], [0, 0, 0], [0.5, 0.0]])
def test_vector_refuses_other_actions(actions):
    vector = MovingBanditsVector(2)
    vector.reset(seed=0)
    with pytest.raises(ValueError, match="2 integers from 0 to 4"):
        vector.step(np.array(actions))


def test_refuses_another_render_mode():
    with pytest.raises(ValueError, match="None, 'human' or 'rgb_array', not 'ansi'"):
        MovingBandits(render_mode="ansi")


@pytest.mark.parametrize("task", TASKS)
def test_the_picture_shows_which_goal_pays(task):
    env = with_goals(gym.make(ID, render_mode="rgb_array"), [(80, 100), (330, 280)], options={"task": task})
    picture = env.render()
    assert picture.dtype == np.uint8
    assert picture.shape == (300, 300, 3)
    assert pixel(picture, 200, 200).max() < 60, "the agent is dark"
    white = pixel(picture, 200, 30)
    for goal, (x, y) in enumerate([(80, 100), (330, 280)]):
        disc = np.stack([pixel(picture, x + dx, y + dy) for dx, dy in [(30, 0), (-30, 0), (0, 30), (0, -30)]])
        assert (disc != white).any(-1).tolist() == [goal == task.goal] * 4
    before = picture.copy()
    env.step(np.int64(1))
    assert (before != env.render()).any()


def pixel(picture, x, y):
    """The square's places in a picture that shows -100 to 500 with y up."""
    side = len(picture) / 600
    return picture[int((500 - y) * side), int((x + 100) * side)]


def test_the_levels_of_play():
    """Random actions earn 2.4, and the shortest way to the goal that pays 43.8 (computed from the released rules)."""
    lanes = 4000
    rng = np.random.default_rng(0)
    tasks = [TASKS[i] for i in rng.integers(2, size=lanes)]
    vector = MovingBanditsVector(lanes)

    vector.reset(seed=0, options={"task": tasks})
    close_to(sum(vector.step(rng.integers(5, size=lanes))[1] for _ in range(STEPS)), 2.4)

    observation, _ = vector.reset()
    goals = np.float64(observation[:, 2:].reshape(-1, 2, 2) * 400)
    across, up = nearest_moves(goals[np.arange(lanes), [task.goal for task in tasks]]).T
    returns = np.zeros(lanes)
    for t in range(STEPS):
        along_x, along_y = t < np.abs(across), t < np.abs(across) + np.abs(up)
        action = np.where(along_x, np.where(across > 0, 1, 2), np.where(along_y, np.where(up > 0, 3, 4), 0))
        returns += vector.step(action)[1]
    close_to(returns, 43.8)


def close_to(returns, level):
    """Within three standard errors, and the rounding of the level."""
    assert abs(returns.mean() - level) < 3 * returns.std() / np.sqrt(len(returns)) + 0.05


def nearest_moves(goals):
    """Fewest moves along x and y that reach a goal, by trying all: (B, 2) -> (B, 2)."""
    moves = np.arange(-10, 11)
    grid = np.stack(np.meshgrid(moves, moves, indexing="ij"), -1).reshape(-1, 2)
    reaches = ((200 + 20 * grid - goals[:, None]) ** 2).sum(-1) < 2500
    return grid[np.where(reaches, np.abs(grid).sum(-1), 99).argmin(-1)]
