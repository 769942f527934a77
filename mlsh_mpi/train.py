"""The main job: Algorithm 1 of the paper (Frans et al. 2018, section 5).

mpirun -np 4 python -m mlsh_mpi.train [PRESET] [--options]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mlsh_mpi import schedule, seeding
from mlsh_mpi.comm import Job, Meter
from mlsh_mpi.config import Config
from mlsh_mpi.filters import Moments
from mlsh_mpi.hosting import grown, host
from mlsh_mpi.lanes import Maker, Spec
from mlsh_mpi.learner import learn_masters, learn_primitives
from mlsh_mpi.metrics import Tally, iteration_metrics
from mlsh_mpi.policies import Skills
from mlsh_mpi.rollout import Streams, collect, masters_decide
from mlsh_mpi.schedule import Phase
from mlsh_mpi.state import State

OnIteration = Callable[[dict[str, float], State], bool]


def train(
    config: Config, job: Job, maker: Maker, spec: Spec, saved: Mapping[str, Any] | None, on_iteration: OnIteration
) -> Skills:
    """Runs Algorithm 1, from its beginning or from where it was left.

    Args:
        config: checked against the environment.
        job: this MPI job.
        maker: makes the environments.
        spec: what :meth:`Maker.spec` found.
        saved: what a checkpoint holds; None starts a new run.
        on_iteration: receives the metrics of each iteration and the state after it, on every rank; True stops.

    Returns:
        The trained skills, the same on every rank.

    Raises:
        ArithmeticError: a parameter became NaN or infinite.
    """
    seed, world, hierarchy = config.run.seed, job.world, config.hierarchy
    groups = saved["groups"] if saved else grown(config.sampling.groups, config.sampling.workers, world.size)
    state = State.fresh(config, world, spec, groups)
    if saved:
        state.restore(saved)
    hosting, primitives, masters, skills = state.hosting, state.primitives, state.masters, state.skills
    hosted_by = [host(groups, config.sampling.workers, world.size, rank).groups for rank in range(world.size)]
    group_of_worker = [worker // config.sampling.workers for worker in hosting.workers]
    lanes = maker.lanes(len(hosting.workers) * (config.sampling.steps // spec.episode_length))

    for iteration in range(saved["iteration"] if saved else 0, config.run.iterations):
        clock = Clock(world.meter)
        macro_length = schedule.staged(iteration, hierarchy.forming_iterations, spec.episode_length, hierarchy.macro_length)
        phases = [schedule.phase(iteration, g, groups, hierarchy.warmup, hierarchy.joint) for g in range(groups)]
        tasks = [task_of(spec, seed, group, phases[group]) for group in range(groups)]
        for row, group in enumerate(hosting.groups):
            if phases[group].new_task:
                masters.restart(row, seeding.stream(seed, "theta", phases[group].cycle + 1, group))

        rollout = collect(
            lanes,
            masters_decide(masters.stack, hierarchy.exploration),
            skills,
            [tasks[group] for group in group_of_worker],
            Streams(seed, iteration, hosting.workers),
            episode_length=spec.episode_length,
            macro_length=macro_length,
        )
        entropy = learn_masters(masters, rollout, hosting.workers, iteration, seed, macro_length, config.master)
        busy = [rank for rank, hosted in enumerate(hosted_by) if any(phases[group].joint for group in hosted)]
        if busy:
            if (ranks := world.among(busy)) is not None:
                joint = np.array([phases[group].joint for group in group_of_worker])
                learner = replace(primitives, ranks=ranks)
                learn_primitives(learner, rollout, skills.columns, joint, hosting.workers, iteration, config)
            if len(busy) < world.size:
                for values in primitives.tensors.values():
                    world.spread(values.numpy(), busy[0])
        if skills.observation_filter is not None:
            skills.observation_filter.merge(pooled_moments(rollout.steps.raw_observation, job))
        if (name := state.not_finite()) is not None:
            raise ArithmeticError(f"after the update of iteration {iteration + 1}, {name} is NaN or infinite")

        tally = Tally.empty(groups, hierarchy.primitives, world.size)
        tally.add_rollout(rollout, hosting)
        tally.add_entropy(entropy, hosting, config.sampling.workers)
        tally.times[world.rank] = clock.seconds(rollout.environment_seconds, rollout.policy_seconds)
        world.sum(tally.flat)
        metrics = iteration_metrics(tally, phases, [spec.label(task) for task in tasks] if spec.tasks else [])
        if on_iteration({"iteration": iteration + 1, "schedule/macro_length": macro_length} | metrics, state):
            break
    lanes.close()
    return skills


def task_of(spec: Spec, seed: int, group: int, phase: Phase) -> Any:
    """The task of a group's cycle; any rank can name any group's."""
    return spec.sample_task(seeding.stream(seed, "task", phase.cycle + 1, group))


def pooled_moments(observations: Any, job: Job) -> Moments:
    """Moments of the observations of all ranks."""
    own = Moments.of(observations)
    sums = np.concatenate(([own.count], own.total, own.squares))
    job.world.sum(sums)
    total, squares = np.split(sums[1:], 2)
    return Moments(float(sums[0]), total, squares)


class Clock:
    """Where the time of an iteration goes on this rank."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._wall, self._cpu, self._communication = time.perf_counter(), time.process_time(), meter.seconds

    def seconds(self, environment: float, policy: float) -> tuple[float, float, float, float, float]:
        """Since the start: environment, policy, learning, communication, and CPU time of this process."""
        communication = self._meter.seconds - self._communication
        learning = time.perf_counter() - self._wall - environment - policy - communication
        return environment, policy, learning, communication, time.process_time() - self._cpu


if __name__ == "__main__":
    from mlsh_mpi.cli import main

    main()
