"""The humanoid and its two worlds: Gymnasium's body and observation, rewards against a second account, slabs and ends."""

import gymnasium as gym
import mujoco
import numpy as np
import pytest

from environments import HUMANOIDS, made_vector
from mlsh_envs import HumanoidCombination, HumanoidWalkCrawl, HumanoidWalkCrawlTask

WALK, CRAWL = HumanoidWalkCrawlTask("walk"), HumanoidWalkCrawlTask("crawl")
STILL = np.zeros(17)


def moved(env, x, lying=False):
    """The humanoid at rest somewhere else, upright or on its back in the air."""
    qpos = env.world.start_qpos.copy()
    qpos[0] = x
    if lying:
        qpos[2:7] = 0.9, np.sqrt(0.5), 0, -np.sqrt(0.5), 0
    env.world.place(0, qpos, np.zeros(23))
    env.world._centre[:] = env.world.centres_of_mass()[:, 0]
    return env


def slab(env):
    """Lowest and highest corner of the slab."""
    geom = env.world.models[0].geom("slab")
    centre = env.world.mocap[0][0]
    return centre - geom.size, centre + geom.size


@pytest.mark.parametrize("make", [HumanoidWalkCrawl, HumanoidCombination])
def test_the_body_is_gymnasiums(make):
    env, original = make(), gym.make("Humanoid-v5").unwrapped
    env.reset(seed=0)
    original.reset(seed=0)
    original.set_state(env.world.qpos[0], env.world.qvel[0])
    env.world.place(0, env.world.qpos[0].copy(), env.world.qvel[0].copy())
    rng = np.random.default_rng(0)
    for _ in range(20):
        action = rng.uniform(-0.4, 0.4, 17)
        env.step(action)
        original.step(action)
        np.testing.assert_allclose(env.world.qpos[0], original.data.qpos, atol=1e-9)
    assert env.world.dt == pytest.approx(original.dt)


@pytest.mark.parametrize("id_", HUMANOIDS)
def test_the_observation_is_place_and_gymnasiums(id_):
    env, original = gym.make(id_).unwrapped, gym.make("Humanoid-v5").unwrapped
    original.reset(seed=0)
    observation, _ = env.reset(seed=3)
    original.set_state(env.world.qpos[0], env.world.qvel[0])
    np.testing.assert_array_equal(observation[:2], env.world.qpos[0, :2].astype(np.float32))
    np.testing.assert_allclose(observation[2:], original._get_obs(), rtol=1e-5, atol=1e-5)
    noise = env.world.qpos[0] - env.world.start_qpos
    assert 0.001 < np.abs(noise).max() <= 0.01
    for _ in range(4):
        action = np.full(17, 0.2)
        observation = env.step(action)[0]
        original.step(action)
    np.testing.assert_allclose(observation[2:47], original._get_obs()[:45], rtol=1e-4, atol=1e-4)
    # Gymnasium leaves these as they were before the last part of the step.
    mujoco.mj_forward(original.model, original.data)
    np.testing.assert_allclose(observation[47:255], original._get_obs()[45:253], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(observation[255:272], original._get_obs()[253:270], rtol=1e-4, atol=1e-4)
    assert np.isfinite(observation).all()


def account(env, action):
    """One step: move of the centre of mass over 0.003 s, the costs, reward and end."""
    world = env.world

    def centre():
        model, data = world.models[0], mujoco.MjData(world.models[0])
        data.qpos[:] = world.qpos[0]
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mass = model.body_mass[1:14]
        return (mass @ data.xipos[1:14] / mass.sum())[0]

    before = centre()
    _, reward, terminated, _, _ = env.step(action)
    impact = min(10.0, 5e-7 * (world.datas[0].cfrc_ext ** 2).sum())
    return (centre() - before) / 0.003, 0.1 * (np.clip(action, -0.4, 0.4) ** 2).sum() + impact, reward, terminated


@pytest.mark.parametrize("scale", [0.3, 2.0])
def test_walking_pays_while_standing(scale):
    env = HumanoidWalkCrawl()
    env.reset(seed=0, options={"task": WALK})
    for _ in range(5):
        speed, costs, reward, terminated = account(env, scale * np.linspace(-1, 1, 17))
        assert reward == pytest.approx(5 + 0.25 * speed - costs)
        assert not terminated
    moved(env, 0, lying=True)
    _, costs, reward, terminated = account(env, STILL)
    assert reward == pytest.approx(-costs)
    assert terminated


def test_crawling_pays_backwards_and_never_ends():
    env = HumanoidWalkCrawl()
    env.reset(seed=0, options={"task": CRAWL})
    ends = []
    for _ in range(120):
        speed, costs, reward, terminated = account(env, STILL)
        assert reward == pytest.approx(-1.5 * speed - costs, abs=1e-6)
        ends.append(terminated)
    assert env.world.qpos[0, 2] < 1, "it has fallen"
    assert not any(ends)


def test_contact_forces_cost():
    env = HumanoidWalkCrawl()
    env.reset(seed=0, options={"task": CRAWL})
    impacts = []
    for _ in range(100):
        env.step(STILL)
        impacts.append((env.world.datas[0].cfrc_ext[1:14] ** 2).sum())
    assert max(impacts) > 1e3


def test_the_slab_lies_where_crawling_goes_and_aside_for_walking():
    env = HumanoidWalkCrawl()
    env.reset(seed=0, options={"task": CRAWL})
    low, high = slab(env)
    np.testing.assert_allclose((low, high), [(-23.5, -11.5, 1), (-0.5, 11.5, 2)])
    env.reset(seed=0, options={"task": WALK})
    low, high = slab(env)
    assert low[1] > 15
    assert high[2] == 2


def test_the_slab_is_solid():
    env = HumanoidWalkCrawl()
    env.reset(seed=0, options={"task": CRAWL})
    moved(env, -5.0)
    contacts = env.world.datas[0].contact.geom
    slab_id = env.world.models[0].geom("slab").id
    assert (contacts == slab_id).any()
    moved(env, 3.0)
    assert not (env.world.datas[0].contact.geom == slab_id).any()


def test_the_combination_turns_once_past_25_and_the_slab_comes_down():
    env = HumanoidCombination()
    env.reset(seed=0)
    assert slab(env)[0][1] > 15
    moved(env, 24.9)
    speed, costs, reward, _ = account(env, STILL)
    assert reward == pytest.approx(5 + 0.25 * speed - costs)
    moved(env, 25.1)
    speed, costs, reward, terminated = account(env, STILL)
    assert reward == pytest.approx(-1.5 * speed - costs, abs=1e-6)
    np.testing.assert_allclose(slab(env), [(0.5, -11.5, 1), (23.5, 11.5, 2)])
    moved(env, 30.0, lying=True)
    speed, costs, reward, terminated = account(env, STILL)
    assert reward == pytest.approx(-1.5 * speed - costs, abs=1e-6)
    assert not terminated
    env.reset(seed=0)
    assert slab(env)[0][1] > 15
    moved(env, 0.0, lying=True)
    assert account(env, STILL)[3], "a new episode walks again"


def test_lanes_turn_each_for_itself():
    vector = made_vector("mlsh/HumanoidCombination-v0", 3)
    vector.reset(seed=0)
    qpos = vector.world.start_qpos.copy()
    qpos[0] = 26
    vector.world.place(1, qpos, np.zeros(23))
    vector.step(np.zeros((3, 17)))
    assert vector.world.crawls.tolist() == [False, True, False]
    assert [pos[0, 1] for pos in vector.world.mocap] == [30, 0, 30]


@pytest.mark.parametrize("integrator", ["RK4", "Euler", "implicitfast"])
@pytest.mark.parametrize("task", [WALK, CRAWL])
def test_half_a_step_in_advance_changes_nothing(integrator, task):
    """Beside the world a simulation takes whole steps: same motion, same forces, and the centre of mass of where it then is."""
    env = HumanoidWalkCrawl(integrator=integrator)
    env.reset(seed=0, options={"task": task})
    world, rng = env.world, np.random.default_rng(0)
    model, whole = world.models[0], mujoco.MjData(world.models[0])
    whole.qpos[:], whole.qvel[:], whole.mocap_pos[:] = world.qpos[0], world.qvel[0], world.mocap[0]
    mujoco.mj_forward(model, whole)  # from which MuJoCo 3.3 remembers where its solver begins
    for _ in range(60):
        action = rng.uniform(-0.4, 0.4, 17)
        observation, *_ = env.step(action)
        whole.ctrl[:] = action
        mujoco.mj_step(model, whole, world.frame_skip)
        mujoco.mj_rnePostConstraint(model, whole)
        np.testing.assert_array_equal(world.qpos[0], whole.qpos)
        np.testing.assert_array_equal(world.qvel[0], whole.qvel)
        np.testing.assert_array_equal(observation[272:], whole.cfrc_ext[1:14].reshape(-1).astype(np.float32))
        now = mujoco.MjData(model)
        now.qpos[:], now.qvel[:] = world.qpos[0], world.qvel[0]
        mujoco.mj_forward(model, now)
        np.testing.assert_allclose(world.centres_of_mass()[0], now.subtree_com[1], rtol=0, atol=1e-12)
        np.testing.assert_allclose(observation[47:177], now.cinert[1:14].reshape(-1), rtol=1e-6, atol=1e-9)
    assert whole.ncon > 0


@pytest.mark.parametrize("make", [HumanoidWalkCrawl, HumanoidCombination])
def test_a_fall_ends_the_episode_only_with_the_macro_action(make):
    env = make(end_interval=5)
    env.reset(seed=0)
    moved(env, 0.0, lying=True)
    paid, ends = zip(*(account(env, STILL)[2:] for _ in range(5)), strict=True)
    assert ends == (False, False, False, False, True)
    assert max(paid) <= 0, "lying costs and does not pay"

    env.reset(seed=0)
    moved(env, 0.0, lying=True)
    for _ in range(3):
        assert not env.step(STILL)[2]
    moved(env, 0.0)
    assert not any(env.step(STILL)[2] for _ in range(2)), "it stands where the macro-action ends"


@pytest.mark.parametrize(("end_interval", "episodes", "least", "most"), [(200, 5, -100, 100), (1000, 1, -600, -200)])
def test_what_exploring_costs_depends_on_where_a_fall_ends_the_episode(end_interval, episodes, least, most):
    """Less than nothing, as the paper's single policy on the combination (-643, Table 1), only where lying goes on for long."""
    env, rng = HumanoidCombination(end_interval=end_interval), np.random.default_rng(0)
    env.reset(seed=0)
    total, falls = 0.0, 0
    for _ in range(1000):
        _, reward, terminated, _, _ = env.step(rng.standard_normal(17))
        total += reward
        if terminated:
            falls += 1
            env.reset()
    assert falls == episodes
    assert least < total / falls < most


def test_refuses_an_interval_that_makes_no_sense():
    with pytest.raises(ValueError, match="end_interval must be an integer, at least 1, not 0"):
        HumanoidWalkCrawl(end_interval=0)
