"""Environments in lock-step: list against array form, what the trainer reads of them, and what it refuses."""

import gymnasium as gym
import numpy as np
import pytest

from mlsh_envs import AntMovementTask, MovingBandits, MovingBanditsTask
from mlsh_mpi.errors import UserError
from mlsh_mpi.lanes import Maker, known_environments, nearest

ID = "mlsh/MovingBandits-v0"
HERE = __name__


class Walk(gym.Env):
    """A user's environment: walk to a place on a line. Keeps what it was told to do."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (4,))
    action_space = gym.spaces.Box(np.array([-1.0, -2.0]), np.array([1.0, 3.0]), dtype=np.float64)
    primitive_observation = slice(1, 3)

    def sample_task(self, rng, split="train"):
        return float(rng.uniform())

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.task = options["task"]
        self.told = []
        return np.zeros(4), {}

    def step(self, action):
        self.told.append(action)
        return np.full(4, len(self.told)), self.task, len(self.told) == 2, False, {}


class Untasked(Walk):
    sample_task = property()


class Pictures(Walk):
    observation_space = gym.spaces.Box(0, 255, (8, 8), np.uint8)


class Symbols(Walk):
    observation_space = gym.spaces.Discrete(16)


class Listed(Walk):
    primitive_observation = [3, 0]  # noqa: RUF012 (a user may well write it so)


class Chosen(Walk):
    primitive_observation = (3, 0)


class Plain(Walk):
    primitive_observation = slice(None)

    def task_to_json(self, task):
        return {"speed": task, "left": True}


NUMBER = 3


def made(env, length=10):
    return Maker(env, length)


def test_list_of_single_environments_equals_the_array_form():
    count, rng = 5, np.random.default_rng(0)
    tasks = [MovingBanditsTask(i) for i in (0, 1, 1, 0, 1)]
    arrays, singles = Maker(ID, None).lanes(count), Maker("mlsh_envs:MovingBandits", 50).lanes(count)
    assert arrays.count == singles.count == count
    for mask in ([True] * 5, [False, True, False, True, True], [True, False, False, False, False], [True] * 5):
        seeds = rng.integers(2**31, size=count).tolist()
        starts = [lanes.reset(np.array(mask), seeds, tasks) for lanes in (arrays, singles)]
        np.testing.assert_array_equal(*starts)
        for _ in range(25):
            action = rng.integers(5, size=count)
            for one, other in zip(arrays.step(action), singles.step(action), strict=True):
                np.testing.assert_array_equal(one, other)
                assert one.dtype == other.dtype
    arrays.close()
    singles.close()


@pytest.mark.parametrize("env", [ID, "mlsh_envs:MovingBandits", MovingBandits])
def test_episodes_end_at_the_length_asked_for(env):
    lanes = Maker(env, 7).lanes(2)
    lanes.reset(np.ones(2, bool), [0, 1], [MovingBanditsTask(0)] * 2)
    ends = [lanes.step(np.zeros(2, int))[2].tolist() for _ in range(7)]
    assert ends == [[False, False]] * 6 + [[True, True]]


def test_what_was_observed_stays_as_it_was():
    """Rollouts keep the arrays that steps return, so later steps must not write into them."""
    for env in (ID, MovingBandits):
        lanes = Maker(env, 50).lanes(1)
        seen = [lanes.reset(np.ones(1, bool), [0], [MovingBanditsTask(0)])]
        seen += [lanes.step(np.ones(1, int))[0] for _ in range(3)]
        assert np.concatenate(seen)[:, 0] == pytest.approx([0.5, 0.55, 0.6, 0.65])


def test_box_actions_are_clipped_and_own_ends_and_tasks_count():
    walk = Walk()
    lanes = Maker(lambda: walk, 10).lanes(1)
    lanes.reset(np.ones(1, bool), [0], [0.25])
    observation, reward, end = lanes.step(np.array([[5.0, -9.0]], np.float32))
    assert walk.told[0].tolist() == [1, -2]
    assert (observation.tolist(), reward.tolist(), end.tolist()) == ([[1] * 4], [0.25], [False])
    assert observation.dtype == np.float32
    _, _, end = lanes.step(np.array([[0.5, 2.5]], np.float32))
    assert walk.told[1].tolist() == [0.5, 2.5]
    assert end.tolist() == [True]


def test_an_environment_that_clips_gets_actions_as_they_were_drawn():
    class Charging(Walk):
        unclipped_actions = True

    walk = Charging()
    lanes = Maker(lambda: walk, 10).lanes(1)
    lanes.reset(np.ones(1, bool), [0], [0.25])
    lanes.step(np.array([[5.0, -9.0]], np.float32))
    assert walk.told[0].tolist() == [5, -9]


def test_the_ant_is_charged_for_what_was_drawn():
    task = AntMovementTask("x")
    rewards = []
    for size in (1, 3):
        lanes = Maker("mlsh/AntMovement-v0", None).lanes(2)
        lanes.reset(np.ones(2, bool), [0, 1], [task] * 2)
        rewards.append(lanes.step(np.full((2, 8), size, np.float32))[1])
    np.testing.assert_allclose(rewards[0] - rewards[1], 0.1 * 8 * (9 - 1), rtol=1e-6)


def test_spec_of_a_registered_environment():
    spec = Maker(ID, None).spec()
    assert (spec.name, spec.observation_size, spec.episode_length) == (ID, 6, 50)
    assert spec.action_space == gym.spaces.Discrete(5)
    assert spec.primitive_columns.tolist() == list(range(6))
    assert spec.tasks == (MovingBanditsTask(0), MovingBanditsTask(1))
    assert spec.sample_task(np.random.default_rng(0)) in spec.tasks
    assert spec.label(MovingBanditsTask(1)) == "goal=1"
    assert Maker(ID, 20).spec().episode_length == 20


def test_spec_of_an_ant_leaves_out_its_place():
    spec = Maker("mlsh/AntMaze-v0", None).spec()
    assert (spec.observation_size, spec.episode_length, len(spec.tasks)) == (29, 1000, 9)
    assert spec.primitive_columns.tolist() == list(range(2, 29))
    assert spec.label(spec.tasks[2]) == "maze=enn"


@pytest.mark.parametrize("env", [f"{HERE}:Walk", Walk, lambda: Walk()], ids=["path", "class", "lambda"])
def test_spec_of_a_users_environment(env):
    spec = made(env).spec()
    assert (spec.observation_size, spec.episode_length, spec.tasks) == (4, 10, ())
    assert spec.primitive_columns.tolist() == [1, 2]
    assert 0 <= spec.sample_task(np.random.default_rng(0)) < 1
    assert spec.label(0.5) == "0.5"


@pytest.mark.parametrize(("env", "columns"), [(Listed, [3, 0]), (Chosen, [3, 0]), (Plain, [0, 1, 2, 3])])
def test_primitives_see_the_columns_that_are_named(env, columns):
    assert made(env).spec().primitive_columns.tolist() == columns


def test_tasks_are_labelled_by_their_json_form():
    assert made(Plain).spec().label(0.5) == "speed=0.5,left=True"


@pytest.mark.parametrize(
    ("env", "length", "says"),
    [
        (
            "mlsh/MovingBandit-v0",
            None,
            ["no environment 'mlsh/MovingBandit-v0'", f"mean {ID}?", "module:Class"],
        ),
        ("mlsh/MovingBandits-v7", None, ["no environment", f"did you mean {ID}?"]),
        ("zzz", None, ["no environment 'zzz'", "such as mlsh/Allwalk-v0"]),
        ("CartPole-v1", None, ["CartPole-v1 has no sample_task"]),
        ("no_such_module:Thing", 10, ["'no_such_module'", "cannot find", "install it or start where it lies"]),
        ("mlsh_envs.nothing:Thing", 10, ["'mlsh_envs.nothing'", "cannot find"]),
        (f"{HERE}:Wlak", 10, [HERE, "has no 'Wlak'", "did you mean Walk?"]),
        (f"{HERE}:NUMBER", 10, ["NUMBER"]),
        (":Walk", 10, [":Walk"]),
        (".here:Walk", 10, [".here:Walk"]),
        (Untasked, 10, ["Untasked has no sample_task(rng, split)"]),
        (Pictures, 10, ["flat vectors", "Pictures has Box"]),
        (Symbols, 10, ["flat vectors", "Symbols has Discrete(16)"]),
        (Walk, None, ["Walk does not say how long an episode lasts", "--episode-length STEPS"]),
        (ID, 0, ["episode-length", "0"]),
        (ID, -1, ["episode-length", "-1"]),
        (Walk, -5, ["episode-length", "-5"]),
    ],
)
def test_refuses_what_it_cannot_train_on_in_one_sentence(env, length, says):
    with pytest.raises(UserError) as refusal:
        Maker(env, length).spec()
    assert "\n" not in str(refusal.value)
    for part in says:
        assert part in str(refusal.value)


def test_nearest_hints_only_at_what_is_like():
    assert nearest("sed", ["seed", "steps"]) == " (did you mean seed?)"
    assert nearest("xyzzy", ["seed", "steps"]) == ""
    assert ID in known_environments()


def test_columns_that_primitives_see_can_be_chosen():
    assert Maker("mlsh/FourRooms-v0", None, (0, 2)).spec().primitive_columns.tolist() == [0, 1, 2]
    assert len(Maker("mlsh/AntMaze-v0", None, (0, 28)).spec().primitive_columns) == 29  # the environment itself would hide two


@pytest.mark.parametrize("columns", [(-1, 3), (3, 2), (0, 104)])
def test_columns_that_are_not_there_are_refused(columns):
    with pytest.raises(UserError, match="first and last of the numbers that mlsh/FourRooms-v0 observes: 0 to 103"):
        Maker("mlsh/FourRooms-v0", None, columns).spec()


def test_settings_of_an_environment_reach_all_of_its_forms():
    maker = Maker("mlsh/AntTwowalk-v0", None, None, ("integrator=implicitfast", "frame_skip=2"))
    arrays = maker.lanes(2)._vector.unwrapped
    for env in (maker.spec().env.unwrapped, arrays):
        assert (env.world.integrator, env.world.frame_skip) == ("implicitfast", 2)


@pytest.mark.parametrize(
    ("env", "settings", "says"),
    [
        ("mlsh/AntTwowalk-v0", ("integrator",), "name=value"),
        ("mlsh/AntTwowalk-v0", ("integrator=RK5",), "does not take --env-settings integrator=RK5 .*must be one of RK4"),
        ("mlsh/AntTwowalk-v0", ("gravity=0",), "does not take --env-settings gravity=0"),
        (Walk, ("length=3",), "does not take --env-settings length=3"),
    ],
)
def test_settings_that_an_environment_does_not_take_are_refused(env, settings, says):
    with pytest.raises(UserError, match=says):
        Maker(env, 10, None, settings).spec()
