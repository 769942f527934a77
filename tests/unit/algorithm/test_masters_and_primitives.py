"""What the two timescales make of a rollout before PPO sees it."""

import dataclasses

import numpy as np
import pytest
import textbook
import torch

from mlsh_mpi.algorithm.critic_inputs import CriticInputs
from mlsh_mpi.algorithm.decision_memory import Memory
from mlsh_mpi.algorithm.masters import private_masters, update_masters
from mlsh_mpi.algorithm.ppo import UPDATE_DIAGNOSTICS
from mlsh_mpi.algorithm.primitives import shared_primitives, update_primitives
from mlsh_mpi.config.overrides import with_options
from mlsh_mpi.config.presets import PRESETS
from mlsh_mpi.mpi.placement import place
from mlsh_mpi.mpi.watchdog import Watchdog
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.episodes import Streams
from mlsh_mpi.sampling.rollout import collect, master_policy
from mlsh_mpi.sampling.task_family import TaskFamily

FAMILY = TaskFamily.from_maker(EnvironmentMaker("mlsh/MovingBandits-v0", None))
WORKERS = 4


class Alone:
    """The ranks of a world of one."""

    rank, size, seconds = 0, 1, 0.0

    def allreduce(self, values):
        """Leaves the only rank's sum as it is."""

    def split(self, colour):
        return self


def setting(**options):
    """Config, primitives, masters and a rollout of four groups of one worker."""
    base = with_options(PRESETS["moving-bandits"].config, {"steps": 200, "groups": WORKERS, **options})
    placement = place(WORKERS, 1, 1, 0)
    primitives = shared_primitives(base, Alone(), FAMILY)
    masters = private_masters(base, Alone(), FAMILY, placement)
    for row in range(WORKERS):
        masters.restart(row, np.random.default_rng(row))
    lanes = EnvironmentMaker("mlsh/MovingBandits-v0", None).lanes(WORKERS * 4)
    rollout = collect(
        lanes,
        master_policy(masters.stack, base.hierarchy.exploration),
        PrimitivePolicies(primitives.stack, FAMILY.primitive_columns, None),
        [FAMILY.tasks[g % 2] for g in placement.groups],
        Streams(0, 0, placement.workers),
        steps=50,
        macro_length=10,
        watch=Watchdog(),
    )
    return base, primitives, masters, rollout


class Spy:
    """In place of a PPO update: keeps what it was given."""

    def __call__(self, batch, plan, active, learning_rate, reduce):
        self.batch, self.plan, self.active, self.learning_rate, self.reduce = batch, plan, active, learning_rate, reduce
        return np.zeros((len(active), len(UPDATE_DIAGNOSTICS)))


def masters_updated(config, masters, rollout, workers=range(WORKERS), iteration=0, memory=None):
    """What an update of masters returns, for workers that know nothing yet."""
    rollout = dataclasses.replace(rollout, streams=Streams(0, iteration, tuple(workers)))
    return update_masters(masters, rollout, memory or Memory(config.master.memory, len(workers), continues=False), config.master)


def primitives_given(config, primitives, rollout, joint, iteration=0):
    spy = Spy()
    rollout = dataclasses.replace(rollout, streams=Streams(0, iteration, range(WORKERS)))
    critic = CriticInputs.from_config(config.primitive, FAMILY)
    found = update_primitives(dataclasses.replace(primitives, update=spy), rollout, joint, config, critic)
    return spy, found.samples


def test_primitives_learn_from_joint_groups_alone():
    config, primitives, _, rollout = setting(learn_from_explored=True)
    joint = [False, True, False, True]
    spy, counts = primitives_given(config, primitives, rollout, joint)
    mine = np.repeat(joint, 4)
    assert counts.sum() == 2 * 200
    np.testing.assert_array_equal(spy.batch.observation.numpy(), rollout.steps.observation[:, mine].swapaxes(0, 1).reshape(-1, 6))


def test_explored_macro_actions_are_left_out_of_phi_if_so_set():
    config, primitives, _, rollout = setting(learn_from_explored=False, exploration=0.5)
    spy, counts = primitives_given(config, primitives, rollout, [True] * WORKERS)
    explored = rollout.steps.explored.swapaxes(0, 1).reshape(-1)
    assert 0.3 < explored.mean() < 0.7
    assert counts.sum() == (~explored).sum()
    used = np.unique(spy.plan.index[spy.plan.weight > 0].numpy())
    np.testing.assert_array_equal(used, np.flatnonzero(~explored))


def test_each_sample_goes_to_the_primitive_that_acted_with_advantages_normalised_for_each():
    config, primitives, _, rollout = setting(learn_from_explored=True)
    spy, counts = primitives_given(config, primitives, rollout, [True] * WORKERS)
    active = rollout.steps.primitive.swapaxes(0, 1).reshape(-1)
    for k in range(2):
        np.testing.assert_array_equal(
            np.unique(spy.plan.index[:, :, k][spy.plan.weight[:, :, k] > 0]), np.flatnonzero(active == k)
        )
        advantage = spy.batch.advantage.numpy()[active == k]
        assert counts[k] == len(advantage)
        assert advantage.mean() == pytest.approx(0, abs=1e-5)
        assert advantage.std() == pytest.approx(1, abs=1e-4)


def test_a_primitive_with_too_few_samples_sits_the_update_out():
    config, primitives, _, rollout = setting(learn_from_explored=True)
    few = dataclasses.replace(rollout, steps=rollout.steps._replace(primitive=np.zeros_like(rollout.steps.primitive)))
    few.steps.primitive[:10, 0] = 1
    spy, counts = primitives_given(config, primitives, few, [True] * WORKERS)
    assert counts.tolist() == [790, 10]
    assert spy.active == [True, False]
    before = primitives.stack.flat.clone()
    primitives.update(spy.batch, spy.plan, spy.active, 1e-3, spy.reduce)
    torch.testing.assert_close(primitives.stack.flat[1], before[1], rtol=0, atol=0)
    assert not torch.equal(primitives.stack.flat[0], before[0])


def test_primitives_step_more_carefully_once_they_have_formed():
    config, primitives, _, rollout = setting()
    settings = dataclasses.replace(config.primitive, learning_rate=0.5, decay=2.0)
    for first, rate in ((0, 0.5), (9, 0.5), (4, 0.125)):
        hierarchy = dataclasses.replace(config.hierarchy, whole_episode_iterations=first)
        changed = dataclasses.replace(config, hierarchy=hierarchy, primitive=settings)
        spy, _ = primitives_given(changed, primitives, rollout, [True] * WORKERS, iteration=8)
        assert spy.learning_rate == rate


def test_masters_learn_from_one_sample_a_decision_normalised_within_their_group():
    config, _, masters, rollout = setting()
    spy = Spy()
    masters_updated(config, dataclasses.replace(masters, update=spy), rollout)
    assert len(spy.batch.advantage) == WORKERS * 20
    decisions = rollout.steps.primitive[::10]
    np.testing.assert_array_equal(spy.batch.action.numpy(), decisions.T.reshape(-1))
    for group in range(WORKERS):
        advantage = spy.batch.advantage.numpy()[group * 20 : (group + 1) * 20]
        spread = 1 if np.ptp(advantage) > 0 else 0
        assert advantage.mean() == pytest.approx(0, abs=1e-5)
        assert advantage.std() == pytest.approx(spread, abs=1e-3)


def test_a_restarted_master_owes_nothing_to_the_last_one():
    """Parameters, moments and so the first step are those of a master that never learned anything else."""
    config, _, masters, rollout = setting()
    used, fresh = masters, setting()[2]
    masters_updated(config, used, rollout)
    for row in range(WORKERS):
        used.restart(row, np.random.default_rng(100 + row))
        fresh.restart(row, np.random.default_rng(100 + row))
    for either in (used, fresh):
        masters_updated(config, either, rollout, iteration=1)
    torch.testing.assert_close(used.stack.flat, fresh.stack.flat, rtol=0, atol=0)


def test_a_master_learns_to_run_the_primitive_that_pays():
    config, _, masters, rollout = setting()
    paid = dataclasses.replace(rollout, steps=rollout.steps._replace(reward=(rollout.steps.primitive == 1).astype(np.float32)))
    observation = torch.from_numpy(rollout.steps.observation.swapaxes(0, 1).copy()).view(WORKERS, -1, 6)
    before = torch.softmax(masters.stack.policy(observation), -1)[..., 1].mean()
    masters_updated(config, masters, paid)
    after = torch.softmax(masters.stack.policy(observation), -1)[..., 1].mean()
    assert before == pytest.approx(0.5, abs=0.05)
    assert after > before + 0.1


def test_a_master_that_was_paid_nothing_stays_undecided():
    config, _, masters, rollout = setting()
    reward = np.zeros_like(rollout.steps.reward)
    reward[7, [0, 9]] = 1, -1  # once to the first master and once to the third; each has four lanes
    unpaid = dataclasses.replace(rollout, steps=rollout.steps._replace(reward=reward))
    before = masters.stack.flat.clone()
    masters_updated(config, masters, unpaid)
    assert (masters.stack.flat != before).any(1).tolist() == [True, False, True, False]


def reference_of(rollout, stack, row, policy):
    """Values and log-probabilities of all samples by one actor-critic, (L * T,), lanes first."""
    parameters = textbook.row_of(stack.named_parameters(), row)
    observation, action = (
        torch.from_numpy(v.swapaxes(0, 1).reshape(-1, *v.shape[2:])) for v in (rollout.steps.observation, rollout.steps.action)
    )
    return textbook.value(parameters, observation), textbook.log_prob(parameters, policy, observation, action)


def test_each_sample_has_value_and_log_probability_of_the_primitive_that_acted():
    """With lambda = gamma = 1 the target is the return up to the end of the macro-action, then the successor's value."""
    perfect = dataclasses.replace(PRESETS["moving-bandits"].config.primitive, gamma=1.0, lam=1.0)
    config, primitives, _, rollout = setting(learn_from_explored=True, credit="macro-action", primitive=perfect)
    primitives.stack.flat += 0.2 * torch.randn(primitives.stack.flat.shape, generator=torch.Generator().manual_seed(0))
    spy, _ = primitives_given(config, primitives, rollout, [True] * WORKERS)
    active = torch.from_numpy(rollout.steps.primitive.swapaxes(0, 1).reshape(1, -1).copy())
    both = [reference_of(rollout, primitives.stack, k, textbook.categorical) for k in range(2)]
    value, log_prob = (torch.stack(found).gather(0, active)[0] for found in zip(*both, strict=True))
    torch.testing.assert_close(spy.batch.log_prob, log_prob, rtol=1e-4, atol=1e-5)
    reward = torch.from_numpy(rollout.steps.reward.T.reshape(-1, 5, 10).copy())  # lanes, macro-actions, steps
    successor = torch.cat((value.view(-1, 5, 10)[:, 1:, 0], torch.zeros(len(reward), 1)), 1)  # nothing follows an episode
    expected = reward.flip(2).cumsum(2).flip(2) + successor[..., None]
    torch.testing.assert_close(spy.batch.target.view_as(expected), expected, rtol=1e-4, atol=1e-4)


def test_masters_aim_at_the_return_and_remember_the_probability_of_the_mixture():
    perfect = dataclasses.replace(PRESETS["moving-bandits"].config.master, gamma=1.0, lam=1.0)
    config, _, masters, rollout = setting(master=perfect, exploration=0.3)
    spy = Spy()
    masters_updated(config, dataclasses.replace(masters, update=spy), rollout)
    returns = rollout.steps.reward.reshape(5, 10, -1).sum(1)[::-1].cumsum(0)[::-1]
    np.testing.assert_allclose(spy.batch.target.view(-1, 5).numpy(), returns.T, atol=1e-4)
    for group in range(WORKERS):
        own = slice(group * 20, (group + 1) * 20)
        parameters = textbook.row_of(masters.stack.named_parameters(), group)
        found = textbook.log_prob(parameters, textbook.mixture(0.3), spy.batch.observation[own], spy.batch.action[own])
        torch.testing.assert_close(spy.batch.log_prob[own], found, rtol=1e-4, atol=1e-5)


def with_early_ends(rollout, lane, ends):
    """The same, but in one lane episodes end at some steps, each followed by another that decides anew."""
    end, decides = rollout.steps.end.copy(), rollout.steps.decides.copy()
    for step in ends:
        end[step, lane] = True
        decides[step + 1 :, lane] = np.arange(len(end) - step - 1) % 10 == 0
    return dataclasses.replace(rollout, steps=rollout.steps._replace(end=end, decides=decides))


def minibatches_of(config, masters, rollout, workers):
    """For each worker here, which of its (lane, decision) pairs each minibatch takes, and its entropy."""
    spy = Spy()
    spread = dataclasses.replace(config, master=dataclasses.replace(config.master, minibatch_size=7))
    told = masters_updated(spread, dataclasses.replace(masters, update=spy), rollout, workers)
    lanes = rollout.steps.end.shape[1]
    decisions = len(spy.batch.log_prob) // lanes
    found = {}
    for epoch, minibatch, row in np.ndindex(spy.plan.index.shape[:3]):
        samples = spy.plan.index[epoch, minibatch, row][spy.plan.weight[epoch, minibatch, row] > 0].numpy()
        pairs = {(int(s) // decisions % 4, int(s) % decisions) for s in samples}
        found.setdefault(workers[row], []).append(pairs)
    return found, dict(zip(workers, told.entropy.tolist(), strict=True))


def test_what_a_master_learns_from_does_not_depend_on_who_else_is_hosted_here():
    """Worker 3 makes more decisions than the others, whose minibatches it must not change."""
    config, _, masters, rollout = setting()
    masters.stack.flat += 0.3 * torch.randn(masters.stack.flat.shape, generator=torch.Generator().manual_seed(0))
    rollout = with_early_ends(rollout, lane=13, ends=[3, 8, 21])
    together, entropy = minibatches_of(config, masters, rollout, [0, 1, 2, 3])
    assert len(together[0]) > 1
    for worker in range(WORKERS):
        placement = place(WORKERS, 1, WORKERS, worker)
        alone = private_masters(config, Alone(), FAMILY, placement)
        alone.stack.flat.copy_(masters.stack.flat[worker : worker + 1])
        own = slice(worker * 4, (worker + 1) * 4)
        part = dataclasses.replace(
            rollout,
            steps=rollout.steps._make(values[:, own] for values in rollout.steps),
            final_observation=rollout.final_observation[own],
        )
        found, entropy_alone = minibatches_of(config, alone, part, [worker])
        assert found[worker] == together[worker]
        assert entropy_alone[worker] == pytest.approx(entropy[worker], abs=1e-6)


def test_shift_and_scale_are_as_if_rewards_were_so():
    config, primitives, masters, rollout = setting(learn_from_explored=True)
    changed = {"reward_shift": -0.5, "reward_scale": 8.0}
    larger = dataclasses.replace(rollout, steps=rollout.steps._replace(reward=8 * (rollout.steps.reward - 0.5)))
    scaled = dataclasses.replace(config, primitive=dataclasses.replace(config.primitive, **changed))
    asked, given = (
        primitives_given(of, primitives, seen, [True] * WORKERS)[0] for of, seen in ((scaled, rollout), (config, larger))
    )
    assert torch.equal(asked.batch.target, given.batch.target)
    assert not torch.equal(asked.batch.target, primitives_given(config, primitives, rollout, [True] * WORKERS)[0].batch.target)

    def target_of_masters(settings, seen):
        spy = Spy()
        masters_updated(dataclasses.replace(config, master=settings), dataclasses.replace(masters, update=spy), seen)
        return spy.batch.target

    scaled_master = dataclasses.replace(config.master, **changed)
    assert torch.equal(target_of_masters(scaled_master, rollout), target_of_masters(config.master, larger))
