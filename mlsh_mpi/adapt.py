"""The test of the method: the primitives stay as they are, and only a fresh master learns (paper, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlsh_mpi import seeding
from mlsh_mpi.comm import Job
from mlsh_mpi.config import Config
from mlsh_mpi.hosting import host
from mlsh_mpi.lanes import Maker, Spec
from mlsh_mpi.learner import choice_entropy, learn_masters, private_masters
from mlsh_mpi.metrics import Tally, finished, shown
from mlsh_mpi.policies import Skills
from mlsh_mpi.rollout import Rollout, Streams, always, collect, masters_decide

Array = np.ndarray[Any, np.dtype[Any]]
TEST_SEED = 2**20
"""Added to the run's seed, so that tests meet episodes training never saw."""
FORCED_ITERATION = 10_000
"""Where the forced episodes' random streams begin, beyond any number of updates of a fresh master."""


@dataclass(frozen=True)
class Adaptation:
    """How fresh masters fared over frozen primitives."""

    tasks: tuple[Any, ...]
    """(M,) task of each master."""
    returns: Array
    """(U + 1, M) mean return of an episode after 0 to U updates, exploration on."""
    unexplored: Array
    """(M,) mean return after the last update, exploration off."""
    entropy: Array
    """(M,) nats, of the master's own choices after the last update."""
    usage: Array
    """(M, K) share of the steps each primitive then ran, exploration off."""


def adapt(
    config: Config, job: Job, maker: Maker, spec: Spec, skills: Skills, updates: int, advance: Callable[[str], None]
) -> Adaptation:
    """Trains fresh masters, one a task, over frozen primitives.

    Args:
        config: of the run; a master has one worker with its D, and its N.
        job: this MPI job; the masters are dealt to its ranks.
        maker: makes the environments.
        spec: theirs.
        skills: frozen.
        updates: of each master.
        advance: told after each collection.
    """
    count = max(config.run.test_masters, job.world.size, len(spec.tasks))
    seed = config.run.seed + TEST_SEED
    tasks = tuple(_test_task(spec, seed, master) for master in range(count))
    hosting = host(count, 1, job.world.size, job.world.rank)
    masters = private_masters(config, job.world, spec, hosting)
    for row, master in enumerate(hosting.groups):
        masters.restart(row, seeding.stream(seed, "theta", 0, master))
    lanes = maker.lanes(len(hosting.groups) * (config.sampling.steps // spec.episode_length))

    def collected(iteration: int, exploration: float) -> tuple[Rollout, Tally]:
        rollout = collect(
            lanes,
            masters_decide(masters.stack, exploration),
            skills,
            [tasks[master] for master in hosting.groups],
            Streams(seed, iteration, hosting.groups),
            episode_length=spec.episode_length,
            macro_length=config.hierarchy.macro_length,
            watch=job.watch,
        )
        tally = Tally.empty(count, config.hierarchy.primitives, job.world.size)
        tally.add_rollout(rollout, hosting)
        return rollout, tally

    length = config.hierarchy.macro_length
    returns = []
    for update in range(updates + 1):
        rollout, tally = collected(update, config.hierarchy.exploration)
        if update < updates:
            learn_masters(masters, rollout, hosting.workers, update, seed, length, config.master)
        job.world.sum(tally.flat)
        returns.append(tally.returns())
        advance(f"fresh masters after {update} updates: return {shown(float(np.nanmean(returns[-1])))}")
    rollout, unexplored = collected(updates + 1, 0.0)
    unexplored.add_entropy(choice_entropy(masters.stack, rollout.steps.observation), hosting, 1)
    job.world.sum(unexplored.flat)
    lanes.close()
    usage = unexplored.groups[:, 4:] / unexplored.groups[:, 4:].sum(1, keepdims=True)
    return Adaptation(tasks, np.stack(returns), unexplored.returns(), unexplored.groups[:, 3], usage)


def forced_returns(
    config: Config, job: Job, maker: Maker, spec: Spec, skills: Skills, tasks: Sequence[Any], advance: Callable[[str], None]
) -> Array:
    """The separation matrix: mean return of each primitive run alone on each task, actions sampled.

    Args:
        config: of the run; `test_masters` workers run `test_episodes` each.
        job: this MPI job; the workers are dealt to its ranks.
        maker: makes the environments.
        spec: theirs.
        skills: frozen.
        tasks: columns of the matrix.
        advance: told after each primitive on each task.

    Returns:
        (K, tasks).
    """
    count = max(config.run.test_masters, job.world.size)
    hosting = host(count, 1, job.world.size, job.world.rank)
    lanes = maker.lanes(len(hosting.workers) * config.run.test_episodes)
    sums = np.zeros((2, skills.primitives.n, len(tasks)))
    for k, column in np.ndindex(sums.shape[1:]):
        rollout = collect(
            lanes,
            always(k),
            skills,
            [tasks[column]] * len(hosting.workers),
            Streams(config.run.seed + TEST_SEED, FORCED_ITERATION + k * len(tasks) + column, hosting.workers),
            episode_length=spec.episode_length,
            macro_length=spec.episode_length,
            watch=job.watch,
        )
        sums[:, k, column] = finished(rollout.steps.reward, rollout.steps.end)[:2]
        advance(f"primitive {k} alone on {spec.label(tasks[column])}")
    lanes.close()
    job.world.sum(sums)
    return sums[1] / np.maximum(sums[0], 1)


def _test_task(spec: Spec, seed: int, master: int) -> Any:
    """Every listed task in turn; else one of the distribution."""
    if spec.tasks:
        return spec.tasks[master % len(spec.tasks)]
    return spec.sample_task(seeding.stream(seed, "task", master))
