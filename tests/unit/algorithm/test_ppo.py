"""Proximal policy optimisation of stacks: which samples, which gradient, which step."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import textbook
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlsh_mpi.algorithm import ppo
from mlsh_mpi.algorithm.gradients import Gradients
from mlsh_mpi.config.ppo_settings import PrimitivePPO
from mlsh_mpi.networks.actor_critic import Network, StackedActorCritic
from mlsh_mpi.networks.distributions import Categorical, Exploring, Gaussian

HEADS = {
    "categorical": (Categorical(3), textbook.categorical),
    "exploring": (Exploring(3, 0.1), textbook.mixture(0.1)),
    "gaussian": (Gaussian(2), textbook.gaussian),
}
CONFIG = PrimitivePPO(clip=0.2, value_coefficient=0.5)
BONUS = dataclasses.replace(CONFIG, entropy_coefficient=0.3)


def stack_of(head, n=2, seed=0, hidden=(8, 8), critic_size=0):
    """n actor-critics away from their initial values, so that nothing is symmetric."""
    stack = StackedActorCritic(n, Network(4, head, hidden, critic_size=critic_size))
    for row in range(n):
        stack.initialise(row, np.random.default_rng(seed + row))
    stack.flat += 0.3 * torch.randn(stack.flat.shape, generator=torch.Generator().manual_seed(seed))
    return stack


def minibatch_of(stack, samples, seed=0):
    """Random samples for every row, with old log-probabilities that leave some ratios on each side of the clip range."""
    generator = torch.Generator().manual_seed(seed)
    n, head = stack.n, stack.network.head
    observation = torch.randn(n, samples, 4 + stack.network.critic_size, generator=generator)
    action = (
        torch.randn(n, samples, head.outputs, generator=generator)
        if isinstance(head, Gaussian)
        else torch.randint(head.outputs, (n, samples), generator=generator)
    )
    log_prob = stack.log_prob(observation, action) + 0.4 * torch.randn(n, samples, generator=generator)
    advantage, target = torch.randn(2, n, samples, generator=generator)
    weight = (torch.rand(n, samples, generator=generator) < 0.7).float()
    return ppo.Minibatch(observation, action, log_prob, advantage, target, weight)


@given(
    workers=st.integers(1, 4),
    samples=st.integers(1, 40),
    n=st.integers(1, 3),
    minibatches=st.integers(1, 15),
    seed=st.integers(0, 99),
)
def test_an_epoch_takes_each_used_sample_once_in_even_slices_of_each_worker(workers, samples, n, minibatches, seed):
    rng = np.random.default_rng(seed)
    rows = rng.integers(-1, n, (workers, samples))
    plan = ppo.plan(rows, n, rng.random((2, workers, samples)), minibatches)
    for index, weight in zip(plan.index.numpy(), plan.weight.numpy(), strict=True):
        for row in range(n):
            taken = [index[m, row][weight[m, row] > 0] for m in range(minibatches)]
            np.testing.assert_array_equal(np.sort(np.concatenate(taken)), np.flatnonzero(rows.reshape(-1) == row))
            for worker in range(workers):
                sizes = [int((slice_ // samples == worker).sum()) for slice_ in taken]
                assert max(sizes) - min(sizes) <= 1


def test_a_plan_is_the_union_of_what_the_workers_would_plan_alone():
    rng = np.random.default_rng(0)
    rows, keys = rng.integers(-1, 2, (3, 50)), rng.random((2, 3, 50))
    together = ppo.plan(rows, 2, keys, 4)
    alone = [ppo.plan(rows[w : w + 1], 2, keys[:, w : w + 1], 4) for w in range(3)]
    for e, m, row in np.ndindex(2, 4, 2):
        union = {w * 50 + int(i) for w in range(3) for i in alone[w].index[e, m, row][alone[w].weight[e, m, row] > 0]}
        assert union == set(together.index[e, m, row][together.weight[e, m, row] > 0].tolist())


@pytest.mark.parametrize("size", range(1, 300, 7))
def test_padding_adds_little_and_few_widths_occur(size):
    width = ppo._width(size, 0)
    assert size <= width <= max(1.125 * size, size + 3)
    assert len({ppo._width(s, 0) for s in range(65, 129)}) <= 9
    assert ppo._width(size, regular=size) == size


@pytest.mark.parametrize("critic_size", [0, 3])
@pytest.mark.parametrize(
    ("kind", "config"),
    [*((kind, CONFIG) for kind in HEADS), ("categorical", BONUS), ("gaussian", BONUS)],  # a mixture's entropy is another
)
def test_the_gradient_is_that_of_the_textbook_loss(kind, config, critic_size):
    head, policy = HEADS[kind]
    stack = stack_of(head, critic_size=critic_size)
    minibatch = minibatch_of(stack, 60)
    counts = ppo.PPOUpdate(stack, config).gradient([(0, minibatch)], lambda _: None)
    ratio = torch.exp(stack.log_prob(minibatch.observation, minibatch.action) - minibatch.log_prob)
    assert (ratio > 1.2).any()
    assert (ratio < 0.8).any()
    for row in range(2):
        used = minibatch.weight[row] > 0
        assert counts[row] == used.sum()
        names = ("observation", "action", "log_prob_then", "advantage", "target")
        samples = {name: values[row][used] for name, values in zip(names, minibatch[:5], strict=True)}
        expected = textbook.gradient(
            textbook.row_of(stack.named_parameters(), row),
            policy,
            **samples,
            clip=0.2,
            value_coefficient=0.5,
            entropy_coefficient=config.entropy_coefficient,
        )
        torch.testing.assert_close(stack.gradient[row].double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", HEADS)
def test_rows_computed_apart_have_the_gradient_of_rows_computed_together(kind):
    stack = stack_of(HEADS[kind][0], n=3)
    samples = minibatch_of(stack, 60)
    batch = ppo.Batch(*(values.flatten(0, 1) for values in samples[:5]))
    rows = np.random.default_rng(0).choice([-1, 0, 1], p=[0.1, 0.85, 0.05], size=(1, 180))  # nothing for the third row
    keys = np.random.default_rng(1).random((2, 1, 180))
    together, apart = (ppo.plan(rows, 3, keys, 4, parameters=size) for size in (0, 10**7))
    assert [block.rows for block in together.blocks] == [slice(0, 3)]
    assert [block.rows for block in apart.blocks] == [slice(0, 1), slice(1, 2)]
    update = ppo.PPOUpdate(stack, CONFIG)
    found = []
    for plan in (together, apart):
        counts = [update.gradient(parts, lambda _: None) for epoch in ppo.epochs_of(batch, plan) for parts in epoch]
        found.append((counts, stack.gradient.clone()))
    assert found[0][0] == found[1][0]
    assert np.sum(found[0][0], axis=0).tolist() == [2.0 * (rows == row).sum() for row in range(3)]
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("critic_size", [0, 3])
@pytest.mark.parametrize("config", [CONFIG, BONUS])
@pytest.mark.parametrize("kind", HEADS)
def test_the_written_out_gradient_has_the_bits_of_autograd(kind, config, critic_size):
    stack = stack_of(HEADS[kind][0], n=3, critic_size=critic_size)
    gradients = ppo.Gradients(stack, config)
    for seed, first in ((0, 0), (1, 0), (2, 1)):
        minibatch = minibatch_of(stack, 33, seed)
        found = []
        for add in (gradients.add_written_out, gradients.add_by_autograd):
            stack.buffer.zero_()
            add(ppo.Minibatch(*(values[first:] for values in minibatch)), first)
            found.append(stack.buffer.clone())
        assert (found[0] != 0).sum() > (3 - first) * (stack.flat.shape[1] // 2)
        torch.testing.assert_close(*found, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("rewards", ["small", "large", "none at first"])
@pytest.mark.parametrize("kind", HEADS)
def test_a_written_out_gradient_that_is_wrong_is_noticed_at_once_and_never_used(kind, rewards, monkeypatch):
    """As it would be with a version of torch in which an operation means something else."""
    head = HEADS[kind][0]
    whole = type(head).log_prob_and_backward

    def wrong(self, outputs, log_std, action):
        log_prob, backward = whole(self, outputs, log_std, action)
        return log_prob, lambda grad_log_prob: backward(1.1 * grad_log_prob)

    monkeypatch.setattr(type(head), "log_prob_and_backward", wrong)
    stack = stack_of(head)
    gradients, minibatch = ppo.Gradients(stack, CONFIG), minibatch_of(stack, 33)
    if rewards == "large":  # beside the value's gradient the policy's is small
        minibatch = minibatch._replace(target=minibatch.target + 300)
    if rewards == "none at first":
        gradients.add(minibatch._replace(advantage=torch.zeros_like(minibatch.advantage)))
    stack.buffer.fill_(1.0)  # what is there already stays
    with pytest.warns(RuntimeWarning, match="differs from autograd's by .* with torch "):
        gradients.add(minibatch)
    first = stack.buffer.clone()
    gradients.add(minibatch)
    stack.buffer.fill_(1.0)
    gradients.add_by_autograd(minibatch)
    assert torch.equal(first, stack.buffer)


def test_where_nothing_is_used_nothing_is_computed_but_the_reduction_is():
    stack = stack_of(Categorical(3))
    batch = ppo.Batch(*(values.flatten(0, 1) for values in minibatch_of(stack, 10)[:5]))
    plan = ppo.plan(np.full((1, 20), -1), 2, np.zeros((2, 1, 20)), 4, parameters=1000)
    assert plan.blocks == ()
    calls, before = [], stack.flat.clone()
    ppo.PPOUpdate(stack, CONFIG)(batch, plan, [True, True], 0.1, lambda buffer: calls.append(buffer.clone()))
    assert len(calls) == 2 * 4
    assert not torch.stack(calls).any()
    torch.testing.assert_close(stack.flat, before, rtol=0, atol=0)


def test_learning_loads_no_compiler():
    """It would cost every rank more than a second at its start."""
    program = """
import sys, torch, numpy as np
from mlsh_mpi.algorithm import ppo
from mlsh_mpi.config.ppo_settings import PrimitivePPO
from mlsh_mpi.networks.distributions import Categorical
from mlsh_mpi.networks.actor_critic import Network, StackedActorCritic
stack = StackedActorCritic(1, Network(2, Categorical(2), (4,)))
stack.initialise(0, np.random.default_rng(0))
ones = torch.ones(1, 3)
minibatch = ppo.Minibatch(torch.ones(1, 3, 2), torch.zeros(1, 3, dtype=torch.int64), -ones, ones, ones, ones)
ppo.PPOUpdate(stack, PrimitivePPO()).gradient([(0, minibatch)], lambda _: None)
assert stack.gradient.any()
assert not {"sympy", "torch._dynamo", "torch._inductor"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_rank_without_samples_still_takes_part_in_the_reduction():
    stack = stack_of(Categorical(3))
    calls = []
    update = ppo.PPOUpdate(stack, CONFIG)
    empty = torch.zeros(0)
    batch = ppo.Batch(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), empty, empty, empty)
    before = stack.flat.clone()
    update(
        batch,
        ppo.plan(np.zeros((0, 10), int), 2, np.zeros((3, 0, 10)), 5),
        [True, True],
        1e-3,
        lambda buffer: calls.append(buffer.clone()),
    )
    assert len(calls) == 3 * 5
    assert not any(call.any() for call in calls)
    torch.testing.assert_close(stack.flat, before, rtol=0, atol=0)


def test_rows_step_as_under_adam_alone_and_rest_with_their_moments():
    stack = stack_of(Categorical(3), n=3)
    optimiser = ppo.Optimiser(stack)
    lone = [stack.flat[row].clone() for row in range(3)]
    adams = [torch.optim.Adam([parameter], lr=0.01) for parameter in lone]
    generator = torch.Generator().manual_seed(0)
    for step in range(6):
        stack.gradient.copy_(torch.randn(stack.gradient.shape, generator=generator))
        active = [True, step % 2 == 0, step > 3]
        optimiser.step(active, [0.01] * 3)
        for row, moves in enumerate(active):
            if moves:
                lone[row].grad = stack.gradient[row].clone()
                adams[row].step()
        torch.testing.assert_close(stack.flat, torch.stack(lone), rtol=1e-5, atol=1e-6)
    optimiser.reset(0)
    adams[0] = torch.optim.Adam([lone[0]], lr=0.01)
    stack.gradient.fill_(0.5)
    optimiser.step([True, False, False], [0.01] * 3)
    lone[0].grad = stack.gradient[0].clone()
    adams[0].step()
    torch.testing.assert_close(stack.flat, torch.stack(lone), rtol=1e-5, atol=1e-6)


def test_values_far_from_zero_are_learned_within_a_warm_up():
    """No clip around the old value holds the critic back: returns are in the tens."""
    stack = stack_of(Categorical(3), n=1, hidden=(64, 64))
    update = ppo.PPOUpdate(stack, CONFIG)
    observation = torch.randn(200, 4)
    action = torch.zeros(200, dtype=torch.int64)
    batch = ppo.Batch(observation, action, torch.zeros(200), torch.zeros(200), torch.full((200,), 30.0))
    for epoch in range(9):
        keys = np.random.default_rng(epoch).random((10, 1, 200))
        update(batch, ppo.plan(np.zeros((1, 200), int), 1, keys, 3), [True], 0.01, lambda _: None)
    assert (stack.value(observation[None]) - 30).abs().mean() < 3


def update_of(head, **settings):
    """An update of two rows, and a batch with a plan of three epochs of four minibatches."""
    stack = stack_of(head)
    samples = minibatch_of(stack, 40)
    fresh = stack.log_prob(samples.observation, samples.action)
    batch = ppo.Batch(*(values.flatten(0, 1) for values in samples._replace(log_prob=fresh)[:5]))
    rows = np.repeat([0, 1], 40)[None]
    plan = ppo.plan(rows, 2, np.random.default_rng(0).random((3, 1, 80)), 4)
    return ppo.PPOUpdate(stack, dataclasses.replace(CONFIG, **settings)), batch, plan


@pytest.mark.parametrize("by_autograd", [False, True])
@pytest.mark.parametrize("kind", HEADS)
def test_what_is_measured_is_what_its_name_says(kind, by_autograd):
    stack = stack_of(HEADS[kind][0])
    minibatch = minibatch_of(stack, 60)
    gradients = Gradients(stack, CONFIG)
    gradients.measures = True
    stack.buffer.zero_()
    (gradients.add_by_autograd if by_autograd else gradients.add_written_out)(minibatch)
    weight, advantage = minibatch.weight, minibatch.advantage
    log_ratio = stack.log_prob(minibatch.observation, minibatch.action) - minibatch.log_prob
    ratio = log_ratio.exp()
    policy_loss = -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
    value_loss = (stack.value(minibatch.observation) - minibatch.target) ** 2
    each = (policy_loss, value_loss, ratio - 1 - log_ratio, (ratio - 1).abs() > 0.2)
    expected = torch.stack([(values * weight).sum(1) for values in each], dim=1)
    torch.testing.assert_close(stack.measured, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("learning_rate", "target", "expected"),
    [(0.005, 1e-6, 0.005 / 1.5), (1e-4, 1.0, 1.5e-4), (9e-3, 100.0, 1e-2), (2e-6, 1e-14, 2e-6 / 1.5)],
)
def test_the_learning_rate_follows_the_divergence_within_its_bounds(learning_rate, target, expected):
    update, batch, plan = update_of(Gaussian(2), adaptive_kl=target)
    rates = []
    for _ in range(2):
        found = update(batch, plan, [True, False], learning_rate, lambda _: None)
        rates.append(found[0, ppo.UPDATE_DIAGNOSTICS.index("learning_rate")])
        assert np.isnan(found[1]).all()
    assert rates == [learning_rate, pytest.approx(expected, rel=1e-5)]
    assert update.optimiser.adapted[1] == 1
    update.optimiser.reset(0)
    assert update.optimiser.adapted[0] == 1


def test_a_row_whose_policy_has_gone_far_enough_rests_and_when_all_have_the_epochs_end():
    for target, calls_expected in ((1e-9, 4), (1e9, 3 * 4)):
        update, batch, plan = update_of(Categorical(3), target_kl=target)
        calls = []
        update(batch, plan, [True, True], 0.01, calls.append)
        assert len(calls) == calls_expected
    update, batch, plan = update_of(Categorical(3), target_kl=1e-9)
    batch.advantage[:40] = 0  # row 0 does not move
    update(batch, plan, [True, True], 0.01, lambda _: None)
    assert update.optimiser.steps.tolist() == [12, 4]


def test_no_step_follows_a_gradient_longer_than_its_limit():
    update, batch, plan = update_of(Categorical(3), max_gradient_norm=0.25)
    seen, stack = [], update._stack
    update.optimiser.step = lambda *_: seen.append(stack.gradient.norm(dim=1).tolist())
    found = update(batch, plan, [True, True], 0.01, lambda _: None)
    assert np.max(seen) == pytest.approx(0.25, rel=1e-4)
    assert (found[:, ppo.UPDATE_DIAGNOSTICS.index("gradient_norm")] > 0.25).all()
    unbounded, _, _ = update_of(Categorical(3))
    before = {name: values.clone() for name, values in vars(unbounded.optimiser).items() if torch.is_tensor(values)}
    assert {"mean", "square", "steps", "adapted"} == set(before)


def test_a_fresh_policy_draws_with_the_deviation_that_was_asked_for():
    stack = StackedActorCritic(2, Network(4, Gaussian(3, 0.5), (8,)))
    stack.initialise(1, np.random.default_rng(0))
    log_std = stack.network.log_std(stack.parameters)
    torch.testing.assert_close(log_std.exp(), torch.tensor([[1.0] * 3, [0.5] * 3]))
