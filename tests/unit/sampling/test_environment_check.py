"""What is wrong with an environment is said before anything is written, in a sentence with the rule and what to do."""

import re
from functools import partial
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest

import mlsh_envs
from mlsh_mpi.errors import UserError
from mlsh_mpi.sampling.environment_check import check_draws, check_environment, check_memory, task_names
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker, known_environments
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.sampling.trial_episodes import Findings


class Line(gym.Env):
    """A point on a line; does all that it should."""

    observation_space, action_space = gym.spaces.Box(-1, 1, (2,), np.float32), gym.spaces.Discrete(2)

    def sample_task(self, rng, split="train"):
        return {"goal": int(rng.integers(2))}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.task = options["task"]
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), float(self.task["goal"]), False, False, {}


class OwnGenerator(Line):
    def sample_task(self, rng, split="train"):
        return int(self.np_random.integers(2))


class GlobalGenerator(Line):
    def sample_task(self, rng, split="train"):
        return int(np.random.randint(2))  # noqa: NPY002


class TakesItsTaskApart(Line):
    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options={"task": dict(options["task"])})
        self.goal = options["task"].pop("goal")
        return observation, info


class Opaque:
    pass


class OpaqueTasks(Line):
    listed = (Opaque(), Opaque())

    def tasks(self, split="train"):
        return self.listed

    def sample_task(self, rng, split="train"):
        return self.listed[rng.integers(2)]


class Namesakes(Line):
    def tasks(self, split="train"):
        return [{"goal": 0}, {"goal": 1}]

    def task_to_json(self, task):
        return "somewhere"


class WithoutSplit(Line):
    def sample_task(self, rng):
        return 1


class ListsWithoutSplit(Line):
    def tasks(self):
        return [1, 2]


class ListFails(Line):
    def tasks(self, split="train"):
        raise KeyError("maps")


class DrawFails(Line):
    def sample_task(self, rng, split="train"):
        return self.maps[0]


class OldReset(Line):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed, options=options)[0]


class OldStep(Line):
    def step(self, action):
        return np.zeros(2), 0.0, False, {}


class ResetFails(Line):
    def reset(self, *, seed=None, options=None):
        raise OSError("no such map")


class ResetWithoutOptions(Line):
    def reset(self, seed=None):
        return np.zeros(2), {}


class StepLeaves(Line):
    def step(self, action):
        raise SystemExit


class TooLong(Line):
    def step(self, action):
        return np.zeros(3), 0.0, False, False, {}


class Words(Line):
    def reset(self, *, seed=None, options=None):
        return np.array(["left", "right"]), {}


class NoReward(Line):
    def step(self, action):
        return np.zeros(2), None, False, False, {}


class TwoRewards(Line):
    def step(self, action):
        return np.zeros(2), np.ones(2), False, False, {}


class NotANumber(Line):
    def step(self, action):
        return np.zeros(2), float("nan"), False, False, {}


class Infinite(Line):
    def reset(self, *, seed=None, options=None):
        return np.array([0.0, np.inf]), {}


class Cannot(Line):
    def __init__(self):
        raise ArithmeticError("the simulator has no licence")


class StepChangesItsTask(Line):
    def step(self, action):
        self.task["steps"] = self.task.get("steps", 0) + 1
        return super().step(action)


class ListsAnew(Line):
    lists = 0

    def tasks(self, split="train"):
        self.lists += 1
        return [0, self.lists]


class ListsAnAttribute(Line):
    tasks = (0, 1)


class SeveralAtOnce(Line):
    action_space = gym.spaces.Tuple((gym.spaces.Discrete(2), gym.spaces.Discrete(3)))


class TextReward(Line):
    def step(self, action):
        return np.zeros(2), "1", False, False, {}


class SeesTooMuch(Line):
    primitive_observation = (0, 5)


def looked_at(maker):
    """What rank 0 does."""
    family = TaskFamily.from_maker(maker)
    task_names(family)
    return check_environment(maker, family)


def said_of(env, length=10):
    """The one sentence with which an environment is refused."""
    maker = EnvironmentMaker(env, length)
    with pytest.raises(UserError) as refusal:
        looked_at(maker)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("env", "parts"),
    [
        (OwnGenerator, ["sample_task of OwnGenerator", "from the generator it is given", "self.np_random"]),
        (GlobalGenerator, ["sample_task of GlobalGenerator", "from the generator it is given", "np.random"]),
        (TakesItsTaskApart, ["reset of TakesItsTaskApart must leave its task as it is", "goal=", "to only"]),
        (OpaqueTasks, ["tasks of OpaqueTasks need names", "Opaque object at 0x", "task_to_json"]),
        (Namesakes, ["tasks of Namesakes must have different names", "2 of them are called somewhere"]),
        (WithoutSplit, ["sample_task of WithoutSplit must take (rng, split)", "sample_task(rng)"]),
        (ListsWithoutSplit, ["tasks of ListsWithoutSplit must take (split)", "tasks()"]),
        (ListFails, ["tasks of ListFails raised KeyError: 'maps' (test_environment_check.py, line "]),
        (DrawFails, ["sample_task of DrawFails raised AttributeError", "test_environment_check.py, line "]),
        (OldReset, ["OldReset returned ndarray from reset", "(observation, info)"]),
        (OldStep, ["OldStep raised ValueError", "step must return (observation, reward, terminated, truncated, info)"]),
        (ResetFails, ["ResetFails raised OSError: no such map (test_environment_check.py, line "]),
        (ResetWithoutOptions, ["ResetWithoutOptions raised TypeError", "options"]),
        (StepLeaves, ["StepLeaves raised SystemExit", "test_environment_check.py, line "]),
        (TooLong, ["TooLong returned an observation of shape (3,), but its space says (2,)"]),
        (Words, ["Words returned the observation", "left"]),
        (NoReward, ["NoReward returned the reward None, not one number"]),
        (TwoRewards, ["TwoRewards returned the reward array([1., 1.]), not one number"]),
        (NotANumber, ["NotANumber must return finite numbers, but its first reward is nan"]),
        (Infinite, ["Infinite must return finite numbers, but its first observation is [0.0, inf]"]),
        (StepChangesItsTask, ["step of StepChangesItsTask must leave its task as it is", "to goal=", "steps=1"]),
        (ListsAnew, ["tasks of ListsAnew must list the same tasks each time"]),
        (ListsAnAttribute, ["tasks of ListsAnAttribute must be a method that takes (split), but it is (0, 1)"]),
        (SeveralAtOnce, ["primitives act in Discrete (starting at 0) or one-dimensional Box spaces, not in Tuple"]),
        (TextReward, ["TextReward returned the reward '1', not one number"]),
        (Cannot, ["Cannot could not be made", "ArithmeticError: the simulator has no licence (test_environment_check.py, line "]),
        (SeesTooMuch, ["primitive_observation of SeesTooMuch", "2 numbers", "(0, 5)"]),
        (lambda: 5, ["must return a gymnasium.Env, but returned int"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_mistake_is_said_in_a_sentence(env, parts):
    sentence = said_of(env)
    for part in parts:
        assert part in sentence


def test_one_that_does_as_it_should_is_left_alone():
    maker = EnvironmentMaker(Line, 10)
    assert looked_at(maker) == Findings([], None)


@pytest.mark.parametrize("id_", known_environments())
def test_so_are_those_of_the_project_singly_and_as_arrays(id_):
    maker = EnvironmentMaker(id_, None)
    others = mlsh_envs.BENCHMARKS.keys() | mlsh_envs.PACKAGES.keys()  # stepped one after another
    assert (maker.vector(2) is None) == (id_.removeprefix("mlsh/").removesuffix("-v0") in others)
    assert looked_at(maker) == Findings([], None)


def test_one_that_does_not_repeat_itself_is_mentioned():
    class Forgetful(Line):
        def reset(self, *, seed=None, options=None):
            return super().reset(options=options)  # without the seed

    maker = EnvironmentMaker(Forgetful, 10)
    (note,) = looked_at(maker).notes
    assert "Forgetful does not repeat itself" in note


def test_more_data_than_memory_is_refused_before_anything_is_made():
    job = SimpleNamespace(world=SimpleNamespace(size=2), ranks_here=2)
    family = TaskFamily.from_maker(EnvironmentMaker(Line, 10))
    check_memory(120, 2000, family, job)
    with pytest.raises(UserError, match=r"500,000,000 workers of this rank collect 2,000 steps .* GB of memory"):
        check_memory(10**9, 2000, family, job)
    with pytest.raises(UserError, match="GB of memory"):
        check_memory(10, 10**12, family, job)


class Draws(Line):
    def __init__(self, render_mode=None, picture=None):
        self.picture = picture

    def render(self):
        if self.picture is None:
            raise RuntimeError("no display")
        return self.picture or None


@pytest.mark.parametrize(
    ("env", "said"),
    [
        (Line, "draws no pictures: it must take render_mode"),
        (Draws, "could not be drawn: it raised RuntimeError: no display"),
        (partial(Draws, picture=()), "draws no pictures: render() returned None"),
    ],
)
def test_what_cannot_draw_is_refused_before_a_film_is_wanted(env, said):
    family = TaskFamily.from_maker(EnvironmentMaker(env, 10))
    with pytest.raises(UserError, match=re.escape(said)):
        check_draws(family, {"goal": 0})


def test_what_draws_is_let_through():
    family = TaskFamily.from_maker(EnvironmentMaker(partial(Draws, picture=[[0]]), 10))
    check_draws(family, {"goal": 0})
