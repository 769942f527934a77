"""Collections shorter than an episode, against one collection of the same steps; and episodes that are run again."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from mlsh_mpi.algorithm.advantage import MasterView, master_view, primitive_advantages
from mlsh_mpi.algorithm.decision_memory import Memory
from mlsh_mpi.algorithm.metrics import finished
from mlsh_mpi.mpi.watchdog import Watchdog
from mlsh_mpi.networks.actor_critic import Network, StackedActorCritic
from mlsh_mpi.networks.distributions import Categorical
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.episodes import RunningEpisodes, Streams
from mlsh_mpi.sampling.rollout import Decisions, collect

T, N, LANES = 20, 6, 3


class Walk(gym.Env):
    """Shows its clock and place; starts where its seed says, ends beyond 9, and repeats itself unless told not to."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gym.spaces.Discrete(2)
    odd = np.random.default_rng(0)
    repeats = True

    def sample_task(self, rng, split="train"):
        return 0

    def reset(self, *, seed=None, options=None):
        self.place, self.clock, self.task = seed % 5, 0, options["task"]
        return self._seen(), {}

    def step(self, action):
        self.clock += 1
        self.place += int(action) + (0 if self.repeats else float(self.odd.random()))
        return self._seen(), float(self.place), self.place > 9, False, {}

    def _seen(self):
        return np.array([self.clock, self.place, self.task], np.float32)


def stepper():
    """Primitive 0 always goes on, primitive 1 never."""
    stack = StackedActorCritic(2, Network(3, Categorical(2), (2,)))
    biases = dict(zip(stack.network.shapes, stack.parameters, strict=True))["policy.1.bias"]
    biases[:] = torch.tensor([[-99.0, 99.0], [99.0, -99.0]])
    return PrimitivePolicies(stack, np.arange(3), None)


def decide(observation, _):
    """By the clock alone, so that it does not matter when it is asked."""
    return Decisions((observation[:, 0] // N % 2).astype(np.int64), observation[:, 0] % 5 == 0)


def together(lengths, env=Walk):
    """Rollouts of so many steps each, one going on where the other stopped."""
    lanes = EnvironmentMaker(env, T).lanes(LANES)
    running = RunningEpisodes.empty(LANES, 3)
    found = []
    for iteration, steps in enumerate(lengths):
        streams = Streams(0, iteration, range(LANES))
        found.append(
            collect(
                lanes, decide, stepper(), [0] * LANES, streams, steps=steps, macro_length=N, watch=Watchdog(), running=running
            )
        )
    return found, running, lanes


def first_episodes(rollouts):
    """Steps of each lane's first episode, over all rollouts: later ones have seeds of their iteration."""
    steps = [np.concatenate(values) for values in zip(*(rollout.steps for rollout in rollouts), strict=True)]
    ends = steps[4].argmax(0) + 1
    return [[values[: ends[lane], lane].tolist() for values in steps] for lane in range(LANES)]


@pytest.mark.parametrize("lengths", [[7, 7, 7], [1] * 21, [3, 11, 7], [20, 1]])
def test_episodes_and_macro_actions_go_on_as_if_nothing_had_been_cut(lengths):
    (whole, *_), (pieces, *_) = together([21]), together(lengths)
    assert first_episodes(pieces) == first_episodes(whole)


@pytest.mark.parametrize("lengths", [[7, 7, 7, 7, 7], [30, 5], [4] * 9])
def test_whole_episodes_are_counted_where_they_end(lengths):
    rollouts, running, _ = together(lengths)
    count, total, steps = np.sum([finished(r.steps.reward, r.steps.end, *r.carried_over) for r in rollouts], axis=0)
    reward, end = (np.concatenate([getattr(r.steps, name) for r in rollouts]) for name in ("reward", "end"))
    assert (count, total, steps) == finished(reward, end)
    paid, taken = running.carried_over
    assert total + paid.sum() == reward.sum()
    assert steps + taken.sum() == reward.size


def test_another_macro_length_lets_every_lane_decide_anew():
    rollouts, running, lanes = together([4])
    assert not rollouts[0].steps.decides[1:].any()
    tasks, streams = [0] * LANES, Streams(0, 1, range(LANES))
    rollout = collect(lanes, decide, stepper(), tasks, streams, steps=1, macro_length=N + 1, watch=Watchdog(), running=running)
    assert rollout.steps.decides.all()


def test_a_lane_whose_task_is_over_starts_afresh():
    _, running, lanes = together([4])
    running.started[1] = False
    tasks, streams = [0] * LANES, Streams(0, 1, range(LANES))
    rollout = collect(lanes, decide, stepper(), tasks, streams, steps=2, macro_length=N, watch=Watchdog(), running=running)
    assert rollout.steps.raw_observation[0, :, 0].tolist() == [4, 0, 4]


def view_of(rollout, pending):
    return master_view(
        *(rollout.steps.observation, rollout.steps.reward, rollout.steps.end, rollout.steps.primitive, rollout.steps.decides),
        *(rollout.final_observation, N, pending),
    )


@pytest.mark.parametrize("lengths", [[7, 7, 7], [1] * 21, [3, 11, 7]])
def test_a_master_learns_from_each_macro_action_once_wherever_it_was_cut(lengths):
    memory = Memory(len(lengths), LANES, continues=True)
    for number, rollout in enumerate(together(lengths)[0]):
        new = view_of(rollout, memory.pending)
        asked = np.full(new.choice.shape, -float(number + 1))
        view, log_prob = memory.add(new, asked, ~rollout.steps.decides[0])
    whole = view_of(together([21])[0][0], None)
    for lane in range(LANES):
        first = whole.end[:, lane].argmax() + 1
        valid = np.flatnonzero(view.valid[:, lane])[:first]
        for name in ("choice", "reward", "length"):
            assert getattr(view, name)[valid, lane].tolist() == getattr(whole, name)[:first, lane].tolist(), name
        assert view.observation[valid, lane].tolist() == whole.observation[:first, lane].tolist()
        decided = whole.observation[:first, lane, 0].astype(int)
        iteration = np.searchsorted(np.cumsum(lengths), decided, side="right")
        assert log_prob[valid, lane].tolist() == (-(iteration + 1.0)).tolist()


def test_what_is_remembered_of_a_task_is_forgotten_with_it_and_bootstraps_where_it_was_cut():
    memory = Memory(2, LANES, continues=False)
    rng = np.random.default_rng(0)
    views = []
    for _ in range(3):
        end = np.zeros((T, LANES), np.bool_)
        end[-1] = True
        primitive, reward = rng.integers(2, size=(T, LANES)), rng.random((T, LANES))
        decides = np.repeat(np.arange(T)[:, None] % N == 0, LANES, axis=1)
        views.append(master_view(rng.random((T, LANES, 3)), reward, end, primitive, decides, rng.random((LANES, 3)), N))
        joined, _ = memory.add(views[-1], np.zeros(views[-1].choice.shape), np.zeros(LANES, np.bool_))
    assert joined.valid.sum() == views[1].valid.sum() + views[2].valid.sum()
    value = rng.random((len(joined.choice) + 1, LANES))
    together = joined.advantages(value, 0.9, 0.8)[joined.valid]
    apart = [view.advantages(part, 0.9, 0.8) for view, part in zip(views[1:], np.split(value, 2), strict=True)]
    np.testing.assert_allclose(together, np.concatenate([a[v.valid] for a, v in zip(apart, views[1:], strict=True)]))
    memory.forget([False, True, False])
    joined, _ = memory.add(views[0], np.zeros(views[0].choice.shape), np.zeros(LANES, np.bool_))
    assert joined.valid.sum(0).tolist() == [8, 4, 8]


def test_values_stand_for_what_follows_a_time_limit():
    rollouts, _, _ = together([T], env=type("Slow", (Walk,), {"step": lambda self, _: Walk.step(self, 0)}))
    rollout = rollouts[0]
    assert [(limit.t, lane) for limit in rollout.limits for lane in limit.lanes] == [(T - 1, lane) for lane in range(LANES)]
    assert [observation[0] for limit in rollout.limits for observation in limit.observation] == [T] * LANES
    reward, end = rollout.steps.reward, rollout.steps.end
    ended_value = np.where(end, 7.0, 0.0)
    found = primitive_advantages(
        *(reward, end, rollout.steps.decides, np.zeros_like(reward), np.zeros(LANES), ended_value),
        through_macro_actions=True,
        gamma=0.5,
        lam=1.0,
    )
    np.testing.assert_allclose(found[-1], reward[-1] + 0.5 * 7)
    np.testing.assert_allclose(found[-2], reward[-2] + 0.5 * found[-1])


@pytest.mark.parametrize("steps", [1, 5, 9])
def test_episodes_are_run_again_to_where_they_were(steps):
    _, running, _ = together([7, steps])
    kept = running.lane_states()
    again = RunningEpisodes.empty(LANES, 3)
    again.load_state_dict(kept)
    lanes = EnvironmentMaker(Walk, T).lanes(LANES)
    assert again.replay_actions(lanes, [0] * LANES, Watchdog()) == 0
    np.testing.assert_array_equal(again.started, running.started)
    on = again.started
    observed = lanes.step(np.ones(LANES, np.int64))[0]
    np.testing.assert_array_equal(observed[on, 0], running.observation[on, 0] + 1)
    np.testing.assert_array_equal(observed[on, 1], running.observation[on, 1] + 1)


def test_episodes_of_an_environment_that_does_not_repeat_itself_begin_anew():
    moody = type("Moody", (Walk,), {"repeats": False})
    _, running, _ = together([4], env=moody)
    before = running.started.sum()
    assert before
    assert running.replay_actions(EnvironmentMaker(moody, T).lanes(LANES), [0] * LANES, Watchdog()) == before
    assert not running.started.any()


def test_views_of_different_workers_are_joined_on_other_ranks():
    rollouts, _, _ = together([7, 7])
    memory = Memory(2, LANES, continues=True)
    for rollout in rollouts:
        new = view_of(rollout, memory.pending)
        memory.add(new, np.random.default_rng(0).random(new.choice.shape), ~rollout.steps.decides[0])
    restored = Memory(2, 2, continues=True)
    restored.load_state_dict([memory.worker_states()[2], memory.worker_states()[0]])
    for name, values in vars(memory.pending).items():
        np.testing.assert_array_equal(getattr(restored.pending, name), values[[2, 0]])
    for view, other in zip(memory._views, restored._views, strict=True):
        for name in vars(view):
            np.testing.assert_array_equal(getattr(other, name), getattr(view, name)[:, [2, 0]], err_msg=name)
    assert isinstance(restored._views[0], MasterView)
