"""The header that users see before a run."""

from __future__ import annotations

from pathlib import Path

from mlsh_mpi.adaptation.loop import AdaptationMethod, AdaptationSet
from mlsh_mpi.config import methods
from mlsh_mpi.config.adaptation import AdaptConfig
from mlsh_mpi.config.settings import Config
from mlsh_mpi.mpi.job import Job
from mlsh_mpi.sampling.task_family import TaskFamily


def steps_per_iteration(config: Config, family: TaskFamily, groups: int) -> int:
    """Environment steps of one iteration, over all ranks."""
    return groups * config.sampling.workers * methods.steps_of_a_worker(config, family.episode_length)


def header(config: Config, job: Job, family: TaskFamily, groups: int, folder: Path, done: int) -> str:
    """The header of a training run: what runs on which ranks, and how much is left after `done` iterations."""
    steps, workers = steps_per_iteration(config, family, groups), groups * config.sampling.workers
    hierarchy, iterations = config.hierarchy, config.run.iterations

    at_first = ""
    if hierarchy.whole_episode_iterations:
        at_first = f" ({family.episode_length} for the first {hierarchy.whole_episode_iterations} iterations)"
    if hierarchy.random_master_iterations:
        at_first += f", chosen at random for the first {hierarchy.random_master_iterations} iterations"
    early = f" (0 in the first {hierarchy.early_joint_iterations} iterations)" if hierarchy.early_joint_iterations else ""

    lines = {
        "preset": f"{config.preset}, seed {config.run.seed}, on {family.name}",
        "ranks": _ranks(job),
        "workers": f"{workers} in {groups} groups; each group has a task and a master of its own",
        "hierarchy": f"K = {hierarchy.primitives} primitives, N = {hierarchy.macro_length}{at_first}, "
        f"W = {hierarchy.warmup}{early}, U = {hierarchy.joint}",
        "work": f"{iterations:,} iterations of {steps:,} environment steps: {iterations * steps:,} steps",
        "folder": str(folder),
    }

    if config.sampling.steps < family.episode_length:
        lines["episodes"] = (
            f"{config.sampling.steps} of their {family.episode_length} steps per iteration; the next continues them"
        )
    if config.algorithm.algorithm != "mlsh":
        lines |= {"workers": f"{workers}; each has a task of its own, a new one in every iteration", "hierarchy": ""}

    if done:
        lines["continues"] = f"from the checkpoint after iteration {done:,}; {iterations - done:,} to go"
    return _listed(lines)


def adapt_header(config: AdaptConfig, adaptation_set: AdaptationSet, learners: AdaptationMethod, folder: Path, done: int) -> str:
    """The header of a test, resumed after `done` iterations."""
    tasks = list(dict.fromkeys(map(adaptation_set.family.label, adaptation_set.tasks)))
    count, rounds, method = len(adaptation_set.tasks), config.run.iterations, methods.method_of(config)
    named = ", ".join(tasks[:6]) + ", ..." * (len(tasks) > 6)

    lines = {
        "test": f"{methods.METHODS[method].summary}; {config.source}, seed {config.run.seed}, on {adaptation_set.family.name}",
        "ranks": _ranks(adaptation_set.job),
        "tasks": f"{count} learners on {len(tasks)} {'held-out ' * config.test.held_out}tasks: {named}",
        "hierarchy": f"K = {learners.behaviours}, N = {config.hierarchy.macro_length}" if method == "master" else "",
        "work": f"0 to {rounds - 1} updates of {learners.steps:,} steps, {count * learners.collected * rounds:,} in all"
        + ("; as many again for evaluations without exploration" if learners.explores else ""),
        "folder": str(folder),
    }

    if done:
        lines["continues"] = f"from the checkpoint after {done - 1:,} updates"
    return _listed(lines)


def _ranks(job: Job) -> str:
    ranks, hosts = job.world.size, len(job.hosts)
    waiting = f"; {job.ranks_here} ranks share {job.cores} cores here" if job.ranks_here > job.cores else ""
    return f"{ranks} on {hosts} host{'s' if hosts > 1 else ''} ({', '.join(job.hosts[:8])}), {job.library}{waiting}"


def _listed(lines: dict[str, str]) -> str:
    return "\n".join(f"{name:>10}  {text}" for name, text in lines.items() if text)
