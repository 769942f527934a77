"""Writes the pooled gradients of phi to OUTPUT, with all that is needed to derive them anew from the pooled data.

mpirun -np N python gradient.py OUTPUT
"""

import itertools
import sys
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import torch

from mlsh_mpi.algorithm import ppo
from mlsh_mpi.algorithm.primitives import shared_primitives
from mlsh_mpi.config.overrides import with_options
from mlsh_mpi.config.settings import Config
from mlsh_mpi.mpi.job import job

OBSERVATION, WORKERS, SAMPLES, EPOCHS, MINIBATCHES = 5, 6, 150, 1, 3
USAGE = [0.93, 0.05, 0.02, 0.0]
"""Of each primitive; the third is used by worker 5 alone, the last by nobody."""
SPACES = {"discrete": gym.spaces.Discrete(4), "box": gym.spaces.Box(-1, 1, (3,))}
DEALS = {
    1: [[[0, 1, 2, 3, 4, 5]]],
    2: [[[0, 1, 2], [3, 4, 5]], [[], [0, 1, 2, 3, 4, 5]]],
    3: [[[0, 1, 2, 3], [], [4, 5]]],
    4: [[[5], [0, 1], [], [2, 3, 4]]],
}
"""For each number of ranks, which workers each of them hosts."""


def data_of(worker, stack):
    """Samples of one worker: a batch, and which primitive each sample belongs to (-1: none learns from it)."""
    generator = torch.Generator().manual_seed(worker)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    rows = torch.multinomial(torch.tensor(USAGE), SAMPLES, replacement=True, generator=generator)
    rows[rows == 2] = 0
    if worker == 5:
        rows[:9] = 2
    observation = normal(SAMPLES, OBSERVATION)
    head = stack.network.head
    action = torch.randint(4, (SAMPLES,), generator=generator) if not head.log_std_size else normal(SAMPLES, 3)
    every = stack.log_prob(observation.expand(stack.n, -1, -1), action.expand(stack.n, *action.shape))
    then = every[rows, torch.arange(SAMPLES)] + 0.3 * normal(SAMPLES)  # a good part of the ratios is out of range
    rows[torch.rand(SAMPLES, generator=generator) < 0.1] = -1
    return ppo.Batch(observation, action, then, normal(SAMPLES), 3 * normal(SAMPLES)), rows.numpy()


def pooled(world, values):
    """What all ranks gave, in rank order."""
    return [item for part in world.allgather(values) for item in part]


def record(world, space, workers):
    """The gradients of every minibatch, and what they were made of."""
    config = with_options(Config(), {"primitives": len(USAGE), "hidden": (16, 8)})
    family = SimpleNamespace(primitive_columns=np.arange(OBSERVATION), action_space=space)
    learner = shared_primitives(config, world, family)
    stack = learner.stack
    stack.flat += torch.randn(stack.flat.shape, generator=torch.Generator().manual_seed(99)) / 10
    data = [data_of(worker, stack) for worker in range(WORKERS)]
    mine = [data[worker] for worker in workers]
    batch = ppo.Batch(*(torch.cat([getattr(b, name) for b, _ in mine] or [none]) for name, none in empties(data[0][0])))
    rows = np.array([row for _, row in mine], np.int64).reshape(len(workers), SAMPLES)
    keys = [np.random.default_rng([7, worker]).random((EPOCHS, SAMPLES)) for worker in workers]
    stacked = np.stack(keys, axis=1) if keys else np.empty((EPOCHS, 0, SAMPLES))
    dear = 10**7 * (world.rank % 2)  # so that odd ranks compute every row apart
    plan = ppo.plan(rows, stack.n, stacked, MINIBATCHES, parameters=dear)
    minibatches = []
    for (epoch, number), parts in zip(np.ndindex(EPOCHS, MINIBATCHES), itertools.chain(*ppo.epochs_of(batch, plan)), strict=True):
        index, weight = plan.index[epoch, number], plan.weight[epoch, number]
        counts = learner.update.gradient(parts, lambda buffer: world.allreduce(buffer.numpy()))
        own = [[workers[i // SAMPLES] * SAMPLES + i % SAMPLES for i in index[k][weight[k] > 0].tolist()] for k in range(stack.n)]
        samples = [list(itertools.chain(*here)) for here in zip(*world.allgather(own), strict=True)]
        copies = world.allgather(stack.gradient.numpy().tobytes())
        same = all(copy == copies[0] for copy in copies)
        minibatches.append({"gradient": stack.gradient.clone(), "counts": counts, "samples": samples, "same": same})
    return {
        "phi": stack.named_parameters(),
        "data": {name: torch.cat([getattr(b, name) for b, _ in data]) for name in vars(data[0][0])},
        "rows": np.concatenate([row for _, row in data]),
        "minibatches": minibatches,
        "clip": config.primitive.clip,
        "value_coefficient": config.primitive.value_coefficient,
    }


def empties(example):
    """The fields of a batch with tensors of no samples."""
    return [(name, values[:0]) for name, values in vars(example).items()]


def main():
    torch.set_num_threads(1)
    with job() as current:
        world = current.world
        records = {
            (name, number): record(world, space, deal[world.rank])
            for name, space in SPACES.items()
            for number, deal in enumerate(DEALS[world.size])
            if number == 0 or name == "discrete"
        }
        if world.rank == 0:
            torch.save(records, sys.argv[1])


main()
