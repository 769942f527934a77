"""Algorithm 1 of the paper (Frans et al. 2018, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlsh_mpi.algorithm import schedule
from mlsh_mpi.algorithm.critic_inputs import CriticInputs
from mlsh_mpi.algorithm.masters import MasterUpdate, update_masters
from mlsh_mpi.algorithm.metrics import Clock, Tally, iteration_metrics
from mlsh_mpi.algorithm.primitives import PrimitiveUpdate, update_primitives
from mlsh_mpi.algorithm.schedule import Phase
from mlsh_mpi.algorithm.task_sampler import TaskSampler
from mlsh_mpi.algorithm.training_state import TrainingState
from mlsh_mpi.mpi.placement import ranks_with
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.sampling.episodes import Streams
from mlsh_mpi.sampling.experiment import Experiment
from mlsh_mpi.sampling.rollout import Rollout, collect, master_policy, uniform_choice
from mlsh_mpi.tracking.checkpoint import Checkpoint, OnIteration


def train(experiment: Experiment, saved: Checkpoint | None, on_iteration: OnIteration) -> PrimitivePolicies:
    """Runs Algorithm 1, from its beginning or from a checkpoint.

    Every group of workers has its own task, its own master, and its own position in a cycle of W + U iterations (schedule.py).
    The comments quote the lines of the paper's algorithm.

    Args:
        experiment: configuration, job and environment.
        saved: contents of a checkpoint; None starts a new run.
        on_iteration: receives the metrics of each iteration and the state after it, on every rank; training stops if it returns
            True.

    Returns:
        The trained primitives with their observation filter, the same on every rank.

    Raises:
        ArithmeticError: a parameter became NaN or infinite.
    """
    config, job, family = experiment.config, experiment.job, experiment.family
    seed, hierarchy = config.run.seed, config.hierarchy
    warmup, joint = hierarchy.warmup, hierarchy.joint
    state = TrainingState.initial(experiment, saved)  # Initialize phi
    placement, masters = state.placement, state.masters
    critic = CriticInputs.from_config(config.primitive, family)
    sampler = TaskSampler(family, seed, state.groups, warmup + joint, stratify=config.sampling.stratify_tasks)
    lanes_each, steps = config.sampling.shape(family.episode_length)
    lanes = family.maker.lanes(len(placement.workers) * lanes_each)
    masters_choose, random_choice = master_policy(masters.stack, hierarchy.exploration), uniform_choice(hierarchy.primitives)
    done = saved.iteration if saved else 0
    before = sampler.tasks(schedule.phases(max(0, done - 1), state.groups, warmup, joint))
    state.workers.replay_actions(lanes, placement.for_workers(before), job)

    for iteration in range(done, config.run.iterations):  # repeat
        clock = Clock(job.world.meter)
        macro_length = schedule.staged(
            iteration, hierarchy.whole_episode_iterations, family.episode_length, hierarchy.macro_length
        )
        phases = schedule.phases(iteration, state.groups, warmup, joint)
        state.begin_tasks(phases, seed)  # Initialize theta, in every group that begins a cycle
        tasks = sampler.tasks(phases)  # Sample task M ~ P_M
        # for w = 0, 1, ... W (warm-up period) do; for u = 0, 1, ... U (joint update period) do
        choose = schedule.staged(iteration, hierarchy.random_master_iterations, random_choice, masters_choose)
        rollout = collect(  # Collect D timesteps of experience using pi_phi,theta
            lanes,
            choose,
            state.policies,
            placement.for_workers(tasks),
            Streams(seed, iteration, placement.workers),
            steps=steps,
            macro_length=macro_length,
            watch=job.watch,
            running=state.workers.running,
        )
        # Update theta to maximize expected return from 1/N timescale viewpoint
        of_masters = update_masters(masters, rollout, state.workers.memory, config.master)
        # in the joint update period: Update phi to maximize expected return from full timescale viewpoint
        is_joint = schedule.from_which_phi_learns(iteration, phases, hierarchy.early_joint_iterations)
        active = ranks_with(is_joint, config.sampling.workers, job.world.size)
        with state.primitives.allreduce_among(active) as phi:
            joint_workers = placement.for_workers(is_joint)
            of_phi = update_primitives(phi, rollout, joint_workers, config, critic) if phi is not None else None
        metrics = _bookkeeping(experiment, state, iteration, phases, tasks, rollout, of_masters, of_phi, len(active), clock)
        if on_iteration(metrics, state):  # until convergence
            break
    experiment.close(lanes)
    return state.policies


def _bookkeeping(
    experiment: Experiment,
    state: TrainingState,
    iteration: int,
    phases: Sequence[Phase],
    tasks: Sequence[Any],
    rollout: Rollout,
    of_masters: MasterUpdate,
    of_phi: PrimitiveUpdate | None,
    active: int,
    clock: Clock,
) -> dict[str, float]:
    """Updates the observation filter, checks for NaN, and returns the metrics of an iteration over all ranks.

    Args:
        experiment: configuration, job and environment.
        state: the state after the updates.
        iteration: number of the iteration, from 0.
        phases: phase of each group.
        tasks: task of each group.
        rollout: the data that this rank collected.
        of_masters: diagnostics of the masters' update.
        of_phi: diagnostics of the primitives' update; None on a rank that did not take part.
        active: number of ranks that took part in the primitives' update.
        clock: started at the beginning of the iteration.
    """
    config, world, placement = experiment.config, experiment.job.world, state.placement
    state.merge(rollout.steps.raw_observation, world)
    state.check(iteration)
    tally = Tally.empty(state.groups, config.hierarchy.primitives, world.size, state.info_names)
    if of_phi is not None:
        tally.add_primitives(of_phi.samples, of_phi.diagnostics, active)
    tally.add_rollout(rollout, placement)
    tally.add_masters(of_masters.entropy, of_masters.diagnostics, placement, config.sampling.workers)
    tally.costs[world.rank] = clock.costs(rollout.environment_seconds, rollout.policy_seconds)
    tally.sum_over(world)
    metrics = iteration_metrics(tally, phases, experiment.family.labels(tasks), config.primitive.min_samples)
    return {"iteration": iteration + 1, "schedule/macro_length": rollout.macro_length} | metrics
