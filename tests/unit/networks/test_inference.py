"""The fast ways to act equal the plain one: each lane's primitive evaluated by itself."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from mlsh_mpi.networks.actor_critic import Network, StackedActorCritic
from mlsh_mpi.networks.distributions import head_for
from mlsh_mpi.networks.inference import FEW_LANES, actor, outputs_of

SPACES = {"discrete": gym.spaces.Discrete(5), "box": gym.spaces.Box(-1, 1, (3,))}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("hidden", [(64, 64), (7,), ()])
@pytest.mark.parametrize("lanes", [1, 2, 5, FEW_LANES, FEW_LANES + 1, 40])
@pytest.mark.parametrize("size", [6, 348])
def test_lanes_act_as_their_primitives_would_alone(space, hidden, lanes, size):
    rng = np.random.default_rng(lanes)
    head = head_for(space)
    stack = StackedActorCritic(3, Network(size, head, hidden))
    stack.flat.copy_(torch.from_numpy(rng.standard_normal(stack.flat.shape).astype(np.float32) / np.sqrt(4 * size)))
    primitive = rng.integers(3, size=lanes)
    act = actor(stack, primitive)
    for _ in range(3):
        seen, noise = rng.standard_normal((lanes, size), np.float32), head.noise(rng, (lanes,))
        found = act(seen, noise)
        for lane, k in enumerate(primitive):
            outputs = stack.policy(torch.from_numpy(seen[lane]).expand(3, 1, -1))[k].numpy()
            log_std = stack.network.log_std(stack.parameters)[k].numpy()[None]
            expected = head.sample(outputs, log_std, noise[lane : lane + 1])[0]
            np.testing.assert_allclose(found[lane], expected, atol=1e-5)
        assert found.dtype == (np.int64 if space is SPACES["discrete"] else np.float32)


def test_few_lanes_keep_acting_with_the_weights_of_their_decision():
    """Weights are copied at a decision, so what learns afterwards must not be needed before the next."""
    stack = StackedActorCritic(2, Network(2, head_for(SPACES["box"]), (4,)))
    stack.initialise(0, np.random.default_rng(0))
    seen, noise = np.ones((1, 2), np.float32), np.zeros((1, 3), np.float32)
    act = actor(stack, np.array([0]))
    before = act(seen, noise)
    stack.flat.zero_()
    np.testing.assert_array_equal(act(seen, noise), before)
    assert not actor(stack, np.array([0]))(seen, noise).any()


@pytest.mark.parametrize("each", [1, FEW_LANES // 2, 30])
def test_masters_decide_by_the_same_outputs_however_many_lanes_they_have(each):
    stack = StackedActorCritic(2, Network(6, head_for(SPACES["discrete"]), (64, 64)))
    stack.flat.copy_(torch.from_numpy(np.random.default_rng(0).standard_normal(stack.flat.shape).astype(np.float32)) / 2)
    seen = np.random.default_rng(1).standard_normal((2, each, 6), np.float32)
    np.testing.assert_allclose(outputs_of(stack, seen), stack.policy(torch.from_numpy(seen)).numpy(), atol=1e-5)
