"""Vector forms as users register them: used where they can stand for the single form, left aside or refused where not."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import WrapperSpec
from gymnasium.vector import AutoresetMode

from mlsh_envs import MovingBandits, MovingBanditsTask, MovingBanditsVector
from mlsh_mpi.errors import UserError
from mlsh_mpi.sampling.environment_check import check_environment
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.task_family import TaskFamily

ID = "my/Vector-v0"


class Endless(MovingBanditsVector):
    """Knows of no time limit."""

    def __init__(self, num_envs=1, max_episode_steps=None):
        super().__init__(num_envs)


class Fails(MovingBanditsVector):
    def __init__(self, num_envs=1, max_episode_steps=None):
        raise ArithmeticError("the simulator has no licence")


class One(MovingBanditsVector):
    """However many are asked for."""

    def __init__(self, num_envs=1, max_episode_steps=None):
        super().__init__(1, max_episode_steps)


class ResetsItself(MovingBanditsVector):
    metadata = MovingBanditsVector.metadata | {"autoreset_mode": AutoresetMode.NEXT_STEP}


class SaysNothing(MovingBanditsVector):
    metadata = {}  # noqa: RUF012


class MoreActions(MovingBanditsVector):
    def __init__(self, num_envs=1, max_episode_steps=None):
        super().__init__(num_envs, max_episode_steps)
        self.single_action_space = gym.spaces.Discrete(6)


class MoreObservations(MovingBanditsVector):
    def __init__(self, num_envs=1, max_episode_steps=None):
        super().__init__(num_envs, max_episode_steps)
        self.single_observation_space = gym.spaces.Box(-1, 1, (7,))


@pytest.fixture
def registered():
    """Registers the bandits with a vector form."""

    def register(vector, **more):
        gym.register(ID, MovingBandits, max_episode_steps=50, vector_entry_point=vector, **more)
        return EnvironmentMaker(ID, None)

    yield register
    gym.registry.pop(ID, None)


def looked_at(maker):
    return check_environment(maker, TaskFamily.from_maker(maker))


def lengths(lanes):
    """Steps of an episode in each lane, the second of which begins five steps later."""
    tasks, found = [MovingBanditsTask(0)] * 2, [0, 0]
    lanes.reset(np.ones(2, bool), [0, 1], tasks)
    for step in range(70):
        if step == 5:
            lanes.reset(np.array([False, True]), [0, 1], tasks)
        _, _, end = lanes.step(np.zeros(2, int))
        for lane in np.flatnonzero(end & ~np.array(found, bool)):
            found[lane] = step + 1
            assert lanes.truncated[lane]
    return found


@pytest.mark.parametrize("length", [None, 20])
@pytest.mark.parametrize("vector", [Endless, MovingBanditsVector])
def test_an_episode_ends_at_its_time_limit_even_if_the_vector_form_knows_of_none(registered, vector, length):
    registered(vector)
    steps = length or 50
    maker = EnvironmentMaker(ID, length)
    assert maker.vector(2) is not None
    assert lengths(maker.lanes(2)) == [steps, steps + 5]


def test_an_episode_ends_even_if_a_wrapper_takes_its_end_away():
    class Endlessly(gym.Wrapper):
        def step(self, action):
            observation, reward, terminated, _, info = self.env.step(action)
            return observation, reward, terminated, False, info

    assert lengths(EnvironmentMaker(lambda: Endlessly(gym.make("mlsh/MovingBandits-v0")), None).lanes(2)) == [50, 55]


@pytest.mark.parametrize(
    ("vector", "more", "why"),
    [
        (
            MovingBanditsVector,
            {"additional_wrappers": (WrapperSpec("Clock", "gymnasium.wrappers:RecordEpisodeStatistics", {}),)},
            "cannot have the additional_wrappers with which it is registered",
        ),
        (ResetsItself, {}, "resets by itself"),
        (SaysNothing, {}, "resets by itself"),
    ],
    ids=["wrappers", "resets itself", "says nothing"],
)
def test_a_vector_form_that_cannot_be_used_is_left_aside_and_that_is_said(registered, vector, more, why):
    maker = registered(vector, **more)
    (note,) = looked_at(maker).notes
    assert note.startswith(f"{ID} is stepped one episode after another, because its vector form {why}")
    assert lengths(maker.lanes(2)) == [50, 55]


@pytest.mark.parametrize(
    ("vector", "says"),
    [
        (Fails, f"the vector form of {ID} could not be made: it raised ArithmeticError: the simulator has no licence"),
        ("no_such_module:Vector", "could not be made: it raised ModuleNotFoundError"),
        (One, f"the vector form of {ID} was asked for 2 episodes, but has 1"),
        (MoreActions, "must have the actions of the single form, but has Discrete(6) instead of Discrete(5)"),
        (MoreObservations, "must have the observations of the single form, but has Box(-1.0, 1.0, (7,)"),
    ],
)
def test_a_vector_form_that_is_wrong_is_refused_in_a_sentence(registered, vector, says):
    with pytest.raises(UserError) as refusal:
        looked_at(registered(vector))
    assert says in str(refusal.value)
    assert "without vector_entry_point" in str(refusal.value)
    assert "\n" not in str(refusal.value)
