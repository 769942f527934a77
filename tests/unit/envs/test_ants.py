"""The ant and its worlds: rewards against a second account, what happens at ends, walls and enemies, and that a walker wins.

Long: five worlds of one body.
"""

import copy

import gymnasium as gym
import mujoco
import numpy as np
import pytest

from environments import ANTS, made_vector
from mlsh_envs import (
    AntBigCourse,
    AntMaze,
    AntMazeTask,
    AntMovement,
    AntMovementTask,
    AntObstacleCourse,
    AntObstacleCourseTask,
    AntTwowalk,
    AntTwowalkTask,
    HumanoidWalkCrawl,
)
from mlsh_envs.ant import MASS
from mlsh_envs.ant_course import BIG, OBSTACLES
from mlsh_envs.ant_maze import BLOCK, HELD_OUT, TRAIN
from mlsh_envs.maze_maps import CELL, layout
from scripted import AntWalker, ant_route

STILL = np.zeros(8)


def placed(env, x, y, z=0.75):
    """The ant at rest somewhere."""
    qpos = env.world.start_qpos.copy()
    qpos[:3] = x, y, z
    env.world.place(0, qpos, np.zeros(14))
    return env


def up(observation):
    """The torso's own z axis along the world's: 1 upright, -1 on its back. (L, 29) -> (L,)."""
    w, x, y, z = observation[:, 3:7].T
    return 1 - 2 * (x * x + y * y) / (w * w + x * x + y * y + z * z)


def test_the_ant_is_gymnasiums_made_heavier():
    env, original = AntTwowalk(), gym.make("Ant-v5").unwrapped
    env.reset(seed=0)
    mujoco.mj_setTotalmass(original.model, MASS)
    mujoco.mj_setConst(original.model, original.data)
    assert mujoco.mj_getTotalmass(env.world.models[0]) == pytest.approx(MASS)
    original.set_state(env.world.qpos[0], env.world.qvel[0])
    rng = np.random.default_rng(0)
    for _ in range(20):
        action = rng.uniform(-1, 1, 8)
        env.step(action)
        original.do_simulation(action, 5)
    np.testing.assert_allclose(env.world.qpos[0], original.data.qpos, atol=1e-6)
    assert env.world.dt == original.dt == 0.05


@pytest.mark.parametrize("id_", ANTS)
def test_the_observation_is_position_then_velocity(id_):
    env = gym.make(id_).unwrapped
    observation, _ = env.reset(seed=0)
    data = env.world.datas[0]
    np.testing.assert_array_equal(observation, np.concatenate((data.qpos, data.qvel)).astype(np.float32))
    noise = data.qpos - env.world.start_qpos
    assert 0.01 < np.abs(noise).max() <= 0.2
    assert np.linalg.norm(data.qpos[3:7]) == pytest.approx(1)
    for _ in range(3):
        observation = env.step(env.action_space.sample())[0]
    np.testing.assert_array_equal(observation, np.concatenate((data.qpos, data.qvel)).astype(np.float32))


@pytest.mark.parametrize("target", [0, 1])
def test_twowalk_charges_for_the_root_of_the_distance(target):
    env = AntTwowalk()
    env.reset(seed=0, options={"task": AntTwowalkTask(target)})
    goal = [(5.09, -0.09, 1.01), (0.09, 4.91, 1.01)][target]
    for _ in range(5):
        reward = env.step(env.action_space.sample())[1]
        model, data = env.world.models[0], mujoco.MjData(env.world.models[0])
        data.qpos[:] = env.world.qpos[0]
        mujoco.mj_forward(model, data)
        centre = (model.body_mass[:, None] * data.xipos).sum(0) / model.body_mass.sum()
        assert reward == pytest.approx(-np.sqrt(np.linalg.norm(centre - goal)) / 3000)


def test_standing_still_in_twowalk_costs_what_it_should():
    vector = made_vector("mlsh/AntTwowalk-v0", 20)
    vector.reset(seed=0, options={"task": [AntTwowalkTask(i % 2) for i in range(20)]})
    returns = sum(vector.step(np.zeros((20, 8)))[1] for _ in range(1000))
    assert returns.mean() == pytest.approx(-0.745, abs=0.01)


@pytest.mark.parametrize("axis", "xy")
def test_movement_pays_for_speed_along_its_axis(axis):
    env = AntMovement()
    env.reset(seed=0, options={"task": AntMovementTask(axis)})
    for scale in (0.5, 3.0):
        before = env.world.qpos[0, :2].copy()
        action = scale * np.linspace(-1, 1, 8)
        reward = env.step(action)[1]
        moved = env.world.qpos[0, :2] - before
        own, other = (0, 1) if axis == "x" else (1, 0)
        cost = 0.1 * (action**2).sum()  # in full, though the motors clip
        assert reward == pytest.approx(moved[own] / 0.05 - cost - 0.5 * abs(env.world.qpos[0, other]))


@pytest.mark.parametrize("maze", ["enn", "ss"])
def test_mazes_pay_for_speed_towards_the_goal_on_both_axes(maze):
    env = AntMaze()
    env.reset(seed=0, options={"task": AntMazeTask(maze)})
    goal = np.array(layout(maze).goal)
    for x, y in ((8, 0), (23.5, 4), (24.5, -4)):
        placed(env, x, y)
        before = env.world.qpos[0, :2].copy()
        action = np.linspace(-1, 2, 8)
        reward = env.step(action)[1]
        velocity = (env.world.qpos[0, :2] - before) / 0.05
        assert reward == pytest.approx(velocity @ np.sign(goal - before) - 0.1 * (action**2).sum())


def test_motors_clip_what_is_beyond_their_bounds():
    one, other = AntTwowalk(), AntTwowalk()
    for env, scale in ((one, 1), (other, 7)):
        env.reset(seed=0)
        for _ in range(10):
            observation = env.step(scale * np.array([1, -1] * 4))[0]
        env.seen = observation
    np.testing.assert_array_equal(one.seen, other.seen)


@pytest.mark.parametrize(("make", "interval"), [(AntMaze, 200), (AntObstacleCourse, 200), (AntBigCourse, 300)])
def test_the_ant_is_set_upright_at_its_interval_and_not_before(make, interval):
    env = make()
    env.reset(seed=0)
    quat = [0.0, 1.0, 0.0, 0.0]  # on its back
    qpos = env.world.start_qpos.copy()
    qpos[:2] += (3, 1)
    qpos[3:7] = quat
    env.world.place(0, qpos, np.zeros(14))
    for _ in range(interval - 1):
        observation = env.step(STILL)[0]
    assert up(observation[None])[0] < 0
    place = observation[:2].copy()
    observation = env.step(STILL)[0]
    assert up(observation[None])[0] > 0.9
    assert np.abs(observation[:2] - place).max() < 0.2
    for _ in range(interval - 1):
        observation = env.step(STILL)[0]
    assert up(observation[None])[0] > 0.9


@pytest.mark.parametrize("make", [AntTwowalk, AntMovement, lambda: AntMaze(upright_interval=None)])
def test_elsewhere_a_fallen_ant_stays_fallen(make):
    env = make()
    env.reset(seed=0)
    qpos = env.world.start_qpos.copy()
    qpos[3:7] = 0, 1, 0, 0
    env.world.place(0, qpos, np.zeros(14))
    for _ in range(400):
        observation = env.step(STILL)[0]
    assert up(observation[None])[0] < 0


def test_random_actions_do_not_throw_the_ant_on_its_back():
    lanes = 8
    vector = made_vector("mlsh/AntTwowalk-v0", lanes)
    vector.reset(seed=0)
    rng = np.random.default_rng(0)
    upright = [up(vector.step(rng.standard_normal((lanes, 8)))[0]) > 0.3 for _ in range(1000)]
    assert np.mean(upright) > 0.95


@pytest.mark.parametrize(("make", "course"), [(AntObstacleCourse, OBSTACLES), (AntBigCourse, BIG)])
def test_the_enemy_chases_in_its_territory_and_waits_outside(make, course):
    env = make()
    env.reset(seed=0)
    home = np.array(course.enemy)
    env.step(STILL)
    assert env.world.enemy[0].tolist() == home.tolist()
    placed(env, home[0], home[1] - 14.5)
    by_hand = home.copy()
    for _ in range(9):
        before = env.world.qpos[0, :2].copy()
        if ((before - home) ** 2).sum() < 15**2:
            by_hand += np.sign(before - by_hand)
        env.step(STILL)
        np.testing.assert_array_equal(env.world.enemy[0], by_hand)
        np.testing.assert_array_equal(env.world.datas[0].body("enemy").xpos[:2], by_hand)
    assert (by_hand != home).any()
    placed(env, *course.start)
    for _ in range(5):
        env.step(STILL)
    np.testing.assert_array_equal(env.world.enemy[0], by_hand)
    env.reset()
    assert env.world.enemy[0].tolist() == home.tolist()


def test_the_enemy_guards_its_territory_and_throws_nobody_over_the_walls():
    lanes = 8
    vector = made_vector("mlsh/AntObstacleCourse-v0", lanes)
    vector.reset(seed=0)
    starts = np.linspace(-1.5, 8, lanes)
    for lane, x in enumerate(starts):
        qpos = vector.world.start_qpos.copy()
        qpos[:2] = x, 2
        vector.world.place(lane, qpos, np.zeros(14))
    straight = AntWalker([[(x, 38.0)] for x in starts], vector.world.dt)
    observation = vector.world.observe()
    for _ in range(800):  # twice the time that the way takes
        observation, _, terminated, _, _ = vector.step(straight(observation))
        assert not terminated.any()
        assert (observation[:, 1] < 30).all()
        assert ((observation[:, :2] > -3) & (observation[:, :2] < 40)).all()
        assert np.abs(observation[:, 15:18]).max() < 10


@pytest.mark.parametrize(
    ("make", "places"),
    [
        (AntObstacleCourse, {(38, 38): 1, (37.1, 38.9): 1, (36.9, 38): 0, (38, 36.9): 0, (0, 0): 0}),
        (AntBigCourse, {(35, -35): 1, (30, -35): 1, (35, -29.3): 0, (29, -35): 0, (-35, 15): 0}),
    ],
)
def test_courses_pay_at_their_goal_and_only_there(make, places):
    env = make()
    for (x, y), pays in places.items():
        env.reset(seed=0)
        placed(env, x, y)
        assert env.step(STILL)[1] == pays


def walk(id_, tasks, seed=0, near=1.0):
    """Returns and last positions of the scripted walker, one lane a task, and whether any lane ended early."""
    vector = made_vector(id_, len(tasks))
    observation, _ = vector.reset(seed=seed, options={"task": list(tasks)})
    walker = AntWalker([ant_route(task) for task in tasks], vector.world.dt, near)
    returns, ended = np.zeros(len(tasks)), np.zeros(len(tasks), bool)
    for _ in range(vector.max_episode_steps):
        observation, reward, terminated, _, _ = vector.step(walker(observation))
        returns += reward
        ended |= terminated
    assert not ended.any()
    return returns, observation[:, :2]


def test_a_walker_gets_to_both_targets_of_twowalk():
    tasks = [AntTwowalkTask(i % 2) for i in range(4)]
    returns, _ = walk("mlsh/AntTwowalk-v0", tasks)
    assert (returns > -0.386).all(), "the paper's best"


def test_a_walker_solves_every_maze():
    mazes = [*TRAIN, *HELD_OUT]
    returns, places = walk("mlsh/AntMaze-v0", [AntMazeTask(maze) for maze in mazes])
    away = np.linalg.norm(places - [layout(maze).goal for maze in mazes], axis=1)
    assert (away < 4).all(), dict(zip(mazes, away.round(1), strict=True))
    assert (returns > 250).all(), dict(zip(mazes, returns.round(), strict=True))


@pytest.mark.parametrize("make", [AntObstacleCourse, AntBigCourse])
def test_a_walker_gets_past_the_enemy_to_the_goal(make):
    returns, _ = walk(f"mlsh/{make.__name__}-v0", [make().task] * 2)
    assert (returns > 193).all(), "the paper's table"


def test_a_walker_runs_along_both_axes():
    _, places = walk("mlsh/AntMovement-v0", [AntMovementTask("x"), AntMovementTask("y")])
    assert places[0, 0] > 20
    assert places[1, 1] > 20


@pytest.mark.parametrize("speed", [1e7, 1e12, np.inf, np.nan])
@pytest.mark.parametrize("integrator", ["RK4", "implicitfast"])
def test_physics_that_blew_up_ends_the_episode_and_nothing_else(speed, integrator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where MuJoCo writes of it
    vector = made_vector("mlsh/AntTwowalk-v0", 3, integrator=integrator)
    vector.reset(seed=0)
    twin = copy.deepcopy(vector)
    vector.world.datas[1].qvel[:] = speed
    observation, reward, terminated, _, _ = vector.step(np.zeros((3, 8)))
    expected, rewards, *_ = twin.step(np.zeros((3, 8)))
    assert terminated.tolist() == [False, True, False]
    assert np.isfinite(observation).all()
    assert reward[1] == 0
    np.testing.assert_array_equal(observation[[0, 2]], expected[[0, 2]])
    np.testing.assert_array_equal(reward[[0, 2]], rewards[[0, 2]])
    assert not vector.step(np.zeros((3, 8)))[2].any()


def test_the_ant_does_not_fit_between_two_blocks():
    """The paper's gaps are 0.8 m wide: walkers head into one, four to each side, for 15 s."""
    tasks = [AntMazeTask("eee")] * 8
    vector = made_vector("mlsh/AntMaze-v0", len(tasks))
    vector.reset(seed=3, options={"task": tasks})
    routes = []
    for lane in range(len(tasks)):
        side = 1 if lane % 2 else -1
        qpos = vector.world.start_qpos.copy()
        qpos[:2] = CELL + 0.1 * (lane - 4), 5.0 * side
        vector.world.place(lane, qpos, np.zeros(14))
        routes.append([(CELL, 30.0 * side)])
    walker, deepest = AntWalker(routes, vector.world.dt), 0.0
    observation = vector.world.observe()
    for _ in range(300):
        observation = vector.step(walker(observation))[0]
        deepest = max(deepest, np.abs(observation[:, 1]).max())
    assert deepest < CELL - BLOCK + 1


def test_frame_skip_and_integrator_are_settings():
    env = gym.make("mlsh/AntTwowalk-v0", frame_skip=2).unwrapped
    assert env.world.dt == pytest.approx(0.02)
    assert (env.metadata["render_fps"], AntTwowalk().metadata["render_fps"]) == (50, 20)
    ends = {}
    for integrator in ("RK4", "Euler", "implicit", "implicitfast"):
        env = gym.make("mlsh/AntTwowalk-v0", integrator=integrator)
        env.reset(seed=0)
        for _ in range(40):
            observation = env.step(np.full(8, 0.3, np.float32))[0]
        ends[integrator] = tuple(observation.tolist())
    assert len(set(ends.values())) >= 3
    assert np.abs(np.subtract(ends["RK4"], ends["implicitfast"]))[:3].max() < 0.5


@pytest.mark.parametrize("make", [AntMaze, AntTwowalk, HumanoidWalkCrawl])
def test_the_timestep_is_a_setting(make):
    """The paper's mazes take 0.005 s a step of the physics, ours 0.01 s."""
    own, usual = make(timestep=0.0015), make()
    assert own.world.dt == pytest.approx(5 * 0.0015)
    assert usual.world.dt == pytest.approx(0.015 if make is HumanoidWalkCrawl else 0.05)
    assert own.world.models[0].opt.timestep == 0.0015 != usual.world.models[0].opt.timestep
    own.reset(seed=0)
    for _ in range(3):
        own.step(np.zeros(own.action_space.shape, np.float32))
    assert own.world.datas[0].time == pytest.approx(3 * own.world.dt)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"frame_skip": 0}, "frame_skip must be an integer, at least 1, not 0"),
        ({"frame_skip": 2.5}, "frame_skip must be an integer, at least 1, not 2.5"),
        ({"integrator": "RK5"}, "one of RK4, Euler, implicit, implicitfast, not 'RK5'"),
        ({"timestep": 0}, "timestep must be greater than 0 and at most 0.1 seconds, not 0"),
        ({"timestep": 0.2}, "at most 0.1 seconds, not 0.2"),
        ({"timestep": float("nan")}, "at most 0.1 seconds, not nan"),
        ({"timestep": "fast"}, "at most 0.1 seconds, not 'fast'"),
        ({"camera": "top"}, "'follow' or 'overview', not 'top'"),
        ({"upright_interval": 0}, "upright_interval must be an integer, at least 1, not 0"),
    ],
)
def test_refuses_settings_that_make_no_sense(settings, says):
    with pytest.raises(ValueError, match=says):
        AntMaze(**settings)


def test_the_ground_is_known_as_seen_from_above():
    def ground(name, task):
        env = gym.make(f"mlsh/{name}-v0").unwrapped
        walls, goals = env.ground(task)
        return walls.tolist(), goals.tolist()

    assert ground("AntTwowalk", AntTwowalkTask(1)) == ([], [[0.09, 4.91]])
    walls, goals = ground("AntMaze", AntMazeTask("ess"))
    assert goals == [[24.0, -24.0]]
    assert [24 - 7.6, 24 + 7.6, 16 - 7.6, 16 + 7.6] in walls  # the block north of the path
    assert not [wall for wall in walls if wall[0] < 24 < wall[1] and wall[2] < 0 < wall[3]]
    assert ground("AntObstacleCourse", AntObstacleCourseTask())[1] == [[38.0, 38.0]]
    assert ground("AntMovement", AntMovementTask("x")) == ([], [])
