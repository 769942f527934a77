"""Runs the trainer on small cases and writes to OUTPUT what went on inside, for each case and iteration.

    mpirun -np N python placement.py OUTPUT CASE...

The trainer is the shipped one; two of the functions it calls are wrapped to look at what they get and give.
"""

import sys
import zlib

import numpy as np
import torch

from mlsh_mpi.algorithm import mlsh
from mlsh_mpi.config.overrides import with_options
from mlsh_mpi.config.ppo_settings import MasterPPO, PrimitivePPO
from mlsh_mpi.config.settings import Config
from mlsh_mpi.mpi.job import job
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.experiment import Experiment
from mlsh_mpi.sampling.task_family import TaskFamily

SMALL = {
    "macro_length": 10,
    "seed": 5,
    "hidden": (16, 16),
    "master": MasterPPO(epochs=4, minibatch_size=20),
    "primitive": PrimitivePPO(epochs=3, minibatches=3, learning_rate=1e-3),
}
SHARED = SMALL | {"groups": 2, "workers": 3, "warmup": 1, "joint": 1, "iterations": 4}
CASES = {
    "private": SMALL | {"groups": 4, "warmup": 2, "joint": 1, "steps": 500, "iterations": 4},
    "shared": SHARED | {"steps": 200},
    "early ends": SHARED
    | {"env": "small_envs:Walk", "episode_length": 30, "macro_length": 4, "steps": 180, "filter_observations": True},
    "short": SHARED
    | {"env": "small_envs:Push", "episode_length": 30, "macro_length": 4, "steps": 17, "filter_observations": True}
    | {"iterations": 6, "stratify_tasks": True, "initial_std": 0.5}
    | {
        "master": MasterPPO(epochs=4, minibatch_size=20, memory=3, standardise_values=True, target_kl=0.5),
        "primitive": PrimitivePPO(
            epochs=3,
            minibatches=3,
            min_samples=1,
            learning_rate=1e-3,
            adaptive_kl=0.01,
            standardise_values=True,
            max_gradient_norm=0.5,
            bootstrap_time_limits=True,
        ),
    },
}


class Spy:
    """What one rank's trainer did."""

    def __init__(self):
        self.tally = None
        self.labels = []
        self.first = {}
        self._collect, self._metrics = mlsh.collect, mlsh.iteration_metrics
        mlsh.collect, mlsh.iteration_metrics = self.watch, self.count

    def restore(self):
        """Gives the trainer its own functions back."""
        mlsh.collect, mlsh.iteration_metrics = self._collect, self._metrics

    def watch(self, lanes, master, policies, tasks, streams, **lengths):
        rollout = self._collect(lanes, master, policies, tasks, streams, **lengths)
        if streams.iteration == 0:
            for worker, *values in zip(
                streams.workers, *(np.split(v, len(streams.workers), axis=1) for v in rollout.steps), strict=True
            ):
                self.first[worker] = dict(zip(rollout.steps._fields, values, strict=True))
        return rollout

    def count(self, tally, phases, labels, min_samples):
        self.tally, self.labels = tally.groups.copy(), list(labels)
        return self._metrics(tally, phases, labels, min_samples)


def bits(values):
    return zlib.crc32(np.ascontiguousarray(values).tobytes())


def record(current, options):
    """The iterations of one case, as rank 0 sees them after gathering from all."""
    world, config, spy, iterations = current.world, with_options(Config(), options), Spy(), []
    family = TaskFamily.from_maker(EnvironmentMaker(config.environment.env, config.environment.episode_length))

    def on_iteration(metrics, state):
        phi = state.primitives.stack.flat.numpy()
        theta = {group: row.numpy().copy() for group, row in zip(state.placement.groups, state.masters.stack.flat, strict=True)}
        moments = state.policies.observation_filter.moments if state.policies.observation_filter else None
        iterations.append(
            {
                "metrics": metrics,
                "phi": phi.copy(),
                "phi_bits": world.allgather(bits(phi)),
                "theta": world.allgather(theta),
                "filter_bits": world.allgather(bits(np.stack((moments.total, moments.squares))) if moments else 0),
                "groups": spy.tally,
                "labels": spy.labels,
            }
        )

    try:
        mlsh.train(Experiment(config, current, family), None, on_iteration)
    finally:
        spy.restore()
    return {
        "first": {worker: seen for part in world.allgather(spy.first) for worker, seen in part.items()},
        "iterations": iterations,
    }


def main():
    torch.set_num_threads(1)
    with job() as current:
        records = {case: record(current, CASES[case]) for case in sys.argv[2:]}
        if current.world.rank == 0:
            torch.save(records, sys.argv[1])


main()
