"""Algorithm 1 of the paper (Frans et al. 2018, section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlsh_mpi import schedule
from mlsh_mpi.clock import Clock
from mlsh_mpi.comm import Job
from mlsh_mpi.config import Config
from mlsh_mpi.draws import TaskDraws
from mlsh_mpi.episodes import Streams
from mlsh_mpi.hosting import ranks_with
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
    draws = TaskDraws(spec, seed, groups, hierarchy.warmup + hierarchy.joint, deal=config.sampling.deal_tasks)
    done = saved["iteration"] if saved else 0
    last = draws.tasks(schedule.phases(max(0, done - 1), groups, hierarchy.warmup, hierarchy.joint))
    lanes_each, steps = config.sampling.shape(spec.episode_length)
    lanes = maker.lanes(len(hosting.workers) * lanes_each)
    state.workers.run_again(lanes, hosting.of_workers(last), job)

    for iteration in range(done, config.run.iterations):
        clock, tally = Clock(world.meter), Tally.empty(groups, hierarchy.primitives, world.size)
        macro_length = schedule.staged(iteration, hierarchy.forming_iterations, spec.episode_length, hierarchy.macro_length)
        phases = schedule.phases(iteration, groups, hierarchy.warmup, hierarchy.joint)
        tasks = draws.tasks(phases)
        state.begin_cycles(phases, seed)

        rollout = collect(
            lanes,
            masters_decide(masters.stack, hierarchy.exploration),
            skills,
            hosting.of_workers(tasks),
            Streams(seed, iteration, hosting.workers),
            steps=steps,
            macro_length=macro_length,
            watch=job.watch,
            running=state.workers.running,
        )
        told = learn_masters(masters, rollout, state.workers, iteration, macro_length, config)
        joint = [phase.joint for phase in phases]
        busy = ranks_with(joint, config.sampling.workers, world.size)
        with state.primitives.shared_by(busy) as phi:
            if phi is not None:
                found = learn_primitives(phi, rollout, skills, hosting.of_workers(joint), hosting.workers, iteration, config)
                tally.add_primitives(*found, len(busy))
        state.merge(rollout.steps.raw_observation, world)
        state.check(iteration)

        tally.add_rollout(rollout, hosting)
        tally.add_masters(*told, hosting, config.sampling.workers)
        tally.costs[world.rank] = clock.costs(rollout.environment_seconds, rollout.policy_seconds)
        world.sum(tally.flat)
        metrics = iteration_metrics(tally, phases, spec.labels(tasks), config.primitive.min_samples)
        if on_iteration({"iteration": iteration + 1, "schedule/macro_length": macro_length} | metrics, state):
            break
    lanes.close()
    return skills
