"""Algorithm 1 of the paper (Frans et al. 2018, section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlsh_mpi import schedule, seeding
from mlsh_mpi.clock import Clock
from mlsh_mpi.comm import Job
from mlsh_mpi.config import Config
from mlsh_mpi.draws import TaskDraws
from mlsh_mpi.episodes import Streams
from mlsh_mpi.hosting import host
from mlsh_mpi.learner import learn_masters, learn_primitives
from mlsh_mpi.metrics import Tally, iteration_metrics
from mlsh_mpi.rollout import collect, masters_decide
from mlsh_mpi.skills import Skills
from mlsh_mpi.state import OnIteration, State
from mlsh_mpi.task_family import Maker, Spec


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
    state = State.begin(config, world, spec, saved)
    groups, hosting, masters, skills = state.groups, state.hosting, state.masters, state.skills
    hosted_by = [host(groups, config.sampling.workers, world.size, rank).groups for rank in range(world.size)]
    group_of_worker = [worker // config.sampling.workers for worker in hosting.workers]
    draws = TaskDraws(spec, seed, groups, hierarchy.warmup + hierarchy.joint, deal=config.sampling.deal_tasks)
    lanes_each, steps = config.sampling.shape(spec.episode_length)
    lanes = maker.lanes(len(hosting.workers) * lanes_each)
    done = saved["iteration"] if saved else 0
    if done:
        last = [schedule.phase(done - 1, group, groups, hierarchy.warmup, hierarchy.joint) for group in range(groups)]
        state.workers.run_again(lanes, [draws.task(group, last[group]) for group in group_of_worker], job)

    for iteration in range(done, config.run.iterations):
        clock, tally = Clock(world.meter), Tally.empty(groups, hierarchy.primitives, world.size)
        macro_length = schedule.staged(iteration, hierarchy.forming_iterations, spec.episode_length, hierarchy.macro_length)
        phases = [schedule.phase(iteration, g, groups, hierarchy.warmup, hierarchy.joint) for g in range(groups)]
        tasks = [draws.task(group, phases[group]) for group in range(groups)]
        for row, group in enumerate(hosting.groups):
            if phases[group].new_task:
                masters.restart(row, seeding.stream(seed, "theta", phases[group].cycle + 1, group))
        state.workers.begin_tasks([phases[group].new_task for group in group_of_worker])

        rollout = collect(
            lanes,
            masters_decide(masters.stack, hierarchy.exploration),
            skills,
            [tasks[group] for group in group_of_worker],
            Streams(seed, iteration, hosting.workers),
            steps=steps,
            macro_length=macro_length,
            watch=job.watch,
            running=state.workers.running,
        )
        told = learn_masters(
            masters, rollout, hosting.workers, iteration, seed, macro_length, config.master, state.workers.memory
        )
        joint = np.array([phase.joint for phase in phases])
        busy = [rank for rank, hosted in enumerate(hosted_by) if joint[list(hosted)].any()]
        with state.primitives.shared_by(busy) as phi:
            if phi is not None:
                mine = joint[group_of_worker]
                tally.add_primitives(*learn_primitives(phi, rollout, skills, mine, hosting.workers, iteration, config), len(busy))
        state.merge(rollout.steps.raw_observation, world)
        state.check(iteration)

        tally.add_rollout(rollout, hosting)
        tally.add_masters(*told, hosting, config.sampling.workers)
        tally.costs[world.rank] = clock.costs(rollout.environment_seconds, rollout.policy_seconds)
        world.sum(tally.flat)
        labels = [spec.label(task) for task in tasks] if spec.tasks else []
        metrics = iteration_metrics(tally, phases, labels, config.primitive.min_samples)
        if on_iteration({"iteration": iteration + 1, "schedule/macro_length": macro_length} | metrics, state):
            break
    lanes.close()
    return skills
