"""The running scale of returns, against the same computed from all of them; and that values mean the same when it moves."""

import numpy as np
import pytest
import torch

from mlsh_mpi.algorithm import ppo
from mlsh_mpi.algorithm.batches import normalise
from mlsh_mpi.algorithm.return_scale import RETURN_DECAY, Pooled, ReturnScale, diagnostics
from mlsh_mpi.algorithm.stack_trainer import StackTrainer
from mlsh_mpi.config.ppo_settings import PrimitivePPO
from mlsh_mpi.networks.actor_critic import Network, StackedActorCritic
from mlsh_mpi.networks.distributions import Categorical


class Alone:
    """In place of ranks: there is one."""

    def allreduce(self, values):
        """Is that already."""


def stack(n=2):
    found = StackedActorCritic(n, Network(3, Categorical(2), (4,)))
    for row in range(n):
        found.initialise(row, np.random.default_rng(row))
    return found


def pooled(returns, rows, n=2):
    """What is known of such returns of some rows."""
    nothing = np.zeros(np.shape(returns))
    return normalise(nothing, np.asarray(returns, float), nothing, np.asarray(rows), n, Alone())[1]


def test_moments_are_those_of_all_returns_with_older_ones_faded():
    rng, scale = np.random.default_rng(0), ReturnScale(stack())
    seen, weights = [], []
    for update in range(4):
        returns, rows = rng.normal(100 * update, 3, (50, 1)), np.zeros((50, 1), int)
        scale.update(pooled(returns, rows))
        weights = [RETURN_DECAY * weight for weight in weights] + [1.0] * 50
        seen += returns[:, 0].tolist()
    mean, deviation = scale.moments
    expected = np.average(seen, weights=weights)
    assert mean[0] == pytest.approx(expected, rel=1e-5)
    assert deviation[0] == pytest.approx(np.sqrt(np.average((np.array(seen) - expected) ** 2, weights=weights)), rel=1e-4)
    assert (mean[1], deviation[1]) == (0, 0)


def test_values_mean_the_same_when_the_scale_moves():
    learner = StackTrainer.create(stack(), PrimitivePPO(standardise_values=True), Alone())
    observation = torch.randn(2, 5, 3)
    rows = np.repeat([[0], [1]], 5, axis=1)

    def expected():
        return learner.returns_from(learner.stack.value(observation).numpy(), rows)

    assert not expected().any()
    learner.targets(np.zeros((4, 1)), np.zeros((4, 1), int), pooled([[3.0], [5.0], [9.0], [2.0]], [[0], [0], [1], [1]]))
    before = expected()
    assert before.any()
    learner.targets(np.zeros((4, 1)), np.zeros((4, 1), int), pooled([[300.0], [500.0], [-9.0], [2.0]], [[0], [0], [0], [0]]))
    np.testing.assert_allclose(expected(), before, rtol=1e-4)
    learner.restart(0, np.random.default_rng(5))
    assert not expected()[0].any()
    np.testing.assert_allclose(expected()[1], before[1], rtol=1e-4)


def test_targets_are_standardised_returns():
    learner = StackTrainer.create(stack(), PrimitivePPO(standardise_values=True), Alone())
    returns, rows = np.random.default_rng(0).normal([-7, 900], [2, 50], (400, 2)), np.repeat([[0, 1]], 400, axis=0)
    targets = learner.targets(returns, rows, pooled(returns, rows))
    np.testing.assert_allclose(targets.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(targets.std(0), 1, rtol=1e-3)
    np.testing.assert_allclose(learner.returns_from(targets, rows), returns, rtol=1e-3)


@pytest.mark.parametrize("value", [0.0, 5.0, -1e6])
def test_returns_that_are_all_the_same_have_a_scale_too(value):
    learner = StackTrainer.create(stack(), PrimitivePPO(standardise_values=True), Alone())
    returns, rows = np.full((9, 1), value, np.float32), np.zeros((9, 1), int)
    for _ in range(3):
        targets = learner.targets(returns, rows, pooled(returns, rows))
    assert np.abs(targets).max() < 1e-3
    assert torch.isfinite(learner.stack.flat).all()


def test_without_standardisation_values_are_returns():
    learner = StackTrainer.create(stack(), PrimitivePPO(), Alone())
    values, rows = np.random.default_rng(0).normal(size=(3, 2)), np.zeros((3, 2), int)
    assert learner.returns_from(values, rows) is values
    assert learner.targets(values, rows, pooled(values, rows)) is values
    assert "returns" not in learner.state_dict()


def test_the_explained_variance_is_that_of_the_returns():
    rng = np.random.default_rng(0)
    returns, rows = rng.normal(5, 2, (300, 2)), np.repeat([[0, 1]], 300, axis=0)
    values = returns + rng.normal(0, [0.5, 4], (300, 2))
    _, found = normalise(returns - values, returns, -np.ones((300, 2)), rows, 2, Alone())
    expected = 1 - (returns - values).var(0) / returns.var(0)
    np.testing.assert_allclose(found.explained_variance, expected)
    told = diagnostics(np.zeros((2, len(ppo.UPDATE_DIAGNOSTICS))), stack(), found)
    assert told.shape == (2, len(ppo.DIAGNOSTICS))
    np.testing.assert_allclose(told[:, ppo.DIAGNOSTICS.index("explained_variance")], expected)
    np.testing.assert_allclose(told[:, ppo.DIAGNOSTICS.index("entropy")], 1)
    assert isinstance(found, Pooled)
