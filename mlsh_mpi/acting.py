"""How lanes act between two decisions of their masters: the cheapest forward pass that gives the primitives' outputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mlsh_mpi.policies import Array, Stack, by_row

Act = Callable[[Array, Array], Array]
"""(L, what primitives see), (L, ...) noise -> (L, ...) actions."""
FEW_LANES = 16
"""Up to so many, NumPy is faster: a call of torch on so little takes longer than its arithmetic."""


def actor(primitives: Stack, primitive: Array) -> Act:
    """Actions of the primitives that run in the lanes, for as long as these stay the same and do not learn.

    Args:
        primitives: the stack.
        primitive: (L,) which of them runs in each lane.
    """
    head = primitives.network.head
    free = primitives.network.free(primitives.parameters).numpy()[primitive]
    outputs = _lane_by_lane(primitives, primitive) if len(primitive) <= FEW_LANES else _row_by_row(primitives, primitive)
    return lambda seen, noise: head.sample(outputs(seen), free, noise)


def _row_by_row(primitives: Stack, primitive: Array) -> Callable[[Array], Array]:
    """By torch, for each primitive all of its lanes."""
    index, place = by_row(primitive, primitives.n)

    def outputs(seen: Array) -> Array:
        with torch.inference_mode():
            every = primitives.policy(torch.from_numpy(seen[index])).flatten(0, 1).numpy()
        return every[place]

    return outputs


def _lane_by_lane(primitives: Stack, primitive: Array) -> Callable[[Array], Array]:
    """By NumPy, with a copy of its primitive's weights for each lane."""
    layers = [parameter.numpy()[primitive] for parameter in primitives.parameters[: 2 * (len(primitives.network.hidden) + 1)]]
    weights, biases = layers[::2], [bias[:, None] for bias in layers[1::2]]

    def outputs(seen: Array) -> Array:
        x = seen[:, None]
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            x = np.matmul(x, weight)
            x += bias
            np.tanh(x, out=x)
        return (np.matmul(x, weights[-1]) + biases[-1])[:, 0]

    return outputs
