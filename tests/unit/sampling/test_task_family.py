"""Environments in lock-step: list against array form, what the trainer reads of them, and what it refuses."""

import importlib
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch

from mlsh_envs import AntMovementTask, MovingBandits, MovingBanditsTask
from mlsh_mpi.errors import UserError, nearest
from mlsh_mpi.sampling.actions import Actions
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker, known_environments
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.sampling.vector_env import LaneFault, VectorEnv
from mlsh_mpi.tracking.same_run import environment_source

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
    return EnvironmentMaker(env, length)


def test_list_of_single_environments_equals_the_array_form():
    count, rng = 5, np.random.default_rng(0)
    tasks = [MovingBanditsTask(i) for i in (0, 1, 1, 0, 1)]
    arrays, singles = EnvironmentMaker(ID, None).lanes(count), EnvironmentMaker("mlsh_envs:MovingBandits", 50).lanes(count)
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
    lanes = EnvironmentMaker(env, 7).lanes(2)
    lanes.reset(np.ones(2, bool), [0, 1], [MovingBanditsTask(0)] * 2)
    ends = [lanes.step(np.zeros(2, int))[2].tolist() for _ in range(7)]
    assert ends == [[False, False]] * 6 + [[True, True]]


def test_what_was_observed_stays_as_it_was():
    """Rollouts keep the arrays that steps return, so later steps must not write into them."""
    for env in (ID, MovingBandits):
        lanes = EnvironmentMaker(env, 50).lanes(1)
        seen = [lanes.reset(np.ones(1, bool), [0], [MovingBanditsTask(0)])]
        seen += [lanes.step(np.ones(1, int))[0] for _ in range(3)]
        assert np.concatenate(seen)[:, 0] == pytest.approx([0.5, 0.55, 0.6, 0.65])


def test_box_actions_are_clipped_and_own_ends_and_tasks_count():
    walk = Walk()
    lanes = EnvironmentMaker(lambda: walk, 10).lanes(1)
    lanes.reset(np.ones(1, bool), [0], [0.25])
    observation, reward, end = lanes.step(np.array([[5.0, -9.0]], np.float32))
    assert walk.told[0].tolist() == [1, -2]  # the bounds
    assert walk.told[0].dtype == np.float64
    assert (observation.tolist(), reward.tolist(), end.tolist()) == ([[1] * 4], [0.25], [False])
    assert observation.dtype == np.float32
    _, _, end = lanes.step(np.array([[0.5, 0.4]], np.float32))
    np.testing.assert_allclose(walk.told[1], [0.5, 0.5 + 0.4 * 2.5], rtol=1e-6)  # in units of the half-width, from the middle
    assert end.tolist() == [True]


def test_an_environment_that_clips_gets_actions_as_they_were_drawn():
    class Charging(Walk):
        unclipped_actions = True

    walk = Charging()
    lanes = EnvironmentMaker(lambda: walk, 10).lanes(1)
    lanes.reset(np.ones(1, bool), [0], [0.25])
    lanes.step(np.array([[5.0, -9.0]], np.float32))
    np.testing.assert_allclose(walk.told[0], [5, 0.5 - 9 * 2.5])


def test_the_ant_is_charged_for_what_was_drawn():
    task = AntMovementTask("x")
    rewards = []
    for size in (1, 3):
        lanes = EnvironmentMaker("mlsh/AntMovement-v0", None).lanes(2)
        lanes.reset(np.ones(2, bool), [0, 1], [task] * 2)
        rewards.append(lanes.step(np.full((2, 8), size, np.float32))[1])
    np.testing.assert_allclose(rewards[0] - rewards[1], 0.1 * 8 * (9 - 1), rtol=1e-6)


def test_the_family_of_a_registered_environment():
    family = TaskFamily.from_maker(EnvironmentMaker(ID, None))
    assert (family.name, family.observation_size, family.episode_length) == (ID, 6, 50)
    assert family.action_space == gym.spaces.Discrete(5)
    assert family.primitive_columns.tolist() == list(range(6))
    assert family.tasks == (MovingBanditsTask(0), MovingBanditsTask(1))
    assert family.sample_task(np.random.default_rng(0)) in family.tasks
    assert family.label(MovingBanditsTask(1)) == "goal=1"
    assert TaskFamily.from_maker(EnvironmentMaker(ID, 20)).episode_length == 20


def test_the_family_of_an_ant_leaves_out_its_place():
    family = TaskFamily.from_maker(EnvironmentMaker("mlsh/AntMaze-v0", None))
    assert (family.observation_size, family.episode_length, len(family.tasks)) == (29, 1000, 9)
    assert family.primitive_columns.tolist() == list(range(2, 29))
    assert family.label(family.tasks[2]) == "maze=enn"


@pytest.mark.parametrize("env", [f"{HERE}:Walk", Walk, lambda: Walk()], ids=["path", "class", "lambda"])
def test_the_family_of_a_users_environment(env):
    family = TaskFamily.from_maker(made(env))
    assert (family.observation_size, family.episode_length, family.tasks) == (4, 10, ())
    assert family.primitive_columns.tolist() == [1, 2]
    assert 0 <= family.sample_task(np.random.default_rng(0)) < 1
    assert family.label(0.5) == "0.5"


@pytest.mark.parametrize(("env", "columns"), [(Listed, [3, 0]), (Chosen, [3, 0]), (Plain, [0, 1, 2, 3])])
def test_primitives_see_the_columns_that_are_named(env, columns):
    assert TaskFamily.from_maker(made(env)).primitive_columns.tolist() == columns


@pytest.mark.parametrize(
    ("task", "label"),
    [
        ("[left]", "[left]"),
        ("zwölf 日本 $x$", "zwölf 日本 $x$"),
        ("two\nlines\t\x1b[31m\x85", r"two\nlines\t\x1b[31m\x85"),
        ("to the \u202eleft", r"to the \u202eleft"),
    ],
)
def test_a_label_is_one_line_of_what_can_be_printed(task, label):
    assert TaskFamily.from_maker(made(Walk)).label(task) == label


def test_tasks_are_labelled_by_their_json_form():
    assert TaskFamily.from_maker(made(Plain)).label(0.5) == "speed=0.5,left=True"


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
        ("no_such_module:Thing", 10, ["'no_such_module'", "cannot find", "install it, or start in its folder"]),
        ("mlsh_envs.nothing:Thing", 10, ["'mlsh_envs.nothing'", "cannot find"]),
        (f"{HERE}:Wlak", 10, [HERE, "has no 'Wlak'", "did you mean Walk?"]),
        (f"{HERE}:NUMBER", 10, ["NUMBER"]),
        (":Walk", 10, [":Walk"]),
        (".here:Walk", 10, [".here:Walk"]),
        (Untasked, 10, ["Untasked has no sample_task(rng, split)"]),
        (Walk, None, ["Walk does not say how long an episode lasts", "--episode-length STEPS"]),
        (ID, 0, ["episode-length", "0"]),
        (ID, -1, ["episode-length", "-1"]),
        (Walk, -5, ["episode-length", "-5"]),
        (f"{HERE}:my/Many-v7", 10, [HERE, "has no 'my/Many-v7'"]),
        ("my/Other-v0", 10, ["no environment 'my/Other-v0'", "module:id for one that your module registers"]),
    ],
)
def test_refuses_what_it_cannot_train_on_in_one_sentence(env, length, says):
    with pytest.raises(UserError) as refusal:
        TaskFamily.from_maker(EnvironmentMaker(env, length))
    assert "\n" not in str(refusal.value)
    for part in says:
        assert part in str(refusal.value)


def test_nearest_hints_only_at_what_is_like():
    assert nearest("sed", ["seed", "steps"]) == " (did you mean seed?)"
    assert nearest("xyzzy", ["seed", "steps"]) == ""
    assert ID in known_environments()


def test_columns_that_primitives_see_can_be_chosen():
    assert TaskFamily.from_maker(EnvironmentMaker("mlsh/FourRooms-v0", None, (0, 2))).primitive_columns.tolist() == [0, 1, 2]
    assert (
        len(TaskFamily.from_maker(EnvironmentMaker("mlsh/AntMaze-v0", None, (0, 28))).primitive_columns) == 29
    )  # the environment itself would hide two


@pytest.mark.parametrize("columns", [(-1, 3), (3, 2), (0, 104)])
def test_columns_that_are_not_there_are_refused(columns):
    with pytest.raises(UserError, match="first and last of the numbers that mlsh/FourRooms-v0 observes: 0 to 103"):
        TaskFamily.from_maker(EnvironmentMaker("mlsh/FourRooms-v0", None, columns))


def test_settings_of_an_environment_reach_all_of_its_forms():
    maker = EnvironmentMaker("mlsh/AntTwowalk-v0", None, None, ("integrator=implicitfast", "frame_skip=2"))
    arrays = maker.lanes(2)._vector.unwrapped
    for env in (TaskFamily.from_maker(maker).env.unwrapped, arrays):
        assert (env.world.stepping.integrator, env.world.frame_skip) == ("implicitfast", 2)


@pytest.mark.parametrize(("given", "taken"), [("50", 50), ("null", None), ("None", None)])
def test_a_setting_is_json_or_python(given, taken):
    maker = EnvironmentMaker("mlsh/AntMaze-v0", None, None, (f"upright_interval={given}",))
    assert TaskFamily.from_maker(maker).env.unwrapped.world.upright_interval == taken


@pytest.mark.parametrize(
    ("env", "settings", "says"),
    [
        ("mlsh/AntTwowalk-v0", ("integrator",), "name=value"),
        ("mlsh/AntTwowalk-v0", ("integrator=RK5",), "does not take --env-settings integrator=RK5: integrator must be one of RK4"),
        (
            "mlsh/AntTwowalk-v0",
            ("gravity=0",),
            "has no setting gravity: there are camera, frame_skip, integrator, timestep, upright_interval$",
        ),
        ("mlsh/AntTwowalk-v0", ("integrater=RK4",), r"has no setting integrater \(did you mean integrator\?\): there are "),
        ("mlsh/MovingBandits-v0", ("foo=3",), "^--env-settings: mlsh/MovingBandits-v0 has no setting foo$"),
        (Walk, ("length=3",), "^--env-settings: Walk has no settings, so it does not take length=3$"),
    ],
)
def test_settings_that_an_environment_does_not_take_are_refused(env, settings, says):
    with pytest.raises(UserError, match=says):
        TaskFamily.from_maker(EnvironmentMaker(env, 10, None, settings))


class Numbers(Walk):
    """Gives its numbers in every dress that numbers come in."""

    observation_type, dress = np.float64, float

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options=options)
        return observation.astype(self.observation_type), info

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation.astype(self.observation_type), self.dress(reward), self.dress(terminated), self.dress(truncated), info


@pytest.mark.parametrize(
    "dress",
    [
        float,
        np.float64,
        np.float16,
        torch.tensor,
        lambda x: np.array([x]),
        lambda x: np.array([[x]]),
        lambda x: torch.tensor([x]),
    ],
)
@pytest.mark.parametrize("observation_type", [np.float64, np.float16, np.int64, np.uint8, np.bool_])
def test_numbers_of_every_type_are_taken_from_single_environments(dress, observation_type):
    kind = type("Dressed", (Numbers,), {"dress": staticmethod(dress), "observation_type": observation_type})
    lanes = EnvironmentMaker(kind, 10).lanes(3)
    assert lanes.reset(np.ones(3, bool), [0, 1, 2], [1, 2, 0.5]).dtype == np.float32
    for ended in (False, True):
        observation, reward, end = lanes.step(np.zeros((3, 2), np.float32))
        assert observation.dtype == np.float32
        assert (reward.shape, reward.tolist()) == ((3,), [1, 2, 0.5])
        assert (end.shape, end.dtype, end.tolist()) == ((3,), np.bool_, [ended] * 3)


class Vector:
    """The same from a vector form."""

    num_envs = 3
    single_observation_space, single_action_space = Walk.observation_space, gym.spaces.Discrete(2)

    def __init__(self, dress, observation_type):
        self.dress, self.type = dress, observation_type

    def reset(self, *, seed, options):
        return np.zeros((3, 4), self.type), {}

    def step(self, action):
        return np.ones((3, 4), self.type), *(self.dress(np.array(of)) for of in ([1, 2, 0.5], [0, 1, 0], [0, 0, 0])), {}


@pytest.mark.parametrize("dress", [np.asarray, np.float16, np.ndarray.tolist, torch.from_numpy, lambda x: x[:, None]])
@pytest.mark.parametrize("observation_type", [np.float64, np.float32, np.int64, np.uint8])
def test_numbers_of_every_type_are_taken_from_vector_forms(dress, observation_type):
    lanes = VectorEnv(Vector(dress, observation_type), Actions.from_space(Vector.single_action_space))
    assert lanes.reset(np.ones(3, bool), [0, 1, 2], [1, 2, 3]).dtype == np.float32
    observation, reward, end = lanes.step(np.zeros(3, np.int64))
    assert (observation.dtype, observation.tolist()) == (np.float32, [[1] * 4] * 3)
    assert (reward.shape, reward.tolist(), end.tolist(), end.dtype) == ((3,), [1, 2, 0.5], [False, True, False], np.bool_)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((np.zeros((3, 5)), np.zeros(3), np.zeros(3), np.zeros(3), {}), r"shape \(3, 5\), not numbers of shape \(3, 4\)"),
        ((np.zeros((3, 4)), np.zeros(2), np.zeros(3), np.zeros(3), {}), r"returned the reward as float64 of shape \(2,\)"),
        ((np.zeros((3, 4)), np.zeros(3), None, np.zeros(3), {}), r"returned the end as object"),
        ((np.zeros((3, 4)), np.zeros(3), np.zeros(3), {}), r"returned 4 values from step, but Gymnasium since 0.26 requires"),
    ],
)
def test_a_vector_form_that_gives_something_else_is_refused(answer, says):
    vector = Vector(np.asarray, np.float32)
    vector.step = lambda _: answer
    with pytest.raises(LaneFault, match=says):
        VectorEnv(vector, Actions.from_space(Vector.single_action_space)).step(np.zeros(3, np.int64))


class Elsewhere(gym.Env):
    """Somebody else's environment, which knows nothing of tasks."""

    observation_space, action_space = gym.spaces.Box(-1, 1, (3,), np.float32), gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.given = action
        return np.zeros(3, np.float32), 1.0, False, False, {}


class Tasked(gym.Wrapper):
    """Makes a family of tasks of it."""

    unclipped_actions, primitive_observation = True, (0, 2)

    def tasks(self, split="train"):
        return [1, 2]

    def sample_task(self, rng, split="train"):
        return int(rng.integers(1, 3))

    def task_to_json(self, task):
        return {"speed": task}

    def reset(self, *, seed=None, options=None):
        self.task = options["task"]
        return self.env.reset(seed=seed)

    def step(self, action):
        observation, reward, *rest = self.env.step(action)
        return observation, reward * self.task, *rest


class Louder(gym.Wrapper):
    """Around that again."""

    def task_to_json(self, task):
        return {"loud": task}


def test_any_observation_is_a_vector_inside_gymnasiums_wrapper():
    maker = EnvironmentMaker(lambda: gym.wrappers.FlattenObservation(Pictures()), 10)
    family = TaskFamily.from_maker(maker)
    assert (family.observation_size, family.sample_task(np.random.default_rng(0)) < 1) == (64, True)


def test_tasks_may_stand_in_a_wrapper_and_the_outermost_counts():
    maker = EnvironmentMaker(lambda: Louder(Tasked(Elsewhere())), 10)
    family = TaskFamily.from_maker(maker)
    assert family.tasks == (1, 2)
    assert family.label(2) == "loud=2"
    assert family.sample_task(np.random.default_rng(0)) in (1, 2)
    assert family.primitive_columns.tolist() == [0, 2]
    lanes = maker.lanes(1)
    lanes.reset(np.ones(1, bool), [0], [2])
    assert lanes.step(np.array([[3.0]], np.float32))[1].tolist() == [2]
    assert lanes._vector.envs[0].unwrapped.given.tolist() == [3]  # unclipped


def test_the_fingerprint_follows_the_wrappers(tmp_path, monkeypatch):
    base = (
        "import gymnasium as gym\nfrom unit.sampling import test_task_family\nclass Wrapped(test_task_family.Tasked):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for number, text in enumerate((base, base + "# changed\n")):
        (tmp_path / f"wrapping{number}.py").write_text(text)
        module = importlib.import_module(f"wrapping{number}")
        found.append(environment_source(TaskFamily.from_maker(EnvironmentMaker(lambda of=module: of.Wrapped(Elsewhere()), 10))))
    assert found[0] != found[1]
    assert all(len(fingerprint["the environment"]) == 16 for fingerprint in found)


@pytest.fixture
def registering(tmp_path, monkeypatch):
    """A user's module that registers an environment, singly and with a vector form, when it is imported."""
    text = """
import gymnasium as gym
import mlsh_envs.moving_bandits
gym.register("my/Many-v0", "mlsh_envs:MovingBandits", max_episode_steps=20, vector_entry_point="mlsh_envs:MovingBanditsVector")
"""
    (tmp_path / "my_envs.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_envs:my/Many-v0"
    gym.registry.pop("my/Many-v0", None)
    sys.modules.pop("my_envs", None)


def test_an_environment_that_a_module_registers_can_be_named_in_gymnasiums_own_way(registering):
    maker = EnvironmentMaker(registering, None)
    family = TaskFamily.from_maker(maker)
    assert (family.name, family.episode_length) == ("my/Many-v0", 20)
    assert maker.vector(3) is not None
    assert maker.lanes(3).reset(np.ones(3, bool), [1, 2, 3], [*family.tasks, family.tasks[0]]).shape == (3, 6)
    with pytest.raises(UserError, match=r"module my_envs has no 'my/Man-v0'"):
        EnvironmentMaker("my_envs:my/Man-v0", None)
