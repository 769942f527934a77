"""Masters and primitives: what their networks compute, and stacks of them whose parameters are views of one flat tensor."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from mlsh_mpi.errors import UserError
from mlsh_mpi.filters import ObservationFilter

Array = np.ndarray[Any, np.dtype[Any]]


class Head(Protocol):
    """What a policy network's outputs mean."""

    @property
    def outputs(self) -> int:
        """Width of the network's last layer."""
        ...

    @property
    def free(self) -> int:
        """Number of parameters of the distribution that do not depend on the observation."""
        ...

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Random numbers for as many draws: (*shape, ...)."""
        ...

    def sample(self, outputs: Array, free: Array, noise: Array) -> Array:
        """Actions: (B, outputs), (B, free), noise of (B,) draws -> (B, ...)."""
        ...

    def log_prob(self, outputs: Tensor, free: Tensor, action: Tensor) -> Tensor:
        """Log-probability of actions: (n, B, outputs), (n, free), (n, B, ...) -> (n, B)."""
        ...


@dataclass(frozen=True)
class Categorical:
    """One of `outputs` choices."""

    outputs: int
    free: int = 0

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return rng.random(shape, dtype=np.float32)

    def sample(self, outputs: Array, free: Array, noise: Array) -> Array:
        return _inverse_cdf(outputs, noise)

    def log_prob(self, outputs: Tensor, free: Tensor, action: Tensor) -> Tensor:
        return torch.log_softmax(outputs, -1).gather(-1, action.unsqueeze(-1)).squeeze(-1)


@dataclass(frozen=True)
class Exploring:
    """A master's choice of one of `outputs` primitives; with probability `exploration` a uniform one instead of its own.

    The log-probability is that of the mixture, (1 - eps) pi + eps / K, so that ratios of explored choices are right.
    """

    outputs: int
    exploration: float
    free: int = 0

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return rng.random((*shape, 2), dtype=np.float32)

    def sample(self, outputs: Array, free: Array, noise: Array) -> Array:
        uniform = np.minimum((noise[:, 1] * self.outputs).astype(np.int64), self.outputs - 1)
        return np.where(self.explores(noise), uniform, _inverse_cdf(outputs, noise[:, 1]))

    def explores(self, noise: Array) -> Array:
        """Which draws are exploration's: (B, 2) -> (B,) bool."""
        return noise[:, 0] < self.exploration

    def log_prob(self, outputs: Tensor, free: Tensor, action: Tensor) -> Tensor:
        own = torch.softmax(outputs, -1).gather(-1, action.unsqueeze(-1)).squeeze(-1)
        return torch.log((1 - self.exploration) * own + self.exploration / self.outputs)


@dataclass(frozen=True)
class Gaussian:
    """Independent normal actions whose log standard deviations are parameters, not outputs (paper's code)."""

    outputs: int

    @property
    def free(self) -> int:
        return self.outputs

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return rng.standard_normal((*shape, self.outputs), dtype=np.float32)

    def sample(self, outputs: Array, free: Array, noise: Array) -> Array:
        return outputs + np.exp(free) * noise

    def log_prob(self, outputs: Tensor, free: Tensor, action: Tensor) -> Tensor:
        squared = torch.nn.functional.mse_loss(outputs, action, reduction="none")
        constant = (free + 0.5 * np.log(2 * np.pi)).sum(-1, keepdim=True)
        return (squared * (-0.5 * torch.exp(-2 * free)).unsqueeze(1)).sum(-1) - constant


def head_for(space: gym.Space[Any]) -> Head:
    """The head for an environment's action space.

    Raises:
        UserError: the space is neither Discrete (from 0) nor a one-dimensional Box.
    """
    if isinstance(space, gym.spaces.Discrete) and space.start == 0:
        return Categorical(int(space.n))
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1:
        return Gaussian(space.shape[0])
    raise UserError(f"primitives act in Discrete (starting at 0) or one-dimensional Box spaces, not in {space}")


@dataclass(frozen=True)
class Network:
    """The shape of an actor-critic: two separate tanh networks, one for the policy and one for the value.

    Its functions are pure and batched: every parameter has a leading dimension n, one row for each actor-critic.
    """

    observation_size: int
    head: Head
    hidden: tuple[int, ...]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters, in the order in which the functions take them."""
        shapes: dict[str, tuple[int, ...]] = {}
        for net, outputs in (("policy", self.head.outputs), ("value", 1)):
            widths = (self.observation_size, *self.hidden, outputs)
            for layer, (fan_in, out) in enumerate(itertools.pairwise(widths)):
                shapes |= {f"{net}.{layer}.weight": (fan_in, out), f"{net}.{layer}.bias": (out,)}
        if self.head.free:
            shapes["policy.free"] = (self.head.free,)
        return shapes

    def policy(self, parameters: Sequence[Tensor], observation: Tensor) -> Tensor:
        """Outputs of the policies: (n, B, observation) -> (n, B, outputs)."""
        return _forward(parameters[: self.layer_parameters], observation)

    def value(self, parameters: Sequence[Tensor], observation: Tensor) -> Tensor:
        """Values: (n, B, observation) -> (n, B)."""
        return _forward(parameters[self.layer_parameters : 2 * self.layer_parameters], observation).squeeze(-1)

    def log_prob(self, parameters: Sequence[Tensor], observation: Tensor, action: Tensor) -> Tensor:
        """Log-probabilities: (n, B, observation), (n, B, ...) -> (n, B)."""
        return self.head.log_prob(self.policy(parameters, observation), self.free(parameters), action)

    def free(self, parameters: Sequence[Tensor]) -> Tensor:
        """The head's parameters that do not depend on the observation: (n, free)."""
        return parameters[-1] if self.head.free else parameters[-1].new_empty(len(parameters[-1]), 0)

    @property
    def layer_parameters(self) -> int:
        """Number of parameters, weights and biases, of each of the two networks: the policy's come first, then the value's."""
        return 2 * (len(self.hidden) + 1)


class Stack:
    """n actor-critics of one shape, evaluated in one batched call.

    Each row of `flat` (n, P) holds one of them; `parameters` are views of it. `gradients` are views of `gradient`, which
    shares `buffer` with one sample count a row: a reduction over ranks takes one call and copies nothing.
    """

    def __init__(self, n: int, network: Network) -> None:
        sizes = [math.prod(shape) for shape in network.shapes.values()]
        row = sum(sizes)
        self.n, self.network = n, network
        self.flat = torch.zeros(n, row)
        self.buffer = torch.zeros(n * row + n)
        self.gradient = self.buffer[: n * row].view(n, row)
        self.counts = self.buffer[n * row :]

        def views(of: Tensor) -> list[Tensor]:
            parts = of.split(sizes, dim=1)
            return [part.view(n, *shape) for part, shape in zip(parts, network.shapes.values(), strict=True)]

        self.parameters, self.gradients = views(self.flat), views(self.gradient)

    def initialise(self, row: int, rng: np.random.Generator) -> None:
        """Fresh parameters for one row: weight columns of norm 1 (0.01 in the policy's last layer), all else zero."""
        self.flat[row] = 0
        last = f"policy.{len(self.network.hidden)}.weight"
        for (name, shape), parameter in zip(self.network.shapes.items(), self.parameters, strict=True):
            if name.endswith("weight"):
                columns = rng.standard_normal(shape)
                columns *= (0.01 if name == last else 1.0) / np.linalg.norm(columns, axis=0)
                parameter[row] = torch.from_numpy(columns)

    def policy(self, observation: Tensor) -> Tensor:
        """Outputs of the policies: (n, B, observation) -> (n, B, outputs)."""
        return self.network.policy(self.parameters, observation)

    def value(self, observation: Tensor) -> Tensor:
        """Values: (n, B, observation) -> (n, B)."""
        return self.network.value(self.parameters, observation)

    def log_prob(self, observation: Tensor, action: Tensor) -> Tensor:
        """Log-probabilities: (n, B, observation), (n, B, ...) -> (n, B)."""
        return self.network.log_prob(self.parameters, observation, action)

    def named_parameters(self) -> dict[str, Tensor]:
        """Copies of the parameters by name, each (n, ...): what a saved phi holds."""
        return {name: value.clone() for name, value in zip(self.network.shapes, self.parameters, strict=True)}


@dataclass(frozen=True)
class Skills:
    """What all tasks share: the primitives, and how everyone observes."""

    primitives: Stack
    columns: Array
    """Indices of the observation that primitives see; masters see all of it."""
    observation_filter: ObservationFilter | None

    def observe(self, raw: Array) -> Array:
        """(L, observation) as policies see it."""
        return raw if self.observation_filter is None else self.observation_filter(raw)

    def shown(self, observation: Array) -> Array:
        """(..., observation) -> (..., what primitives see of it); a view where that is one stretch of it."""
        return observation[..., self._selection]

    @cached_property
    def _selection(self) -> slice | Array:
        first, last = int(self.columns[0]), int(self.columns[-1])
        is_stretch = np.array_equal(self.columns, np.arange(first, last + 1))
        return slice(first, last + 1) if is_stretch else self.columns


def by_row(rows: Array, n: int) -> tuple[Array, Array]:
    """Where to put samples so that row k of a stack sees its own.

    Args:
        rows: (B,) integers, which of the n rows each sample belongs to.
        n: rows of the stack.

    Returns:
        (n, M) indices of samples, rows shorter than M padded with sample 0; and (B,) the place of each sample in the
        flattened (n * M).
    """
    counts = np.bincount(rows, minlength=n)
    order = np.argsort(rows, kind="stable")
    width = int(counts.max())
    starts = np.cumsum(counts) - counts
    place_of_ordered = np.arange(len(rows)) - np.repeat(starts - np.arange(n) * width, counts)
    index = np.zeros(n * width, np.intp)
    index[place_of_ordered] = order
    place = np.empty(len(rows), np.intp)
    place[order] = place_of_ordered
    return index.reshape(n, width), place


_MINUS_ONE = torch.tensor(-1.0)


class _Tanh(torch.autograd.Function):
    """tanh(z) = 2 sigmoid(2 z) - 1, overwriting z: in less than half the time of torch.tanh, a third of all learning."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        y = torch.add(_MINUS_ONE, z.mul_(2).sigmoid_(), alpha=2)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.tanh_backward(gradient, y)


def _forward(layers: Sequence[Tensor], x: Tensor) -> Tensor:
    for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
        x = _Tanh.apply(torch.baddbmm(bias.unsqueeze(1), x, weight))
    return torch.baddbmm(layers[-1].unsqueeze(1), x, layers[-2])


def _inverse_cdf(logits: Array, uniform: Array) -> Array:
    """Draws by inverting the cumulative softmax: (B, n), (B,) in [0, 1) -> (B,)."""
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    cumulative = weights.cumsum(-1)
    return (cumulative[:, :-1] <= (uniform * cumulative[:, -1])[:, None]).sum(-1)
