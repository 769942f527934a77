"""What network outputs mean: log-probabilities against torch.distributions, draws against their probabilities."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlsh_mpi.networks.distributions import Categorical, Exploring, Gaussian

LOGITS = np.array([1.0, -0.5, 0.3, -2.0], np.float32)
PROBABILITIES = torch.softmax(torch.from_numpy(LOGITS), 0).numpy()
NO_FREE = torch.zeros(2, 0)
DRAWS = 100_000


@pytest.fixture(autouse=True)
def repeatable():
    torch.manual_seed(0)


def draws(head, outputs, log_std=()):
    """As many actions from one row of outputs, and the noise they were drawn with."""
    noise = head.noise(np.random.default_rng(0), (DRAWS,))
    wide = np.broadcast_to(outputs, (DRAWS, len(outputs)))
    return head.sample(wide, np.broadcast_to(np.float32(log_std), (DRAWS, len(log_std))), noise), noise


def as_likely_as(counts, probabilities):
    """Every count within five standard deviations of what its probability predicts."""
    expected = counts.sum() * np.asarray(probabilities)
    return (np.abs(counts - expected) <= 5 * np.sqrt(expected * (1 - np.asarray(probabilities)))).all()


def test_categorical_log_prob_is_torchs():
    outputs, action = torch.randn(2, 9, 4), torch.randint(4, (2, 9))
    expected = torch.distributions.Categorical(logits=outputs).log_prob(action)
    torch.testing.assert_close(Categorical(4).log_prob(outputs, NO_FREE, action), expected)


def test_gaussian_log_prob_is_torchs():
    outputs, log_std, action = torch.randn(2, 9, 3), torch.randn(2, 3), torch.randn(2, 9, 3)
    expected = torch.distributions.Normal(outputs, log_std.exp()[:, None]).log_prob(action).sum(-1)
    torch.testing.assert_close(Gaussian(3).log_prob(outputs, log_std, action), expected)


def test_entropies_are_torchs():
    outputs, log_std = torch.randn(2, 9, 3), torch.randn(2, 3)
    own = torch.distributions.Categorical(logits=outputs).entropy()
    for head in (Categorical(3), Exploring(3, 0.1)):
        torch.testing.assert_close(head.entropy(outputs, NO_FREE), own)
    normal = torch.distributions.Normal(outputs, log_std.exp()[:, None]).entropy().sum(-1)
    torch.testing.assert_close(Gaussian(3).entropy(outputs, log_std), normal)


@pytest.mark.parametrize("exploration", [0.0, 0.1, 1.0])
def test_exploring_log_prob_is_that_of_the_mixture(exploration):
    outputs, action = torch.randn(2, 9, 4), torch.randint(4, (2, 9))
    own = torch.distributions.Categorical(logits=outputs)
    uniform = torch.distributions.Categorical(logits=torch.zeros(2, 9, 4))
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(probs=torch.tensor([1 - exploration, exploration]).expand(2, 9, 2)),
        torch.distributions.Categorical(probs=torch.stack((own.probs, uniform.probs), dim=-2)),
    )
    found = Exploring(4, exploration).log_prob(outputs, NO_FREE, action)
    torch.testing.assert_close(found, mixture.log_prob(action))
    one_draw = (1 - exploration) * torch.exp(own.log_prob(action)) + exploration / 4
    torch.testing.assert_close(found.exp(), one_draw)


@pytest.mark.parametrize("head", [Categorical(4), Exploring(4, 0.1)])
def test_probabilities_of_all_choices_add_up_to_1(head):
    outputs = torch.randn(2, 1, 4).expand(2, 4, 4)
    everything = head.log_prob(outputs, NO_FREE, torch.arange(4).expand(2, 4))
    torch.testing.assert_close(everything.exp().sum(-1), torch.ones(2))


def test_categorical_draws_as_often_as_likely():
    choices, _ = draws(Categorical(4), LOGITS)
    assert as_likely_as(np.bincount(choices, minlength=4), PROBABILITIES)


@pytest.mark.parametrize("exploration", [0.0, 0.1, 0.5, 1.0])
def test_exploring_draws_the_mixture_and_knows_which_draws_explored(exploration):
    head = Exploring(4, exploration)
    choices, noise = draws(head, LOGITS)
    explored = head.explores(noise)
    mixture = (1 - exploration) * PROBABILITIES + exploration / 4
    assert as_likely_as(np.bincount(choices, minlength=4), mixture)
    assert as_likely_as(np.bincount(explored, minlength=2), [1 - exploration, exploration])
    assert as_likely_as(np.bincount(choices[explored], minlength=4), np.full(4, 0.25))
    assert as_likely_as(np.bincount(choices[~explored], minlength=4), PROBABILITIES)


def test_gaussian_draws_with_the_right_mean_and_deviation():
    mean, log_std = np.array([2.0, -1.0], np.float32), np.array([-1.0, 0.5])
    actions, _ = draws(Gaussian(2), mean, log_std)
    deviation = np.exp(log_std)
    assert (np.abs(actions.mean(0) - mean) < 5 * deviation / np.sqrt(DRAWS)).all()
    assert (np.abs(actions.std(0) / deviation - 1) < 5 / np.sqrt(2 * DRAWS)).all()
    assert abs(np.corrcoef(actions.T)[0, 1]) < 5 / np.sqrt(DRAWS)


@given(
    logits=st.lists(st.floats(-80, 80, width=32), min_size=1, max_size=6),
    uniform=st.floats(0, 1, exclude_max=True, width=32),
)
def test_a_draw_is_where_the_uniform_number_falls(logits, uniform):
    """However peaked the probabilities: inside the range, and inside the interval of the choice."""
    outputs = np.array([logits], np.float32)
    (choice,) = Categorical(len(logits)).sample(outputs, outputs, np.array([uniform], np.float32))
    weights = np.exp(np.float64(outputs[0]) - outputs.max())
    edges = np.concatenate(([0], np.cumsum(weights / weights.sum())))
    assert 0 <= choice < len(logits)
    assert edges[choice] - 1e-6 <= uniform <= edges[choice + 1] + 1e-6


def test_what_has_no_probability_is_never_drawn():
    """A softmax that underflows to 0, met by a uniform number of exactly 0."""
    outputs = np.array([[-200, 0, -200]], np.float32)
    assert Categorical(3).sample(outputs, outputs, np.zeros(1, np.float32)) == 1


@pytest.mark.parametrize("last", [0.0, np.nextafter(np.float32(1), np.float32(0))])
def test_the_ends_of_the_uniform_range_draw_the_first_and_the_last(last):
    head = Exploring(3, 1.0)
    outputs = np.zeros((1, 3), np.float32)
    assert head.sample(outputs, outputs, np.array([[0.0, last]], np.float32)) == (0 if last == 0 else 2)


@pytest.mark.parametrize("head", [Categorical(4), Exploring(4, 0.1)])
def test_categorical_divergence_is_torchs(head):
    p, q = torch.randn(9, 4), torch.randn(9, 4)
    expected = torch.distributions.kl_divergence(*(torch.distributions.Categorical(logits=of) for of in (p, q)))
    np.testing.assert_allclose(head.divergence(p.numpy(), (), q.numpy(), ()), expected, rtol=1e-4, atol=1e-6)


def test_gaussian_divergence_is_torchs():
    (p, q), (log_std_p, log_std_q) = torch.randn(2, 9, 3), torch.randn(2, 3)
    policies = [torch.distributions.Normal(mean, log_std.exp()) for mean, log_std in ((p, log_std_p), (q, log_std_q))]
    expected = torch.distributions.kl_divergence(*policies).sum(-1)
    found = Gaussian(3).divergence(p.numpy(), log_std_p.numpy(), q.numpy(), log_std_q.numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
