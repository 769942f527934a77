"""Stacks of actor-critics against separate torch.nn networks, and one flat tensor behind all of them."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from mlsh_mpi.errors import UserError
from mlsh_mpi.networks.actor_critic import Network, StackedActorCritic, by_row
from mlsh_mpi.networks.distributions import Categorical, Exploring, Gaussian, head_for
from mlsh_mpi.networks.observation_filter import Moments, ObservationFilter

HEADS = [Categorical(5), Exploring(4, 0.1), Gaussian(3)]
N, SIZE, HIDDEN, BATCH = 3, 6, (16, 8), 11


@pytest.fixture(autouse=True)
def repeatable():
    torch.manual_seed(0)


def filled(head, hidden=HIDDEN):
    """A stack whose every parameter is random."""
    stack = StackedActorCritic(N, Network(SIZE, head, hidden))
    stack.flat.copy_(torch.randn(stack.flat.shape, generator=torch.Generator().manual_seed(0)) / 2)
    return stack


def separate(stack, row, net):
    """One row's policy or value network, built of torch's own layers."""
    tensors = stack.named_parameters()
    layers = []
    for i in range(len(stack.network.hidden) + 1):
        weight, bias = tensors[f"{net}.{i}.weight"][row], tensors[f"{net}.{i}.bias"][row]
        linear = torch.nn.Linear(*weight.shape)
        linear.weight.data, linear.bias.data = weight.T.contiguous(), bias
        layers += [linear, torch.nn.Tanh()]
    return torch.nn.Sequential(*layers[:-1])


def actions_for(head):
    if isinstance(head, Gaussian):
        return torch.randn(N, BATCH, head.outputs)
    return torch.randint(head.outputs, (N, BATCH))


@pytest.mark.parametrize("hidden", [(16, 8), (5,), ()])
@pytest.mark.parametrize("head", HEADS)
def test_a_stack_equals_separate_networks(head, hidden):
    stack = filled(head, hidden)
    observation, action = torch.randn(N, BATCH, SIZE), actions_for(head)
    log_std = stack.named_parameters().get("policy.log_std", torch.zeros(N, 0))
    for row in range(N):
        outputs = separate(stack, row, "policy")(observation[row])
        log_prob = head.log_prob(outputs[None], log_std[row : row + 1], action[row : row + 1])
        value = separate(stack, row, "value")(observation[row]).squeeze(-1)
        torch.testing.assert_close(stack.policy(observation)[row], outputs)
        torch.testing.assert_close(stack.log_prob(observation, action)[row], log_prob[0])
        torch.testing.assert_close(stack.value(observation)[row], value)


@pytest.mark.parametrize("head", HEADS)
def test_gradients_equal_those_of_separate_networks(head):
    stack = filled(head)
    observation, action = torch.randn(N, BATCH, SIZE), actions_for(head)
    leaves = {name: value.requires_grad_() for name, value in stack.named_parameters().items()}
    parameters = list(leaves.values())
    log_prob = stack.network.log_prob(parameters, observation, action)
    (log_prob.sum() + (stack.network.value(parameters, observation) ** 2).sum()).backward()
    for row in range(N):
        nets = {net: separate(stack, row, net) for net in ("policy", "value")}
        log_std = leaves["policy.log_std"].detach()[row : row + 1] if head.log_std_size else torch.zeros(1, 0)
        log_std.requires_grad_()
        log_prob = head.log_prob(nets["policy"](observation[row])[None], log_std, action[row : row + 1])
        (log_prob.sum() + (nets["value"](observation[row]) ** 2).sum()).backward()
        expected = {
            f"{net}.{i}.{kind}": gradient
            for net, layers in nets.items()
            for i, linear in enumerate(layer for layer in layers if isinstance(layer, torch.nn.Linear))
            for kind, gradient in (("weight", linear.weight.grad.T), ("bias", linear.bias.grad))
        } | ({"policy.log_std": log_std.grad[0]} if head.log_std_size else {})
        assert set(expected) == set(leaves)
        for name, gradient in expected.items():
            torch.testing.assert_close(leaves[name].grad[row], gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_parameters_and_gradients_are_views_of_flat_tensors(head):
    """Adam moves `flat` and MPI sums `buffer`, so all that layers read and write must lie in there, each entry once."""
    stack = filled(head)
    for whole, parts in ((stack.flat, stack.parameters), (stack.gradient, stack.gradients)):
        whole.zero_()
        for part in parts:
            part += 1
        assert torch.equal(whole, torch.ones_like(whole))
        assert sum(part.numel() for part in parts) == whole.numel()
        whole[1] = 7
        for part in parts:
            assert [row.unique().tolist() for row in part] == [[1], [7], [1]]
    stack.counts.fill_(3)
    assert stack.buffer.tolist() == [*stack.gradient.reshape(-1).tolist(), 3, 3, 3, *stack.measured.reshape(-1).tolist()]


@pytest.mark.parametrize("head", HEADS)
def test_named_parameters_are_copies(head):
    stack = filled(head)
    tensors = stack.named_parameters()
    assert {name: tuple(value.shape[1:]) for name, value in tensors.items()} == stack.network.shapes
    assert sum(value.numel() for value in tensors.values()) == stack.flat.numel()
    stack.flat.zero_()
    assert all(value.any() for value in tensors.values())


@pytest.mark.parametrize("head", HEADS)
def test_initial_columns_have_norm_1_and_the_policys_last_001(head):
    stack = filled(head)
    others = stack.flat[[0, 2]].clone()
    stack.initialise(1, np.random.default_rng(0))
    assert torch.equal(stack.flat[[0, 2]], others)
    for name, values in stack.named_parameters().items():
        if name.endswith("weight"):
            expected = torch.full(values[1].shape[1:], 0.01 if name == "policy.2.weight" else 1.0)
            torch.testing.assert_close(values[1].norm(dim=0), expected)
        else:
            assert not values[1].any()


def test_a_fresh_row_depends_on_its_stream_alone():
    one, other = filled(Categorical(5)), StackedActorCritic(N, Network(SIZE, Categorical(5), HIDDEN))
    one.initialise(0, np.random.default_rng(7))
    other.initialise(2, np.random.default_rng(7))
    assert torch.equal(one.flat[0], other.flat[2])
    other.initialise(1, np.random.default_rng(8))
    assert not torch.equal(other.flat[1], other.flat[2])


@given(rows=st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_by_row_puts_each_sample_once_among_its_own(rows):
    rows = np.array(rows)
    index, place = by_row(rows, 5)
    assert index.shape == (5, np.bincount(rows).max())
    np.testing.assert_array_equal(index.reshape(-1)[place], np.arange(len(rows)))
    np.testing.assert_array_equal(place // index.shape[1], rows)
    padding = np.delete(index.reshape(-1), place)
    assert not padding.any()


def test_head_for_each_kind_of_action():
    assert head_for(gym.spaces.Discrete(7)) == Categorical(7)
    assert head_for(gym.spaces.Box(-1, 1, (4,))) == Gaussian(4)


@pytest.mark.parametrize(
    "space", [gym.spaces.Discrete(3, start=1), gym.spaces.Box(-1, 1, (2, 2)), gym.spaces.MultiDiscrete([2, 2])]
)
def test_head_for_refuses_other_spaces(space):
    with pytest.raises(UserError, match=r"Discrete .*or one-dimensional Box spaces, not in"):
        head_for(space)


batches = st.lists(nps.arrays(np.float64, st.tuples(st.integers(1, 8), st.just(3)), elements=st.floats(-50, 50)), min_size=1)


@given(batches)
def test_the_filter_standardises_by_all_it_has_merged(seen):
    pooled = np.concatenate(seen)
    rows = ObservationFilter(3)
    for batch in seen:
        rows.merge(Moments.from_batch(batch))
    mean, variance = (pooled.mean(0), pooled.var(0)) if len(pooled) > 1 else (0, np.ones(3))
    expected = (pooled - mean) / np.sqrt(np.maximum(variance, 1e-4))
    np.testing.assert_allclose(rows(pooled), np.clip(expected, -5, 5), atol=1e-4)
    assert rows(pooled).dtype == np.float32


@given(batches)
def test_merging_in_parts_equals_merging_the_pool(seen):
    parts, whole = ObservationFilter(3), ObservationFilter(3)
    for batch in seen:
        parts.merge(Moments.from_batch(batch))
    whole.merge(Moments.from_batch(np.concatenate(seen)[:, None]))
    probe = np.random.default_rng(0).uniform(-50, 50, (20, 3))
    np.testing.assert_allclose(parts(probe), whole(probe), atol=1e-4)


def test_the_filter_keeps_far_away_observations_apart():
    """Sums of squares lose digits far from 0; float64 leaves enough of them."""
    far = np.random.default_rng(0).normal(1e4, 1.0, (5000, 1))
    rows = ObservationFilter(1)
    rows.merge(Moments.from_batch(far))
    assert abs(rows(far).std() - 1) < 1e-3
    assert np.abs(rows(np.array([[1e6], [-1e6]]))).tolist() == [[5], [5]]
