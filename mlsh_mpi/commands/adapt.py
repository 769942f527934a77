"""The test of the method: how fast new tasks are learned after training (paper, section 6.2).

mpirun -np 4 python -m mlsh_mpi adapt RUN_OR_PHI [--held-out] [--task ...] [--env ...] [--options]
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from mlsh_mpi.adaptation.diagnostics import ForcedReturns, forced_returns
from mlsh_mpi.adaptation.fresh_masters import learned_hierarchies
from mlsh_mpi.adaptation.loop import Adaptation, AdaptationMethod, AdaptationSet
from mlsh_mpi.adaptation.loop import adapt as adapt_all
from mlsh_mpi.adaptation.method import make_method, trained_skills
from mlsh_mpi.adaptation.saved_progress import check_resumable
from mlsh_mpi.adaptation.task_selection import chosen_tasks, different_tasks
from mlsh_mpi.commands.reporter import PageReporter
from mlsh_mpi.config import methods
from mlsh_mpi.config.adaptation import AdaptConfig
from mlsh_mpi.errors import UserError
from mlsh_mpi.mpi.job import Job, job
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.policies.hierarchy import Hierarchy, phi_in
from mlsh_mpi.policies.phi_file import BEST, PHI, PhiCheckpoint
from mlsh_mpi.policies.pretrained import RUNS
from mlsh_mpi.reporting.curves import CURVES
from mlsh_mpi.sampling.environment_check import check_memory, checked_family
from mlsh_mpi.sampling.environment_choice import EnvironmentChoice
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.tracking.opening import Kind, OpenRun, open_on_all_ranks
from mlsh_mpi.tracking.run_names import experiment_name
from mlsh_mpi.tracking.same_run import identity
from mlsh_mpi.tracking.session import PAGE, PICTURE, IterationHook, parse_on_rank0

HIERARCHIES = "hierarchies"
"""Subfolder of a test's folder that holds the best master of each task, each with the primitives."""
FORCED_TASKS = 16
"""Largest number of different tasks for which the tables show what each primitive earns alone."""


def main() -> None:
    """Entry point of ``python -m mlsh_mpi adapt``."""
    with job() as current:
        parsed = parse_on_rank0(current, _parse)
        if parsed is not None:
            adapt_job(current, *parsed)


def _parse(arguments: Sequence[str]) -> tuple[AdaptConfig, EnvironmentChoice, bool] | None:
    from mlsh_mpi.commands.cli import parse_adapt_args  # only rank 0 pays for importing it

    return parse_adapt_args(arguments)


def adapt_job(current: Job, config: AdaptConfig, choice: EnvironmentChoice, fresh: bool) -> Path:
    """Runs the test inside an MPI job.

    Args:
        current: the MPI job.
        config: the test's configuration, the same on every rank.
        choice: what the user, not a file, says about the environment.
        fresh: whether to move an earlier test in the same folder aside.

    Returns:
        The folder, with config.json, metrics.jsonl, TensorBoard events, adaptation.json, plot.png, summary.json, summary.txt.

    Raises:
        UserError: on every rank; configuration, environment, phi and folder do not fit together.
    """
    torch.set_num_threads(1)
    world, method = current.world, methods.method_of(config)
    adaptation_set, policies, learners = ready_to_learn(
        config, choice, current, lambda family: chosen_tasks(config, family, world.size)
    )
    updates = config.run.iterations - 1
    path = world.bcast(default_folder(config) if world.rank == 0 else Path())
    kind = Kind("--updates", _leaves(method, adaptation_set), lambda saved: check_resumable(saved, learners))
    opened, saved, done = open_on_all_ranks(current, path, config, lambda: _identity(config, adaptation_set), fresh, kind)
    if done:
        return path
    reporter = AdaptationReporter(config, adaptation_set, learners, opened) if opened else None

    hook = IterationHook(config, current, reporter, updates + 1)
    adaptation = adapt_all(learners, updates, hook, evaluate=lambda _: True, saved=saved)

    def advance(note: str) -> None:
        current.exit_if_requested()
        if reporter is not None:
            reporter.testing.advance(note)

    tasks = _forced_tasks(adaptation_set) if method == "master" and policies is not None else ()
    if reporter is not None:
        reporter.adapted(learners.behaviours * len(tasks))
    forced = None
    if policies is not None and tasks:
        forced = forced_returns(adaptation_set, policies, tasks, adaptation_set.seed, advance)
    hierarchies = learned_hierarchies(learners, adaptation, phi_of(config)) if method == "master" else []
    if reporter is not None:
        reporter.finished(adaptation, forced, hierarchies)
    return path


def _leaves(method: str, adaptation_set: AdaptationSet) -> list[str]:
    """The files that a finished test leaves."""
    labels = dict.fromkeys(map(adaptation_set.family.label, adaptation_set.tasks))
    learned = [f"{HIERARCHIES}/{name}.pt" for name in file_names(list(labels))] if method == "master" else []
    return [PICTURE, CURVES, *learned]


def phi_of(config: AdaptConfig) -> PhiCheckpoint:
    """The trained primitives of a test, from its source."""
    return phi_in(Path(config.source))


def ready_to_learn(
    config: AdaptConfig,
    choice: EnvironmentChoice,
    current: Job,
    tasks: Callable[[TaskFamily], tuple[Any, ...]],
    phi: PhiCheckpoint | None = None,
) -> tuple[AdaptationSet, PrimitivePolicies | None, AdaptationMethod]:
    """Makes what a test needs: the environment, the trained primitives and the method with its learners.

    Args:
        config: the test's configuration.
        choice: what the user, not a file, says about the environment.
        current: the MPI job.
        tasks: returns the tasks of all learners, given the environment's task family.
        phi: the trained primitives; by default they are read from the test's source.

    Returns:
        The tasks with the placement of their learners; the trained primitives, None for methods that need none; the method.

    Raises:
        UserError: configuration, environment and phi do not fit together.
    """
    world, method = current.world, methods.method_of(config)
    family = checked_family(world.agreed(lambda: EnvironmentMaker.from_config(config.environment, choice)), current)

    def prepare() -> tuple[AdaptationSet, PrimitivePolicies | None]:
        config.check(family.episode_length)
        chosen = tasks(family)
        check_memory(len(chosen), max(config.sampling.steps, family.episode_length), family, current)
        if method in methods.UNTRAINED:
            return AdaptationSet(config, current, family, chosen), None
        trained = (phi or phi_of(config)).tested_by(config)
        if trained.offset is not None and len(trained.offset) != family.observation_size:
            raise UserError(
                f"these primitives observe {len(trained.offset)} numbers, but {family.name} has {family.observation_size}"
            )
        of_training = family.subtracting(trained.offset)
        return AdaptationSet(config, current, of_training, chosen), trained_skills(trained, of_training)

    # All ranks must succeed before any makes learners, which may split the ranks.
    adaptation_set, policies = world.agreed(prepare)
    return adaptation_set, policies, world.agreed(lambda: make_method(method, adaptation_set, policies))


def default_folder(config: AdaptConfig) -> Path:
    """RUN/adapt/METHOD-seedSEED, with split, tasks and environment in the name if they are chosen; runs/NAME-METHOD-seedSEED
    for methods without a training run; runs/FILE/adapt/METHOD-seedSEED for a file that is not the phi.pt or best.pt of a run."""
    if config.run.folder is not None:
        return Path(config.run.folder)
    method, source = methods.method_of(config), Path(config.source)
    name = method + ("-held-out" if config.test.held_out else "")
    name += "".join(f"-{''.join(c for c in task if c.isalnum())}" for task in config.test.task)
    if method in methods.UNTRAINED:
        return Path(RUNS, f"{experiment_name(config)}-{name}-seed{config.run.seed}")
    trained_in = phi_in(source).config.environment.env
    name += f"-on-{config.environment.env.split('/')[-1].split(':')[-1]}" if config.environment.env != trained_in else ""
    name += "-best" * (source.name == BEST)
    return run_of(config) / "adapt" / f"{name}-seed{config.run.seed}"


def run_of(config: AdaptConfig) -> Path:
    """The folder of the run that is tested or filmed; runs/FILE for a file that is not the phi.pt or best.pt of a run."""
    source = Path(config.source)
    if methods.method_of(config) in methods.UNTRAINED:
        return Path(RUNS, f"{experiment_name(config)}-{methods.method_of(config)}-seed{config.run.seed}")
    return source if source.is_dir() else source.parent if source.name in (PHI, BEST) else Path(RUNS, source.stem)


def file_names(labels: Sequence[str]) -> list[str]:
    """Labels of different tasks as different file names, without the suffix."""
    plain = ["".join(c if c.isalnum() or c in "=,.-" else "_" for c in label)[:50] for label in labels]  # 200 bytes at most
    return [f"{name}-{number}" if plain.count(name) > 1 else name for number, name in enumerate(plain)]


def _forced_tasks(adaptation_set: AdaptationSet) -> tuple[Any, ...]:
    """The tasks on which each primitive is tried alone: all, if they are few and several learners share one; else none."""
    different = different_tasks(adaptation_set.tasks, adaptation_set.family)
    return different if len(different) < len(adaptation_set.tasks) and len(different) <= FORCED_TASKS else ()


def _identity(config: AdaptConfig, adaptation_set: AdaptationSet) -> dict[str, dict[str, str]]:
    """What a checkpoint is valid for, including the tasks and phi."""
    valid_for = identity(adaptation_set.family, adaptation_set.job.library)
    labels = [adaptation_set.family.label(task) for task in adaptation_set.tasks]
    tasks = f"{len(labels)} learners on {', '.join(dict.fromkeys(labels[:40]))}"[:200]
    valid_for["environment"] |= {"tasks": tasks, "phi": _fingerprint(config)}
    return valid_for


def _fingerprint(config: AdaptConfig) -> str:
    """A checksum of the phi that is tested; "none" for methods without one."""
    if methods.method_of(config) in methods.UNTRAINED:
        return "none"
    source = Path(config.source)
    return f"{zlib.crc32((source / PHI if source.is_dir() else source).read_bytes()):08x}"


class AdaptationReporter(PageReporter):
    """What a test shows and writes, on rank 0."""

    def __init__(self, config: AdaptConfig, adaptation_set: AdaptationSet, learners: AdaptationMethod, opened: OpenRun) -> None:
        from mlsh_mpi.reporting import headers, tables  # only rank 0 pays for importing it
        from mlsh_mpi.tracking import logs

        self._adaptation_set, self._tables, self._logs = adaptation_set, tables, logs
        done = opened.saved.iteration if opened.saved else 0
        header = headers.adapt_header(config, adaptation_set, learners, opened.folder.path, done)
        super().__init__(adaptation_set.job, config, opened, header, "adapting", len(adaptation_set.tasks) * learners.collected)

    def adapted(self, forced: int) -> None:
        """Closes the log; `forced` runs of a primitive alone on a task follow."""
        with self.writing():
            self.log.close()
        if forced:
            self.testing = self._logs.Bar("testing", forced)

    def finished(self, adaptation: Adaptation, forced: ForcedReturns | None, hierarchies: Sequence[Hierarchy]) -> None:
        """Writes tables, picture, and every learner's curve."""
        from mlsh_mpi.reporting.adaptation_plot import draw_adaptation

        if forced is not None:
            self.testing.close()
        family = self._adaptation_set.family
        summary = self._tables.summarise(self.log.rows, self.log.totals, adaptation, forced, family, self.config)
        text = self._tables.curve_table(summary) + self._tables.tables(summary)
        curves = {name: values for name, values in adaptation.curves.items() if name != "divergence"}
        tasks = [family.label(task) for task in adaptation.tasks]
        with self.writing():
            self.folder.write_json(CURVES, self._logs.jsonable({"tasks": tasks, "steps": adaptation.steps} | curves))
            for name, hierarchy in zip(file_names([each.task for each in hierarchies]), hierarchies, strict=True):
                (self.folder.path / HIERARCHIES).mkdir(exist_ok=True)
                hierarchy.save(self.folder.path / HIERARCHIES / f"{name}.pt")
        title = f"{experiment_name(self.config)}, {summary['method']}"
        others = f", {PAGE}, {CURVES} (each learner's curve)" + f", {HIERARCHIES}/ (each task's best master)" * bool(hierarchies)
        self.finish(
            text,
            summary,
            lambda path: draw_adaptation(path, summary, title),
            others,
        )
