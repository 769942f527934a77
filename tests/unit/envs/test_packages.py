"""Families made of other packages' environments: their tasks, what is seen, rewards, and the sentence without the package."""

import sys

import gymnasium as gym
import numpy as np
import pytest

import mlsh_envs
from mlsh_mpi.errors import UserError
from mlsh_mpi.sampling.environment_check import check_environment
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.task_family import TaskFamily

MAZES = [name for name in mlsh_envs.PACKAGES if "Maze" in name]


@pytest.mark.parametrize("name", [name for name in mlsh_envs.PACKAGES if "Large" not in name])
def test_the_trainer_accepts_it(name):
    maker = EnvironmentMaker(f"mlsh/{name}-v0", None)
    family = TaskFamily.from_maker(maker)
    assert family.episode_length == mlsh_envs.PACKAGES[name][1]
    assert check_environment(maker, family).notes == []
    assert not {str(task) for task in family.tasks} & {str(task) for task in family.listed("held-out")}


@pytest.mark.parametrize("name", MAZES)
def test_mazes_reward_the_goal_alone_and_do_not_show_it(name):
    env = gym.make(f"mlsh/{name}-v0")
    maze = env.unwrapped
    for split in ("train", "held-out"):
        for task in env.get_wrapper_attr("tasks")(split):
            seen = [env.reset(seed=0, options={"task": task})[0]]
            at = maze.maze.cell_rowcol_to_xy(task["goal_cell"])
            assert np.abs(maze.goal - at).max() <= maze.position_noise_range * maze.maze.maze_size_scaling
            np.testing.assert_allclose(seen[0][:2], maze.reset_pos, atol=0.1)  # where it is comes first
            observation, reward, *_ = env.step(np.zeros(env.action_space.shape, np.float32))
            assert reward == float(np.linalg.norm(observation[:2] - maze.goal) <= 0.45)
    first, second = (env.reset(seed=0, options={"task": task})[0] for task in env.get_wrapper_attr("tasks")()[:2])
    assert first.shape == second.shape
    np.testing.assert_allclose(first[2:], second[2:], atol=1e-6)


def test_primitives_do_not_see_where_a_point_is():
    maker = EnvironmentMaker("mlsh/PointMazeUMaze-v0", None)
    env, columns = maker.single(), TaskFamily.from_maker(maker).primitive_columns
    maze = env.unwrapped
    for task in env.get_wrapper_attr("tasks")():
        observation, _ = env.reset(seed=0, options={"task": task})
        np.testing.assert_array_equal(observation[:4], [*maze.point_env.data.qpos] * 2)
        np.testing.assert_array_equal(observation[columns], maze.point_env.data.qvel)


def test_primitives_of_an_open_field_fit_the_mazes():
    field, maze = (TaskFamily.from_maker(EnvironmentMaker(f"mlsh/{name}-v0", None)) for name in ("AntOpenField", "AntMazeUMaze"))
    assert field.primitive_columns.tolist() == maze.primitive_columns.tolist() == list(range(2, 29))
    assert field.observation_size == maze.observation_size
    assert field.action_space == maze.action_space


def test_the_goal_of_four_rooms_is_the_task():
    env = gym.make("mlsh/GridFourRooms-v0")
    for goal in env.get_wrapper_attr("tasks")():
        env.reset(seed=3, options={"task": goal})
        assert type(env.unwrapped.grid.get(*goal)).__name__ == "Goal"


@pytest.mark.parametrize("name", ["GridDoorKey", "GridMultiRoom"])
def test_a_task_is_one_layout(name):
    env = gym.make(f"mlsh/{name}-v0")

    def layout(task, seed):
        env.reset(seed=seed, options={"task": task})
        return env.unwrapped.grid.encode().tolist()

    one, other = env.get_wrapper_attr("tasks")()[:2]
    assert layout(one, 0) == layout(one, 1)
    assert layout(one, 0) != layout(other, 0)


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("AntMazeUMaze", "gymnasium_robotics", "robotics"), ("GridDoorKey", "minigrid", "minigrid")]
)
def test_without_the_package_the_sentence_names_its_extra(monkeypatch, name, package, extra):
    for module in [module for module in sys.modules if module.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"pip install 'mlsh_mpi\[{extra}\]'"):
        EnvironmentMaker(f"mlsh/{name}-v0", None).single()
