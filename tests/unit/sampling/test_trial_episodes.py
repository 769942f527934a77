"""A few short episodes show what the form of an environment does not: its task arrives, it repeats itself, float32 is enough."""

import copy

import gymnasium as gym
import numpy as np
import pytest

from mlsh_mpi.errors import UserError
from mlsh_mpi.sampling.environment_check import check_environment
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.interface import Interface
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.sampling.trial_episodes import NotedOptions

FAR = 5_412_300.0


class Side(gym.Env):
    """A point that is pushed along a line; the task says which side pays."""

    observation_space, action_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64), gym.spaces.Discrete(2)
    start = 0.0

    def sample_task(self, rng, split="train"):
        return int(rng.choice([-1, 1]))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.task = (options or {}).get("task", 1)
        self.x = float(self.np_random.uniform(-0.1, 0.1))
        return self.seen(), {}

    def step(self, action):
        self.x += 0.01 * (2 * int(action) - 1)
        return self.seen(), self.paid(), False, False, {}

    def seen(self):
        return np.array([self.start + self.x, 1.0])

    def paid(self):
        return self.task * self.x


class Late(Side):
    """Pays only at the end of a long way."""

    def paid(self):
        return float(self.x > 10) * self.task


class Tasked(gym.Wrapper):
    """Passes the task on as users do, or not."""

    how = "options"

    def reset(self, *, seed=None, options=None):
        if self.how == "drops":
            return self.env.reset(seed=seed)
        return self.env.reset(seed=seed, options=PASSED[self.how](options))


PASSED = {
    "options": lambda options: options,
    "dict": dict,
    "copy": lambda options: options.copy(),
    "deepcopy": copy.deepcopy,
    "stars": lambda options: {**options},
    "union": lambda options: {"more": 1} | options,
    "pop": lambda options: {"task": options.pop("task")},
    "items": lambda options: {key: value for key, value in options.items()},  # noqa: C416
    "index": lambda options: {"task": options["task"]},
}


def wrapped(how, env=Late):
    """The environment behind a wrapper that passes the task on in this way."""

    def made():
        wrapper = Tasked(env())
        wrapper.how = how
        return wrapper

    return made


def found_in(env, length=50):
    """What trial episodes find."""
    maker = EnvironmentMaker(env, length)
    return check_environment(maker, TaskFamily.from_maker(maker))


@pytest.mark.parametrize("how", PASSED)
def test_a_task_that_is_passed_on_is_seen_to_be_read(how):
    assert found_in(wrapped(how)).notes == []


@pytest.mark.parametrize("env", [Side, Late])
def test_a_task_that_is_dropped_on_its_way_is_refused(env):
    with pytest.raises(UserError, match=r"task does not reach made.* for (-1|1) and for (-1|1), .*options=options"):
        found_in(wrapped("drops", env))


def test_an_environment_of_one_task_need_not_read_it():
    class One(Side):
        def sample_task(self, rng, split="train"):
            return 1

    assert found_in(wrapped("drops", One)).notes == []


def test_an_environment_may_read_its_task_where_nobody_sees_it():
    class Elsewhere(Side):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=seed, options={"task": dict.__getitem__(options, "task")})

    assert found_in(Elsewhere).notes == []


def test_other_options_are_no_task():
    options = NotedOptions(3)
    assert options.get("start") is None
    assert not options.read
    assert options.get("task") == 3
    assert options.read


@pytest.mark.parametrize("name", ["NormalizeReward", "NormalizeObservation"])
def test_running_statistics_of_gymnasium_are_found_and_named(name):
    (note,) = found_in(lambda: getattr(gym.wrappers, name)(Side())).notes
    what = "rewards" if name == "NormalizeReward" else "observations"
    for part in ("does not repeat itself", f"other {what} after another episode", name, "--filter-observations", "reward-scale"):
        assert part in note


def test_an_environment_that_remembers_earlier_episodes_is_mentioned():
    class Tired(Side):
        steps = 0

        def paid(self):
            self.steps += 1
            return super().paid() - 1e-3 * self.steps

    (note,) = found_in(Tired).notes
    assert "other rewards after another episode" in note
    assert "keep nothing from one episode to the next" in note


class VectorEnv(gym.vector.VectorEnv):
    """The same as arrays; `mix` spoils the tasks of the lanes."""

    metadata = {"autoreset_mode": gym.vector.AutoresetMode.DISABLED}  # noqa: RUF012
    single_observation_space, single_action_space = Side.observation_space, Side.action_space
    mix = staticmethod(lambda tasks: tasks)

    def __init__(self, num_envs, **_):
        self.num_envs = num_envs
        self.sides = [Side() for _ in range(num_envs)]

    def sample_task(self, rng, split="train"):
        return self.sides[0].sample_task(rng, split)

    def reset(self, *, seed=None, options=None):
        tasks = self.mix(list(options["task"]))
        starts = [side.reset(seed=s, options={"task": t})[0] for side, s, t in zip(self.sides, seed, tasks, strict=True)]
        return np.stack(starts), {}

    def step(self, actions):
        steps = [side.step(action) for side, action in zip(self.sides, actions, strict=True)]
        observation, reward, *ends = (np.stack(parts) for parts in list(zip(*steps, strict=True))[:4])
        return observation, reward, *ends, {}


def registered(mix):
    """An id with a vector form whose lanes get the tasks that `mix` makes of theirs."""
    kind = type("Mixed", (VectorEnv,), {"mix": staticmethod(mix)})
    gym.register(
        "test/Side-v0",
        lambda: gym.wrappers.TimeLimit(Side(), 50),
        vector_entry_point=lambda **how: kind(**how),
        max_episode_steps=50,
    )
    return "test/Side-v0"


@pytest.mark.filterwarnings("ignore:.*Overriding environment.*")
@pytest.mark.parametrize(
    ("mix", "said"),
    [
        (lambda tasks: tasks, None),
        (lambda tasks: tasks[:1] * len(tasks), "does not reach the vector form"),
        (lambda tasks: [1] * len(tasks), "does not reach the vector form"),
        (lambda tasks: tasks[::-1], "differs from its single form"),
    ],
    ids=["its own", "the first", "none", "another's"],
)
def test_each_lane_of_a_vector_form_must_have_its_own_task(mix, said):
    try:
        id_ = registered(mix)
        if said and "reach" in said:
            with pytest.raises(UserError, match=said):
                found_in(id_, None)
        else:
            notes = found_in(id_, None).notes
            assert len(notes) == bool(said)
            assert not said or said in notes[0]
    finally:
        gym.registry.pop("test/Side-v0", None)


class Far(Side):
    """Far from the origin, where steps of float32 are half a metre."""

    start = FAR


def test_numbers_too_large_for_float32_are_subtracted_before_the_cast():
    found = found_in(Far)
    assert found.offset is not None
    assert abs(found.offset[0] - FAR) < 1
    assert found.offset[1] == 0
    (note,) = found.notes
    assert "too large for float32" in note
    assert "5,412,3" in note

    maker = EnvironmentMaker(Far, 50)
    family = TaskFamily.from_maker(maker).subtracting(found.offset)
    lanes = maker.lanes(2)
    before = lanes.reset(np.ones(2, np.bool_), [1, 2], [1, 1])
    after, *_ = lanes.step(np.array([0, 1]))
    assert after.dtype == np.float32
    np.testing.assert_allclose(after[:, 0] - before[:, 0], [-0.01, 0.01], atol=1e-6)
    raw = Far()
    raw.reset(seed=1, options={"task": 1})
    np.testing.assert_array_equal(family.as_float32(raw.seen()), before[0])  # as primitives see it when they act


def test_what_is_subtracted_is_kept_in_files():
    family = TaskFamily.from_maker(EnvironmentMaker(Far, 50))
    assert "offset" not in family.as_dict()
    offset = np.array([FAR, 0.0])
    again = Interface.from_dict(family.subtracting(offset).as_dict())
    np.testing.assert_array_equal(again.offset, offset)


@pytest.mark.parametrize("start", [0.0, 100.0, 1000.0])
def test_ordinary_numbers_are_left_as_they_are(start):
    class Near(Side):
        pass

    Near.start = start
    assert found_in(Near).offset is None


@pytest.mark.parametrize(
    ("number", "said"), [(1e30, r"within \+-1e\+12.*1e\+30: scale it"), (-4e38, r"-4e\+38: scale it"), (np.nan, "is nan")]
)
@pytest.mark.parametrize("after", [0, 20])
def test_a_reward_that_cannot_be_learned_from_is_refused_at_once(after, number, said):
    class Rich(Side):
        steps = 0

        def paid(self):
            self.steps += 1
            return number if self.steps > after else 0.0

    with pytest.raises(UserError, match=said):
        found_in(Rich)
