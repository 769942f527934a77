"""Collecting, against lanes walked through step by step: what begins when, who acts, what is seen and kept."""

import gymnasium as gym
import numpy as np
import pytest

from mlsh_mpi.errors import EnvironmentFault
from mlsh_mpi.mpi.watchdog import Watchdog
from mlsh_mpi.networks.actor_critic import Network, StackedActorCritic
from mlsh_mpi.networks.distributions import head_for
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.networks.observation_filter import Moments, ObservationFilter
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.episodes import Streams
from mlsh_mpi.sampling.rollout import Decisions, collect, uniform_choice
from mlsh_mpi.sampling.task_family import TaskFamily

T, N = 40, 4
SPACES = {"discrete": gym.spaces.Discrete(3), "box": gym.spaces.Box(-1, 1, (2,))}


class Counter(gym.Env):
    """Shows its seed's last digits and its clock; ends after as many steps as the seed says; pays what it was given."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = SPACES["discrete"]
    primitive_observation = (0, 2)
    broken_at, broken = None, np.nan
    blind_at = None

    def sample_task(self, rng, split="train"):
        return 0

    def reset(self, *, seed=None, options=None):
        self.number, self.clock = seed % 97, 0
        return self._seen(), {}

    def step(self, action):
        self.clock += 1
        reward = float(np.sum(action)) if self.clock != self.broken_at else self.broken
        assert np.isfinite(action).all(), "an assertion of the environment's own"
        return self._seen(), reward, self.clock == 2 + self.number % 9, False, {}

    def _seen(self):
        return np.array([self.number, -self.number, self.clock if self.clock != self.blind_at else np.nan], np.float32)


def collected(space, workers=3, filtered=False, **attributes):
    """A rollout of Counters under primitives of random weights and a master that says the number of its calls."""
    env_type = type("Counting", (Counter,), {"action_space": space, **attributes})
    maker = EnvironmentMaker(env_type, T)
    family = TaskFamily.from_maker(maker)
    stack = StackedActorCritic(2, Network(len(family.primitive_columns), head_for(space), (5,)))
    for row in range(2):
        stack.initialise(row, np.random.default_rng(row))
    observation_filter = ObservationFilter(3) if filtered else None
    if filtered:
        observation_filter.merge(Moments.from_batch(np.random.default_rng(0).normal(20, 10, (50, 3))))
    asked = []

    def master(observation, noise):
        asked.append(observation.copy())
        primitive = np.full(len(observation), len(asked) % 2)
        return Decisions(primitive, noise[:, 0] < 0.5)

    policies = PrimitivePolicies(stack, family.primitive_columns, observation_filter)
    lanes = maker.lanes(workers * 2)
    tasks, streams = [0] * workers, Streams(0, 0, range(workers))
    rollout = collect(lanes, master, policies, tasks, streams, steps=T, macro_length=N, watch=Watchdog())
    return rollout, asked, policies


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_every_lane_is_as_walked_through_by_itself(space, filtered):
    rollout, asked, policies = collected(space, filtered=filtered)
    steps, bounds = rollout.steps, (space.low, space.high) if isinstance(space, gym.spaces.Box) else None
    decisions = np.flatnonzero(steps.decides.any(1))
    assert len(decisions) == len(asked)
    for call, t in enumerate(decisions):
        np.testing.assert_array_equal(asked[call], steps.observation[t])
    for lane in range(steps.reward.shape[1]):
        clock, macro, acting = 0, 0, None
        for t in range(T):
            number, mirrored, shown = steps.raw_observation[t, lane]
            assert (mirrored, shown) == (-number, clock)
            assert steps.decides[t, lane] == (macro == 0)
            if macro == 0:
                acting = (np.searchsorted(decisions, t) + 1) % 2
            assert steps.primitive[t, lane] == acting
            given = steps.action[t, lane] if bounds is None else np.clip(steps.action[t, lane], *bounds)
            assert steps.reward[t, lane] == pytest.approx(np.sum(given), abs=1e-6)
            clock, macro = clock + 1, (macro + 1) % N
            assert steps.end[t, lane] == (clock == 2 + number % 9 or clock == T)
            if steps.end[t, lane]:
                clock = macro = 0
    raw = steps.raw_observation
    np.testing.assert_array_equal(steps.observation, np.stack([policies.observe(seen) for seen in raw]))
    assert rollout.final_observation.shape == raw.shape[1:]


def test_what_primitives_see_is_a_view_only_where_that_is_one_stretch():
    _, _, policies = collected(SPACES["discrete"])
    observation = np.arange(12.0).reshape(4, 3)
    assert policies.primitive_view(observation).tolist() == observation[:, [0, 2]].tolist()
    stretch = PrimitivePolicies(policies.primitives, np.array([1, 2]), None)
    assert stretch.primitive_view(observation).tolist() == observation[:, 1:].tolist()
    assert stretch.primitive_view(observation).base is observation.base
    assert (
        PrimitivePolicies(policies.primitives, np.array([2, 1, 0]), None).primitive_view(observation).tolist()
        == observation[:, ::-1].tolist()
    )


def test_the_first_reward_that_is_no_number_is_named():
    with pytest.raises(EnvironmentFault, match=r"worker 0, with task 0, in iteration 1 has the reward nan after 1 steps"):
        collected(SPACES["discrete"], broken_at=2)


@pytest.mark.parametrize(("broken", "said"), [(1e20, r"reward 1e\+20 .*: numbers beyond"), (-4e38, r"reward -4e\+38 .*scale it")])
def test_a_reward_too_large_to_learn_from_is_named_with_its_value(broken, said):
    with pytest.raises(EnvironmentFault, match=said):
        collected(SPACES["discrete"], broken_at=2, broken=broken)


def test_an_observation_that_is_no_number_is_to_blame_for_the_actions_that_follow():
    with pytest.raises(EnvironmentFault, match=r"has the observation \[\d+.0, -\d+.0, nan\] after 1 steps"):
        collected(SPACES["box"], blind_at=1)


def test_the_filter_in_float32_is_the_exact_one_to_seven_digits():
    rng = np.random.default_rng(0)
    observation = rng.normal([3, -200, 0.01], [1, 40, 0.5], (1000, 3))
    found = ObservationFilter(3)
    found.merge(Moments.from_batch(observation))
    exact = np.clip((observation - observation.mean(0)) / observation.std(0), -5, 5)
    np.testing.assert_allclose(found(observation.astype(np.float32)), exact, atol=2e-6 * 5)


def test_choices_by_chance_are_even_and_count_as_a_masters_own():
    noise = np.random.default_rng(0).random((9000, 2), dtype=np.float32)
    found = uniform_choice(3)(np.zeros((9000, 4)), noise)
    assert np.abs(np.bincount(found.primitive, minlength=3) - 3000).max() < 5 * np.sqrt(2000)
    assert not found.explored.any()
