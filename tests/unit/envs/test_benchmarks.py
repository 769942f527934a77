"""The task families of the meta-learning literature: their rewards by formula, tasks, horizons."""

import gymnasium as gym
import numpy as np
import pytest

import mlsh_envs
from mlsh_mpi.sampling.environment_check import check_environment
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.task_family import TaskFamily

NAMES = list(mlsh_envs.BENCHMARKS)


def steps_of(name, task, count=5):
    """Action, reward and info of some steps, and the environment."""
    env = gym.make(f"mlsh/{name}-v0")
    env.reset(seed=1, options={"task": task})
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(count)]
    return env, [(action, *np.array(env.step(action), object)[[1, 4]]) for action in actions]


@pytest.mark.parametrize("name", NAMES)
def test_the_trainer_accepts_it_and_an_episode_has_200_steps(name):
    maker = EnvironmentMaker(f"mlsh/{name}-v0", None)
    family = TaskFamily.from_maker(maker)
    assert family.episode_length == 200
    assert check_environment(maker, family).notes == []
    assert family.sample_task(np.random.default_rng(0), "train") is not None


@pytest.mark.parametrize("direction", [1, -1])
def test_half_cheetah_dir(direction):
    for action, reward, info in steps_of("HalfCheetahDir", direction)[1]:
        assert reward == pytest.approx(direction * info["x_velocity"] - 0.05 * (action**2).sum())


def test_half_cheetah_vel():
    for action, reward, info in steps_of("HalfCheetahVel", 1.5)[1]:
        assert reward == pytest.approx(-abs(info["x_velocity"] - 1.5) - 0.05 * (action**2).sum())


@pytest.mark.parametrize(("angle", "sign"), [(0, 1), (180, -1)])
def test_ant_dir(angle, sign):
    env, seen = steps_of("AntDir", angle)
    assert env.observation_space.shape == (27,)
    for action, reward, info in seen:
        costs = 0.5 * (action**2).sum() - info["reward_contact"]
        assert reward == pytest.approx(sign * info["x_velocity"] + 1 - costs)


def test_ant_goal():
    env, seen = steps_of("AntGoal", [1.0, -2.0])
    assert env.observation_space.shape == (29,)
    for action, reward, info in seen:
        distance = abs(info["x_position"] - 1) + abs(info["y_position"] + 2)
        assert reward == pytest.approx(-distance - 0.1 * (action**2).sum())
    rng = np.random.default_rng(0)
    goals = np.array([env.get_wrapper_attr("sample_task")(rng) for _ in range(2000)])
    radii = np.hypot(*goals.T)
    assert radii.max() <= 3
    assert (radii < 1.5).mean() == pytest.approx(0.25, abs=0.04)  # even over the disc


@pytest.mark.parametrize(("name", "of"), [("Walker2dRandParams", "Walker2d-v5"), ("HopperRandParams", "Hopper-v5")])
def test_random_parameters_come_from_the_seed_and_do_not_add_up(name, of):
    nominal, env = gym.make(of).unwrapped.model, gym.make(f"mlsh/{name}-v0")
    masses = []
    for seed in (3, 4, 3):
        env.reset(seed=0, options={"task": seed})
        model = env.unwrapped.model
        factors = model.body_mass[1:] / nominal.body_mass[1:]
        assert (abs(np.log(factors) / np.log(1.5)) <= 3).all()
        masses.append(model.body_mass.copy())
    np.testing.assert_array_equal(masses[0], masses[2])
    assert (masses[0][1:] != masses[1][1:]).all()
    draw = env.get_wrapper_attr("sample_task")
    rng = np.random.default_rng(0)
    assert max(draw(rng) for _ in range(50)) < 1_000_000 <= min(draw(rng, "held-out") for _ in range(50))
