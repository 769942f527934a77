"""The whole job around Algorithm 1: set-up, header, training, the final test, tables and picture."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mlsh_mpi import checkpoint, runs
from mlsh_mpi.adapt import Adaptation, adapt, forced_returns
from mlsh_mpi.comm import Job, Ranks, job
from mlsh_mpi.config import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.hosting import host
from mlsh_mpi.lanes import EnvFactory, Maker, Spec
from mlsh_mpi.metrics import Target
from mlsh_mpi.options import preset_config, with_options
from mlsh_mpi.policies import Skills, head_for
from mlsh_mpi.state import State, groups_of
from mlsh_mpi.train import train

PHI_FORMAT = 1


def run(preset: str | Config = "moving-bandits", env: EnvFactory | None = None, fresh: bool = False, **options: Any) -> Path:
    """Trains, tests and reports, as one MPI job. Call it on every rank; what rank 0 passes counts.

    Args:
        preset: name of a preset, or a configuration.
        env: a class, function or lambda that returns your environment; it need not be importable on the other ranks.
        fresh: move an earlier run in the same folder aside.
        options: of the command line, with underscores: ``iterations=30, groups=8, macro_length=5``.

    Returns:
        The run folder, with config.json, metrics.jsonl, TensorBoard events, phi.pt, picture.png, summary.json and summary.txt.
    """
    with job() as current:

        def resolved() -> Config:
            config = with_options(preset if isinstance(preset, Config) else preset_config(preset), options)
            if env is None:
                return config
            name = getattr(env, "__qualname__", type(env).__name__)
            return dataclasses.replace(config, environment=dataclasses.replace(config.environment, env=f"script:{name}"))

        config = current.world.first(current.world.agreed(resolved))
        factory = current.world.first(env)
        return run_job(current, config, factory or config.environment.env, fresh)


def main() -> None:
    """``python -m mlsh_mpi.train``: see there."""
    with job() as current:
        given, world = sys.argv[1:], current.world
        if {"-h", "--help"} & set(given) and world.rank > 0:
            return

        wanted = world.first(world.agreed(lambda: _asked(given) if world.rank == 0 else None))
        if wanted is not None:
            config, fresh = wanted
            run_job(current, config, config.environment.env, fresh)


def _asked(arguments: Sequence[str]) -> tuple[Config, bool] | None:
    from mlsh_mpi.cli import asked  # only rank 0 pays for importing it

    return asked(arguments)


def run_job(current: Job, config: Config, env: str | EnvFactory, fresh: bool) -> Path:
    """The same inside a job that is already there.

    Args:
        current: the job.
        config: the same on every rank.
        env: id, module:Class, or a factory.
        fresh: move an earlier run in the same folder aside.

    Raises:
        UserError: on every rank, for whatever does not fit.
    """
    torch.set_num_threads(1)
    world = current.world
    maker, spec = world.agreed(lambda: _checked(config, env, world))
    path = runs.default_folder(config)
    opened = world.agreed(lambda: _open(config, current, spec, path, fresh) if world.rank == 0 else None)
    saved, tables = world.first((opened.saved, opened.tables) if opened else (None, None))
    if tables is not None:
        if opened:
            print(f"{path} holds this run, finished. More --iterations extend it, --fresh starts over.\n\n{tables}", flush=True)
            opened.folder.close()
        return path
    if saved and runs.stopped(saved, config):  # trained, and left while it was tested
        config = dataclasses.replace(config, run=dataclasses.replace(config.run, iterations=saved["iteration"]))
    current.folder = path
    current.be_patient(config.run.patience)
    groups = groups_of(config, world, saved)
    world.agreed(lambda: host(groups, config.sampling.workers, world.size, world.rank))  # a run does not grow once it has begun
    report = _Report(config, current, spec, groups, opened) if opened else None

    skills = train(config, current, maker, spec, saved, _Keeper(config, current, spec, report))
    if report is not None:
        report.trained(skills)

    def advance(note: str) -> None:
        current.leave_if_asked()
        if report is not None:
            report.test_advance(note)

    matrix = forced_returns(config, current, maker, spec, skills, spec.tasks, advance)
    adaptation = adapt(config, current, maker, spec, skills, config.hierarchy.warmup, advance)
    if report is not None:
        report.finished(skills, matrix, adaptation)
    return path


def _checked(config: Config, env: str | EnvFactory, world: Ranks) -> tuple[Maker, Spec]:
    maker = Maker(env, config.environment.episode_length)
    spec = maker.spec()
    head_for(spec.action_space)
    config.check(spec.episode_length)
    host(groups_of(config, world, None), config.sampling.workers, world.size, world.rank)
    if config.run.stop_when is not None:
        Target.parse(config.run.stop_when)
    return maker, spec


@dataclass(frozen=True)
class _Opened:
    """The run folder on rank 0, and what was there already."""

    folder: runs.RunFolder
    identity: Mapping[str, Any]
    saved: dict[str, Any] | None
    tables: str | None


def _open(config: Config, current: Job, spec: Spec, path: Path, fresh: bool) -> _Opened:
    folder = runs.RunFolder(path, fresh=fresh)
    identity = runs.identity(spec, current.library)
    saved = folder.continued(config, identity, lambda note: print(f"mlsh_mpi: {note}", file=sys.stderr, flush=True))
    return _Opened(folder, identity, saved, folder.finished(config, saved))


class _Keeper:
    """After each iteration: the checks, the log, the checkpoint, and every reason to leave the loop."""

    def __init__(self, config: Config, current: Job, spec: Spec, report: _Report | None) -> None:
        self._config, self._job, self._report = config, current, report
        self._target = Target.parse(config.run.stop_when) if config.run.stop_when else None
        self._entered = self._written = time.monotonic()
        self._longest = 0.0
        self._seen: set[str] = set()
        self._calls = 0

    def __call__(self, metrics: dict[str, float], state: State) -> bool:
        run, world, iteration = self._config.run, self._job.world, int(metrics["iteration"])
        now = time.monotonic()
        self._longest, self._entered = max(self._longest, now - self._entered), now
        if iteration % run.sync_interval == 0:
            odd = world.in_sync(state.primitives.stack.flat.detach().numpy())
            if odd:
                raise RuntimeError(f"phi differs from rank 0's on ranks {odd} after iteration {iteration}")
        if self._report is not None:
            with self._report.writing():
                self._report.log.iteration(metrics)
        reached = self._target is not None and self._target.reached(metrics)
        self._calls += 1
        self._seen |= metrics.keys()
        if self._target is not None and self._calls == self._config.hierarchy.warmup + self._config.hierarchy.joint:
            world.agreed(partial(self._target.check, self._seen))
        last = reached or iteration == run.iterations
        late = run.time_limit is not None and now - self._job.started + 2 * self._longest > 60 * run.time_limit
        due = now - self._written >= 60 * run.checkpoint_minutes or iteration % (run.checkpoint_interval or iteration + 1) == 0
        leaving, due = world.any([bool(self._job.asked_to_leave) or late, due])
        if leaving or due or last:
            self._keep(iteration, state, reached)
        if leaving and not last:
            self._job.leave()
        return reached

    def _keep(self, iteration: int, state: State, reached: bool) -> None:
        gathered = state.gathered(self._job.world)
        self._job.world.agreed(lambda: self._report.keep(iteration, gathered, reached) if self._report and gathered else None)
        self._written = time.monotonic()


class _Report:
    """Rank 0's side of a run: everything shown or written."""

    def __init__(self, config: Config, current: Job, spec: Spec, groups: int, opened: _Opened) -> None:
        from mlsh_mpi import logs, report  # only what every rank needs is imported by every rank

        self._config, self._spec, self._report, self._logs = config, spec, report, logs
        self.folder, self._identity = opened.folder, opened.identity
        done = opened.saved["iteration"] if opened.saved else 0
        self._kept = done
        print(report.header(config, current, spec, groups, self.folder.path, done), flush=True)
        with self.writing():
            steps = report.steps_per_iteration(config, spec, groups)
            self.log = logs.Log(self.folder.path, config.run.iterations, steps, done)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turns the system's refusal to write into a sentence.

        Raises:
            UserError: the disk is full, or the folder has become read-only.
        """
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{self.folder.path} cannot be written any more ({error.strerror}): make room there, then start again; the same "
                f"command continues from iteration {self._kept}"
            ) from None

    def keep(self, iteration: int, gathered: Mapping[str, Any], reached: bool) -> None:
        """Writes a checkpoint, after everything that it counts on."""
        with self.writing():
            self.log.sync()
            about = {
                "config": dataclasses.asdict(self._config),
                "identity": self._identity,
                "stopped_by": self._config.run.stop_when if reached else None,
            }
            checkpoint.save(self.folder.checkpoints, iteration, {**gathered, **about})
        self._kept = iteration

    def trained(self, skills: Skills) -> None:
        """Closes the log, keeps phi, and announces the test."""
        with self.writing():
            self.log.close()
            save_phi(self.folder.path / "phi.pt", skills, self._config, self._spec)
        hierarchy = self._config.hierarchy
        self._test = self._logs.Bar("testing", hierarchy.primitives * len(self._spec.tasks) + hierarchy.warmup + 1)

    def test_advance(self, note: str) -> None:
        """One step of the test further."""
        self._test.advance(note)

    def finished(self, skills: Skills, matrix: Any, adaptation: Adaptation) -> None:
        """Tables and picture."""
        from mlsh_mpi.figures.picture import draw

        self._test.close()
        summary = self._report.summarise(self.log.rows, adaptation, matrix, self._spec, self._config)
        text = self._report.tables(summary)
        title = f"{self._config.preset}, seed {self._config.run.seed}"
        with self.writing():
            (self.folder.path / "summary.txt").write_text(text)
            draw(self.folder.path / "picture.png", self.log.rows, matrix, self._spec, skills, title)
            self.folder.write_json(runs.SUMMARY, summary)
        print(
            f"\n{text}\nEverything is in {self.folder.path}: picture.png, summary.txt, metrics.jsonl, phi.pt",
            flush=True,
        )
        self.folder.close()


def save_phi(path: Path, skills: Skills, config: Config, spec: Spec) -> None:
    """Keeps the primitives in a form that ``torch.load(path, weights_only=True)`` reads: tensors by layer, plain values."""
    observation_filter = skills.observation_filter
    torch.save(
        {
            "format": PHI_FORMAT,
            "environment": spec.name,
            "primitive_columns": skills.columns.tolist(),
            "config": dataclasses.asdict(config),
            "primitives": skills.primitives.named_parameters(),
            "observation_filter": observation_filter and observation_filter.moments.tensors(),
        },
        path,
    )
