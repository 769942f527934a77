"""The test of the method: how fast new tasks are learned with what training left (paper, section 6.2).

mpirun -np 4 python -m mlsh_mpi.adapt RUN_OR_PHI [--held-out] [--task ...] [--env ...] [--options]
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mlsh_mpi import baselines, runs
from mlsh_mpi.adaptation import Adaptation, Learners, Trial, adapt
from mlsh_mpi.comm import Job, job
from mlsh_mpi.config import AdaptConfig
from mlsh_mpi.errors import UserError
from mlsh_mpi.frame import Keeper, Opened, Report, first_rank_asks, opened_by_all
from mlsh_mpi.health import forced_returns
from mlsh_mpi.probe import probed
from mlsh_mpi.skills import PHI, Skills, load_phi
from mlsh_mpi.task_family import SCRIPTED, Maker, Spec
from mlsh_mpi.tasks import chosen_tasks, different_tasks

FORCED_TASKS = 16
"""Up to so many different tasks, the tables tell what each primitive earns alone on each."""


def main() -> None:
    """``python -m mlsh_mpi.adapt``: see there."""
    with job() as current:
        wanted = first_rank_asks(current, _asked)
        if wanted is not None:
            adapt_job(current, *wanted)


def _asked(arguments: Sequence[str]) -> tuple[AdaptConfig, bool] | None:
    from mlsh_mpi.cli import asked_to_adapt  # only rank 0 pays for importing it

    return asked_to_adapt(arguments)


def adapt_job(current: Job, config: AdaptConfig, fresh: bool) -> Path:
    """The test, inside a job that is already there.

    Args:
        current: the job.
        config: the same on every rank.
        fresh: move an earlier test in the same folder aside.

    Returns:
        The folder, with config.json, metrics.jsonl, TensorBoard events, adaptation.json, picture.png, summary.json, summary.txt.

    Raises:
        UserError: on every rank, for whatever does not fit.
    """
    torch.set_num_threads(1)
    world, method = current.world, baselines.method_of(config)
    trial, skills, learners = ready_to_learn(config, current, lambda spec: chosen_tasks(config, spec, world.size))
    updates = config.run.iterations - 1
    path = world.first(default_folder(config) if world.rank == 0 else Path())
    opened, saved, done = opened_by_all(current, path, config, lambda: _identity(config, trial), fresh, "--updates")
    if done:
        return path
    report = _Report(config, trial, learners, opened) if opened else None

    keeper = Keeper(config, current, report, updates + 1)
    adaptation = adapt(learners, updates, keeper, look=lambda _: True, saved=saved)

    def advance(note: str) -> None:
        current.leave_if_asked()
        if report is not None:
            report.testing.advance(note)

    tasks = _forced_tasks(trial) if method == "master" and skills is not None else ()
    if report is not None:
        report.adapted(learners.behaviours * len(tasks))
    matrix = None
    if skills is not None and tasks:
        matrix = forced_returns(config, current, trial.maker, trial.spec, skills, tasks, trial.seed, advance)
    if report is not None:
        report.finished(adaptation, matrix)
    return path


def ready_to_learn(
    config: AdaptConfig, current: Job, tasks: Callable[[Spec], tuple[Any, ...]]
) -> tuple[Trial, Skills | None, Learners]:
    """Environment, phi and learners.

    Args:
        config: of the test.
        current: the job.
        tasks: of all learners, given the environment.

    Raises:
        UserError: they do not fit one another.
    """
    world, method = current.world, baselines.method_of(config)

    def made() -> Maker:
        if config.environment.env.startswith(SCRIPTED):
            name = config.environment.env.removeprefix(SCRIPTED)
            raise UserError(f"the environment of this run came from a script, as {name}: name it with --env module:{name}")
        return Maker.of(config.environment)

    maker = world.agreed(made)
    spec = probed(maker, current)

    def found() -> tuple[Trial, Skills | None]:
        config.check(spec.episode_length)
        skills = None if method in baselines.UNTRAINED else baselines.skills_of(load_phi(Path(config.source)), spec)
        return Trial(config, current, maker, spec, tasks(spec)), skills

    trial, skills = world.agreed(found)  # before learners, who may split the ranks, all have what they need
    return trial, skills, world.agreed(lambda: baselines.learners(method, trial, skills))


def resolved(config: AdaptConfig) -> AdaptConfig:
    """With as many iterations as updates ask for: one more, because the last update's effect is to be seen.

    Raises:
        UserError: it asks for no update.
    """
    updates = config.test.updates if config.test.updates is not None else baselines.usual_updates(config)
    if updates < 1:
        raise UserError(f"--updates must be greater than 0, but is {updates}")
    return replace(config, run=replace(config.run, iterations=updates + 1))


def default_folder(config: AdaptConfig) -> Path:
    """RUN/adapt/METHOD-seedSEED, with what else tells it from others; runs/PRESET-METHOD-seedSEED where no run is the source. A
    file that is no run's phi.pt is not written beside: runs/FILE/adapt/METHOD-seedSEED."""
    if config.run.folder is not None:
        return Path(config.run.folder)
    method, source = baselines.method_of(config), Path(config.source)
    name = method + ("-held-out" if config.test.held_out else "")
    name += "".join(f"-{''.join(c for c in task if c.isalnum())}" for task in config.test.task)
    if method in baselines.UNTRAINED:
        return Path(f"runs/{config.preset}-{name}-seed{config.run.seed}")
    trained_in = load_phi(source).config.environment.env
    name += f"-on-{config.environment.env.split('/')[-1]}" if config.environment.env != trained_in else ""
    run = source if source.is_dir() else source.parent if source.name == PHI else Path("runs", source.stem)
    return run / "adapt" / f"{name}-seed{config.run.seed}"


def _forced_tasks(trial: Trial) -> tuple[Any, ...]:
    """Those on which primitives are tried alone: where several learners share few tasks."""
    different = different_tasks(trial.tasks, trial.spec)
    return different if len(different) < len(trial.tasks) and len(different) <= FORCED_TASKS else ()


def _identity(config: AdaptConfig, trial: Trial) -> dict[str, dict[str, str]]:
    """What a checkpoint is good for: the same tasks over the same phi."""
    identity = runs.identity(trial.spec, trial.job.library)
    labels = [trial.spec.label(task) for task in trial.tasks]
    tasks = f"{len(labels)} learners on {', '.join(dict.fromkeys(labels[:40]))}"[:200]
    identity["environment"] |= {"tasks": tasks, "phi": _fingerprint(config)}
    return identity


def _fingerprint(config: AdaptConfig) -> str:
    """What a checkpoint was learned over."""
    if baselines.method_of(config) in baselines.UNTRAINED:
        return "none"
    source = Path(config.source)
    return f"{zlib.crc32((source / PHI if source.is_dir() else source).read_bytes()):08x}"


class _Report(Report):
    """Of a test."""

    def __init__(self, config: AdaptConfig, trial: Trial, learners: Learners, opened: Opened) -> None:
        from mlsh_mpi import logs, report  # only what every rank needs is imported by every rank

        self._trial, self._report, self._logs = trial, report, logs
        done = opened.saved["iteration"] if opened.saved else 0
        header = report.adapt_header(config, trial, learners, opened.folder.path, done)
        super().__init__(trial.job, config, opened, header, "adapting", len(trial.tasks) * learners.collected)

    def adapted(self, forced: int) -> None:
        """Closes the log; so many primitives are still to be run alone."""
        with self.writing():
            self.log.close()
        if forced:
            self.testing = self._logs.Bar("testing", forced)

    def finished(self, adaptation: Adaptation, matrix: Any) -> None:
        """Tables, picture, and every learner's curve."""
        from mlsh_mpi.figures.curves import draw_adaptation

        if matrix is not None:
            self.testing.close()
        summary = self._report.summarise(self.log.rows, adaptation, matrix, self._trial.spec, self.config)
        text = self._report.curve_table(summary) + self._report.tables(summary)
        curves = {name: values for name, values in adaptation.curves.items() if name != "divergence"}
        tasks = [self._trial.spec.label(task) for task in adaptation.tasks]
        with self.writing():
            self.folder.write_json("adaptation.json", self._logs.jsonable({"tasks": tasks, "steps": adaptation.steps} | curves))
        title = f"{self.config.preset}, {summary['method']}"
        self.finish(text, summary, lambda path: draw_adaptation(path, summary, title), ", adaptation.json (each learner's curve)")


if __name__ == "__main__":
    from mlsh_mpi.adapt import main as started

    started()
