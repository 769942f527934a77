"""The networks of masters and primitives, and stacks of them whose parameters are views of one flat tensor."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mlsh_mpi.networks.distributions import Head

Array = np.ndarray[Any, np.dtype[Any]]
MEASURED = 4
"""Number of diagnostics summed over a minibatch: policy loss, value loss, KL divergence from the policy that collected the
samples, and clipped ratios."""


@dataclass(frozen=True)
class Network:
    """The architecture of an actor-critic: two separate tanh networks, one for the policy and one for the value.

    Its functions are pure and batched: every parameter has a leading dimension n, one row for each actor-critic.
    """

    observation_size: int
    head: Head
    hidden: tuple[int, ...]
    critic_size: int = field(default=0, kw_only=True)
    """Number of inputs that only the value network sees; they follow the observation."""
    written_out: ClassVar[bool] = True
    """Whether gradients.py has its backward pass written out; else autograd computes the gradients."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters of one actor-critic, in the order in which the functions take them."""
        shapes: dict[str, tuple[int, ...]] = {}
        of_value = self.observation_size + self.critic_size
        for net, inputs, outputs in (("policy", self.observation_size, self.head.outputs), ("value", of_value, 1)):
            widths = (inputs, *self.hidden, outputs)
            for layer, (fan_in, out) in enumerate(itertools.pairwise(widths)):
                shapes |= {f"{net}.{layer}.weight": (fan_in, out), f"{net}.{layer}.bias": (out,)}
        if self.head.log_std_size:
            shapes["policy.log_std"] = (self.head.log_std_size,)
        return shapes

    def policy(self, parameters: Sequence[Tensor], observation: Tensor) -> Tensor:
        """Outputs of the policies: (n, B, observation) -> (n, B, outputs). The inputs of the value network may follow."""
        return _forward(parameters[: self.layer_parameters], self.policy_part(observation))

    def policy_part(self, observation: Tensor) -> Tensor:
        """(..., observation and inputs of the value network alone) -> (..., observation)."""
        return observation[..., : self.observation_size] if self.critic_size else observation

    def value(self, parameters: Sequence[Tensor], observation: Tensor) -> Tensor:
        """Values: (n, B, observation and inputs of the value network alone) -> (n, B)."""
        return _forward(parameters[self.layer_parameters : 2 * self.layer_parameters], observation).squeeze(-1)

    def log_prob(self, parameters: Sequence[Tensor], observation: Tensor, action: Tensor) -> Tensor:
        """Log-probabilities: (n, B, observation), (n, B, ...) -> (n, B). The inputs of the value network may follow."""
        return self.head.log_prob(self.policy(parameters, observation), self.log_std(parameters), action)

    def evaluate(self, parameters: Sequence[Tensor], observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities, values and entropies, (n, B) each; a network whose policy and value share layers evaluates these
        only once."""
        outputs, log_std = self.policy(parameters, observation), self.log_std(parameters)
        log_prob, entropy = self.head.log_prob(outputs, log_std, action), self.head.entropy(outputs, log_std)
        return log_prob, self.value(parameters, observation), entropy

    def log_std(self, parameters: Sequence[Tensor]) -> Tensor:
        """Logarithms of standard deviations, the same for every observation: (n, actions); (n, 0) if actions are discrete."""
        return parameters[-1] if self.head.log_std_size else parameters[-1].new_empty(len(parameters[-1]), 0)

    @property
    def layer_parameters(self) -> int:
        """Number of parameters, weights and biases, of each of the two networks: the policy's come first, then the value's."""
        return 2 * (len(self.hidden) + 1)


class StackedActorCritic:
    """n actor-critics of the same shape, evaluated in one batched call.

    Each row of `flat` (n, P) holds one of them; `parameters` are views of it. `gradients` are views of `gradient` (n, P), which
    shares `buffer` with each row's sample count and diagnostics, so that an allreduce needs one call and no copy.
    """

    def __init__(self, n: int, network: Network, dtype: torch.dtype = torch.float32) -> None:
        sizes = [math.prod(shape) for shape in network.shapes.values()]
        row = sum(sizes)
        self.n, self.network = n, network

        # One flat tensor for the parameters, and one for all that an allreduce sums.
        self.flat = torch.zeros(n, row, dtype=dtype)
        self.buffer = torch.zeros(n * (row + 1 + MEASURED), dtype=dtype)
        self.gradient = self.buffer[: n * row].view(n, row)
        self.counts = self.buffer[n * row : n * (row + 1)]
        self.measured = self.buffer[n * (row + 1) :].view(n, MEASURED)

        def views(of: Tensor) -> list[Tensor]:
            parts = of.split(sizes, dim=1)
            return [part.view(n, *shape) for part, shape in zip(parts, network.shapes.values(), strict=True)]

        self.parameters, self.gradients = views(self.flat), views(self.gradient)

    def initialise(self, row: int, rng: np.random.Generator) -> None:
        """Fresh parameters for one row: weight columns of norm 1 (0.01 in the policy's last layer), biases zero."""
        self.flat[row] = 0
        self.network.log_std(self.parameters)[row] = self.network.head.fresh
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
        """Values: (n, B, observation and inputs of the value network alone) -> (n, B)."""
        return self.network.value(self.parameters, observation)

    def log_prob(self, observation: Tensor, action: Tensor) -> Tensor:
        """Log-probabilities: (n, B, observation), (n, B, ...) -> (n, B)."""
        return self.network.log_prob(self.parameters, observation, action)

    def rescale_values(self, rows: Sequence[int], scale: Tensor, shift: Tensor) -> None:
        """Changes the last value layer of some rows so that V becomes scale * V + shift; `scale` and `shift` are (rows,)."""
        last = 2 * self.network.layer_parameters - 2
        weight, bias = self.parameters[last : last + 2]
        weight[rows] *= scale.view(-1, 1, 1)
        bias[rows] = bias[rows] * scale.unsqueeze(-1) + shift.unsqueeze(-1)

    def named_parameters(self) -> dict[str, Tensor]:
        """Copies of the parameters by name, each (n, ...), as in a saved phi."""
        return {name: value.clone() for name, value in zip(self.network.shapes, self.parameters, strict=True)}


def by_row(rows: Array, n: int) -> tuple[Array, Array]:
    """Groups samples by the row of the stack that they belong to.

    Args:
        rows: (B,) integers, the row that each sample belongs to.
        n: number of rows of the stack.

    Returns:
        (n, M) indices of each row's samples, padded with sample 0 to the M of the longest row; and (B,) the position of each
        sample in the flattened (n * M).
    """
    counts = np.bincount(rows, minlength=n)
    order = np.argsort(rows, kind="stable")
    width = int(counts.max())

    # In the sorted order a row's samples are adjacent; each row is then moved to the beginning of its padded block.
    starts = np.cumsum(counts) - counts
    place_of_ordered = np.arange(len(rows)) - np.repeat(starts - np.arange(n) * width, counts)

    index = np.zeros(n * width, np.intp)
    index[place_of_ordered] = order

    place = np.empty(len(rows), np.intp)
    place[order] = place_of_ordered
    return index.reshape(n, width), place


_MINUS_ONE = torch.tensor(-1.0)


def tanh_layer(bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """tanh(x weight + bias): (n, 1, out), (n, B, in), (n, in, out) -> (n, B, out).

    2 sigmoid(2 z) - 1 takes less than half the time of torch.tanh, which would be a third of the time of an update.
    """
    return torch.add(_MINUS_ONE, torch.baddbmm(bias, x, weight, beta=2, alpha=2).sigmoid_(), alpha=2)


def _forward(layers: Sequence[Tensor], x: Tensor) -> Tensor:
    for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
        x = tanh_layer(bias.unsqueeze(1), x, weight)
    return torch.baddbmm(layers[-1].unsqueeze(1), x, layers[-2])
