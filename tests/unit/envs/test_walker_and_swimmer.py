"""The planar walker and the swimmer: Gymnasium's bodies, rewards against a second account, bars and targets."""

import gymnasium as gym
import mujoco
import numpy as np
import pytest

from environments import made_vector
from mlsh_envs import SwimmerBandits, SwimmerBanditsTask, WalkerObstacles, WalkerObstaclesTask


def test_the_walker_is_gymnasiums():
    env, original = WalkerObstacles(), gym.make("Walker2d-v5", xml_file="walker2d.xml", frame_skip=4).unwrapped
    observation, _ = env.reset(seed=0)
    original.reset(seed=0)
    original.set_state(env.world.qpos[0], env.world.qvel[0])
    rng = np.random.default_rng(0)
    for _ in range(50):
        np.testing.assert_allclose(observation, original._get_obs(), atol=1e-5)
        action = rng.uniform(-1, 1, 6)
        observation = env.step(action)[0]
        original.do_simulation(action, 4)
    assert env.world.dt == original.dt == 0.008


def test_the_walker_is_paid_for_speed_ahead_and_upwards():
    env = WalkerObstacles()
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for scale in (0.5, 3.0):
        before = env.world.qpos[0, :2].copy()
        action = scale * rng.uniform(-1, 1, 6)
        _, reward, terminated, _, _ = env.step(action)
        assert reward == pytest.approx((env.world.qpos[0, :2] - before).sum() / 0.008 - 1e-3 * (action**2).sum())
        assert not terminated


@pytest.mark.parametrize("bars", ["0000", "1000", "0101", "1111"])
def test_the_bars_that_stand_are_those_of_the_task(bars):
    env = WalkerObstacles()
    env.reset(seed=0, options={"task": WalkerObstaclesTask(bars)})
    model = env.world.models[0]
    found = {}
    for i in range(model.ngeom):
        if model.geom(i).name.startswith("bar"):
            found[float(model.geom(i).pos[0])] = float(model.geom(i).pos[2] + model.geom(i).size[2])
    assert found == {x: pytest.approx(0.725) for x, bar in zip((6, 12, 18, 24), bars, strict=True) if bar == "1"}


@pytest.mark.parametrize(("bars", "passes"), [("0000", True), ("1000", False)])
def test_a_bar_stops_what_does_not_jump(bars, passes):
    env = WalkerObstacles()
    env.reset(seed=0, options={"task": WalkerObstaclesTask(bars)})
    data = env.world.datas[0]
    for _ in range(500):
        data.qfrc_applied[0] = 1000 * (3 - data.qvel[0])  # dragged along at 3 m/s
        env.step(np.zeros(6))
    assert (env.world.qpos[0, 0] > 7.5) == passes


def test_velocities_are_observed_within_ten():
    env = WalkerObstacles()
    env.reset(seed=0)
    env.world.qvel[0] = 50
    assert env.world.observe()[0, 8:].tolist() == [10] * 9


def test_the_swimmer_is_gymnasiums():
    env, original = SwimmerBandits(), gym.make("Swimmer-v5").unwrapped
    env.reset(seed=0)
    original.reset(seed=0)
    original.set_state(env.world.qpos[0], env.world.qvel[0])
    rng = np.random.default_rng(0)
    for _ in range(50):
        action = rng.uniform(-1, 1, 2)
        observation = env.step(action)[0]
        original.do_simulation(action, 4)
    np.testing.assert_allclose(observation, np.concatenate((original.data.qpos, original.data.qvel)), rtol=1e-4, atol=1e-4)
    assert env.world.dt == original.dt == 0.04


def test_the_swimmer_is_charged_for_its_middles_distance():
    env = SwimmerBandits()
    env.reset(seed=0, options={"task": SwimmerBanditsTask(3.0, 1.0)})
    for scale in (0.5, 3.0):
        action = scale * np.array([1.0, -0.5])
        for _ in range(10):
            reward = env.step(action)[1]
        model, data = env.world.models[0], env.world.datas[0]
        mujoco.mj_kinematics(model, data)
        middle = data.body("mid").xipos[:2]
        np.testing.assert_allclose(env.world.middle()[0], middle, atol=1e-9)
        distance = np.hypot(*(middle - (3, 1)))
        assert reward == pytest.approx(-(distance + 1e-4 * (action**2).sum()) / 1000)
    np.testing.assert_array_equal(env.world.mocap[0][0, :2], (3, 1))


def test_swimmers_targets_are_uniform_in_the_field():
    vector, rng = made_vector("mlsh/SwimmerBandits-v0", 2), np.random.default_rng(0)
    targets = np.array([(task.x, task.y) for task in (vector.sample_task(rng) for _ in range(2000))])
    counts = np.stack([np.histogram(column, 10, (0, 5))[0] for column in targets.T])
    assert np.abs(counts - 200).max() < 5 * np.sqrt(200 * 0.9)
    with pytest.raises(ValueError, match="with x and y from 0 to 5"):
        vector.reset(options={"task": SwimmerBanditsTask(5.1, 0)})
