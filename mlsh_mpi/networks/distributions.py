"""Distributions over actions, and over the choices of a master, given the outputs of a policy network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from mlsh_mpi.errors import UserError

Array = np.ndarray[Any, np.dtype[Any]]
Backward = Callable[[Tensor], tuple[Tensor, Tensor | None]]
"""Gradient with respect to log-probabilities, (n, B) -> to outputs, (n, B, outputs), and to log_std, (n, log_std)."""


class Head(Protocol):
    """The distribution over actions, parametrised by a policy network's outputs."""

    @property
    def outputs(self) -> int:
        """Width of the network's last layer."""
        ...

    @property
    def log_std_size(self) -> int:
        """Number of log standard deviations, parameters that do not depend on the observation; 0 if there are none."""
        ...

    @property
    def fresh(self) -> float:
        """Initial value of these parameters."""
        ...

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Random numbers for `shape` samples: (*shape, ...)."""
        ...

    def sample(self, outputs: Array, log_std: Array, noise: Array) -> Array:
        """Actions: (B, outputs), (B, log_std), noise for (B,) samples -> (B, ...)."""
        ...

    def mode(self, outputs: Array) -> Array:
        """The most likely actions: (B, outputs) -> (B, ...)."""
        ...

    def log_prob(self, outputs: Tensor, log_std: Tensor, action: Tensor) -> Tensor:
        """Log-probability of actions: (n, B, outputs), (n, log_std), (n, B, ...) -> (n, B)."""
        ...

    def log_prob_and_backward(self, outputs: Tensor, log_std: Tensor, action: Tensor) -> tuple[Tensor, Backward]:
        """:meth:`log_prob`, and its backward pass written out: the same as autograd's, without a graph."""
        ...

    def entropy(self, outputs: Tensor, log_std: Tensor) -> Tensor:
        """Entropy in nats, differential entropy for a Gaussian: (n, B, outputs), (n, log_std) -> (n, B)."""
        ...

    def entropy_backward(self, outputs: Tensor, log_std: Tensor, grad_entropy: Tensor) -> tuple[Tensor, Tensor | None]:
        """The backward pass of :meth:`entropy`, written out: gradient with respect to entropies, (n, B) -> :data:`Backward`'s."""
        ...

    def divergence(self, outputs: Array, log_std: Array, other: Array, other_log_std: Array) -> Array:
        """Kullback-Leibler divergence in nats from one policy to another: (B, outputs), (log_std,) of each -> (B,)."""
        ...


@dataclass(frozen=True)
class Categorical:
    """One of `outputs` choices."""

    outputs: int
    log_std_size: int = 0
    fresh: float = 0.0

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return rng.random(shape, dtype=np.float32)

    def sample(self, outputs: Array, log_std: Array, noise: Array) -> Array:
        return _inverse_cdf(outputs, noise)

    def mode(self, outputs: Array) -> Array:
        return outputs.argmax(-1)

    def log_prob(self, outputs: Tensor, log_std: Tensor, action: Tensor) -> Tensor:
        return torch.log_softmax(outputs, -1).gather(-1, action.unsqueeze(-1)).squeeze(-1)

    def log_prob_and_backward(self, outputs: Tensor, log_std: Tensor, action: Tensor) -> tuple[Tensor, Backward]:
        log_pi, index = torch.log_softmax(outputs, -1), action.unsqueeze(-1)

        def backward(grad_log_prob: Tensor) -> tuple[Tensor, None]:
            grad_log_pi = torch.zeros_like(log_pi).scatter_add_(-1, index, grad_log_prob.unsqueeze(-1))
            return torch.ops.aten._log_softmax_backward_data.default(grad_log_pi, log_pi, -1, log_pi.dtype), None

        return log_pi.gather(-1, index).squeeze(-1), backward

    def entropy(self, outputs: Tensor, log_std: Tensor) -> Tensor:
        return _entropy(outputs)

    def entropy_backward(self, outputs: Tensor, log_std: Tensor, grad_entropy: Tensor) -> tuple[Tensor, None]:
        return _entropy_backward(outputs, grad_entropy), None

    def divergence(self, outputs: Array, log_std: Array, other: Array, other_log_std: Array) -> Array:
        return _divergence(outputs, other)


@dataclass(frozen=True)
class Exploring:
    """A master's choice of one of `outputs` primitives, replaced by a uniformly random one with probability `exploration`.

    The log-probability is that of the mixture, (1 - eps) pi + eps / K, so that explored choices have correct probability ratios.
    """

    outputs: int
    exploration: float
    log_std_size: int = 0
    fresh: float = 0.0

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return rng.random((*shape, 2), dtype=np.float32)

    def sample(self, outputs: Array, log_std: Array, noise: Array) -> Array:
        return np.where(self.explores(noise), uniform(noise[:, 1], self.outputs), _inverse_cdf(outputs, noise[:, 1]))

    def mode(self, outputs: Array) -> Array:
        return outputs.argmax(-1)

    def explores(self, noise: Array) -> Array:
        """Whether exploration makes the choice: (B, 2) noise -> (B,) bool."""
        return noise[:, 0] < self.exploration

    def log_prob(self, outputs: Tensor, log_std: Tensor, action: Tensor) -> Tensor:
        own = torch.softmax(outputs, -1).gather(-1, action.unsqueeze(-1)).squeeze(-1)
        return torch.log((1 - self.exploration) * own + self.exploration / self.outputs)

    def log_prob_and_backward(self, outputs: Tensor, log_std: Tensor, action: Tensor) -> tuple[Tensor, Backward]:
        pi, index = torch.softmax(outputs, -1), action.unsqueeze(-1)
        mixture = (1 - self.exploration) * pi.gather(-1, index).squeeze(-1) + self.exploration / self.outputs

        def backward(grad_log_prob: Tensor) -> tuple[Tensor, None]:
            grad_own = (grad_log_prob / mixture).mul_(1 - self.exploration)
            grad_pi = torch.zeros_like(pi).scatter_add_(-1, index, grad_own.unsqueeze(-1))
            return torch.ops.aten._softmax_backward_data.default(grad_pi, pi, -1, pi.dtype), None

        return torch.log(mixture), backward

    def entropy(self, outputs: Tensor, log_std: Tensor) -> Tensor:
        return _entropy(outputs)  # of the master's own policy, without exploration

    def entropy_backward(self, outputs: Tensor, log_std: Tensor, grad_entropy: Tensor) -> tuple[Tensor, None]:
        return _entropy_backward(outputs, grad_entropy), None

    def divergence(self, outputs: Array, log_std: Array, other: Array, other_log_std: Array) -> Array:
        return _divergence(outputs, other)  # of the masters' own policies, without exploration


@dataclass(frozen=True)
class Gaussian:
    """Independent normal actions; their log standard deviations are parameters, not network outputs (paper's code)."""

    outputs: int
    initial_std: float = 1.0

    @property
    def log_std_size(self) -> int:
        return self.outputs

    @property
    def fresh(self) -> float:
        return math.log(self.initial_std)

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return rng.standard_normal((*shape, self.outputs), dtype=np.float32)

    def sample(self, outputs: Array, log_std: Array, noise: Array) -> Array:
        return outputs + np.exp(log_std) * noise

    def mode(self, outputs: Array) -> Array:
        return outputs

    def log_prob(self, outputs: Tensor, log_std: Tensor, action: Tensor) -> Tensor:
        squared = torch.nn.functional.mse_loss(outputs, action, reduction="none")
        constant = (log_std + 0.5 * np.log(2 * np.pi)).sum(-1, keepdim=True)
        return (squared * (-0.5 * torch.exp(-2 * log_std)).unsqueeze(1)).sum(-1) - constant

    def log_prob_and_backward(self, outputs: Tensor, log_std: Tensor, action: Tensor) -> tuple[Tensor, Backward]:
        error, precision = outputs - action, torch.exp(-2 * log_std)
        squared, factor = error * error, (precision * -0.5).unsqueeze(1)
        constant = (log_std + 0.5 * np.log(2 * np.pi)).sum(-1, keepdim=True)

        def backward(grad_log_prob: Tensor) -> tuple[Tensor, Tensor]:
            each = grad_log_prob.unsqueeze(-1)
            grad_log_std = (each * squared).sum(1).mul_(precision) - grad_log_prob.sum(1, keepdim=True)
            return (each * factor).mul_(error).mul_(2), grad_log_std

        return (squared * factor).sum(-1) - constant, backward

    def entropy(self, outputs: Tensor, log_std: Tensor) -> Tensor:
        return (log_std + 0.5 * np.log(2 * np.pi * np.e)).sum(-1, keepdim=True).expand(outputs.shape[:2])

    def entropy_backward(self, outputs: Tensor, log_std: Tensor, grad_entropy: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(outputs), grad_entropy.sum(1, keepdim=True).expand(log_std.shape)

    def divergence(self, outputs: Array, log_std: Array, other: Array, other_log_std: Array) -> Array:
        variance = np.exp(2 * (log_std - other_log_std))
        squared = ((outputs - other) * np.exp(-other_log_std)) ** 2
        return 0.5 * (variance + squared - 1 - 2 * (log_std - other_log_std)).sum(-1)


def head_for(space: gym.Space[Any], initial_std: float = 1.0) -> Head:
    """The head for an environment's action space.

    Args:
        space: the action space.
        initial_std: standard deviation of a fresh policy's continuous actions, in the policy's units.

    Raises:
        UserError: the space is neither Discrete (from 0) nor a one-dimensional Box.
    """
    if isinstance(space, gym.spaces.Discrete) and space.start == 0:
        return Categorical(int(space.n))
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1:
        return Gaussian(space.shape[0], initial_std)
    raise UserError(f"primitives act in Discrete (starting at 0) or one-dimensional Box spaces, not in {space}")


def uniform(noise: Array, choices: int) -> Array:
    """Uniform choices: (B,) numbers in [0, 1] -> (B,) from 0 to `choices` - 1."""
    return np.minimum((noise * choices).astype(np.int64), choices - 1)


def _inverse_cdf(logits: Array, noise: Array) -> Array:
    """Samples by inverting the cumulative softmax: (B, n), (B,) in [0, 1) -> (B,)."""
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    cumulative = weights.cumsum(-1)
    return (cumulative[:, :-1] <= (noise * cumulative[:, -1])[:, None]).sum(-1)


def _divergence(logits: Array, other: Array) -> Array:
    """Kullback-Leibler divergence between two softmax distributions: (B, n) of each -> (B,)."""
    log_p, log_q = (values - np.logaddexp.reduce(values, -1, keepdims=True) for values in (logits, other))
    return (np.exp(log_p) * (log_p - log_q)).sum(-1)


def _entropy(logits: Tensor) -> Tensor:
    """Entropies of softmax distributions: (..., n) -> (...)."""
    log_pi = torch.log_softmax(logits, -1)
    return -(log_pi.exp() * log_pi).sum(-1)


def _entropy_backward(logits: Tensor, grad_entropy: Tensor) -> Tensor:
    """dH / dlogits = -pi (log pi + H): (..., n), (...) -> (..., n)."""
    log_pi = torch.log_softmax(logits, -1)
    pi = log_pi.exp()
    entropy = -(pi * log_pi).sum(-1, keepdim=True)
    return (log_pi + entropy).mul_(pi).mul_(-grad_entropy.unsqueeze(-1))
