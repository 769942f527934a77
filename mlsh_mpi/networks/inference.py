"""How lanes act: the cheapest forward passes that give the outputs of masters and of primitives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from mlsh_mpi.networks.actor_critic import Array, Stack, by_row
from mlsh_mpi.networks.distributions import Head
from mlsh_mpi.networks.observation_filter import ObservationFilter

Act = Callable[[Array, Array], Array]
"""(L, what primitives see), (L, ...) noise -> (L, ...) actions."""
FEW_LANES = 16
"""Up to so many, NumPy is faster: a call of torch on so little takes longer than its arithmetic."""


def outputs_of(stack: Stack, seen: Array) -> Array:
    """Outputs of the policies of a stack: (n, B, observation) -> (n, B, outputs)."""
    if seen.shape[0] * seen.shape[1] <= FEW_LANES:
        return _forward(_layers(stack), seen)
    with torch.inference_mode():
        return stack.policy(torch.from_numpy(seen)).numpy()


def actor(primitives: Stack, primitive: Array) -> Act:
    """Actions of the primitives that run in the lanes, for as long as these stay the same and do not learn.

    Args:
        primitives: the stack.
        primitive: (L,) which of them runs in each lane.
    """
    head = primitives.network.head
    log_std = primitives.network.log_std(primitives.parameters).numpy()[primitive]
    outputs = _lane_by_lane(primitives, primitive) if len(primitive) <= FEW_LANES else _row_by_row(primitives, primitive)
    return lambda seen, noise: head.sample(outputs(seen), log_std, noise)


def _row_by_row(primitives: Stack, primitive: Array) -> Callable[[Array], Array]:
    """For each primitive all of its lanes."""
    index, place = by_row(primitive, primitives.n)
    return lambda seen: outputs_of(primitives, seen[index]).reshape(index.size, -1)[place]


def _lane_by_lane(primitives: Stack, primitive: Array) -> Callable[[Array], Array]:
    """By NumPy, with a copy of its primitive's weights for each lane."""
    layers = [(weight[primitive], bias[primitive]) for weight, bias in _layers(primitives)]
    return lambda seen: _forward(layers, seen[:, None])[:, 0]


def _layers(stack: Stack) -> list[tuple[Array, Array]]:
    """Weights (n, in, out) and biases (n, 1, out) of the policies, as views."""
    parameters = [parameter.numpy() for parameter in stack.parameters[: stack.network.layer_parameters]]
    return [(weight, bias[:, None]) for weight, bias in zip(parameters[::2], parameters[1::2], strict=True)]


def _forward(layers: Sequence[tuple[Array, Array]], x: Array) -> Array:
    """(n, B, in) -> (n, B, out)."""
    for number, (weight, bias) in enumerate(layers):
        if number:
            np.tanh(x, out=x)
        x = np.matmul(x, weight)
        x += bias
    return x


@dataclass(frozen=True)
class Skills:
    """What all tasks share: the primitives, and how everyone observes."""

    primitives: Stack
    columns: Array
    """Indices of the observation that primitives see; masters see all of it."""
    observation_filter: ObservationFilter | None

    @property
    def head(self) -> Head:
        """What the primitives' outputs mean."""
        return self.primitives.network.head

    def acting(self, primitive: Array) -> Act:
        """How lanes act while these primitives (L,) run in them."""
        return actor(self.primitives, primitive)

    def observe(self, raw: Array) -> Array:
        """(L, observation) as policies see it."""
        return raw if self.observation_filter is None else self.observation_filter(raw)

    def primitive_view(self, observation: Array) -> Array:
        """(..., observation) -> (..., what primitives see of it); a view where that is one stretch of it."""
        return observation[..., self._selection]

    @cached_property
    def _selection(self) -> slice | Array:
        first, last = int(self.columns[0]), int(self.columns[-1])
        is_stretch = np.array_equal(self.columns, np.arange(first, last + 1))
        return slice(first, last + 1) if is_stretch else self.columns
