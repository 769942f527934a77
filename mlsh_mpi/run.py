"""The whole job around Algorithm 1: set-up, header, training, the final test, tables and picture."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mlsh_mpi.adapt import Adaptation, adapt, forced_returns
from mlsh_mpi.comm import Job, job
from mlsh_mpi.config import Config
from mlsh_mpi.hosting import grown, host
from mlsh_mpi.lanes import EnvFactory, Maker, Spec
from mlsh_mpi.options import preset_config, with_options
from mlsh_mpi.policies import Skills, head_for
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
    from mlsh_mpi import runs  # here and below: only what every rank needs is imported by every rank

    torch.set_num_threads(1)
    world = current.world

    def checked() -> tuple[Maker, Spec]:
        maker = Maker(env, config.environment.episode_length)
        spec = maker.spec()
        head_for(spec.action_space)
        config.check(spec.episode_length)
        host(
            grown(config.sampling.groups, config.sampling.workers, world.size),
            config.sampling.workers,
            world.size,
            world.rank,
        )
        return maker, spec

    maker, spec = world.agreed(checked)
    path = runs.default_folder(config)
    folder = world.agreed(lambda: runs.RunFolder(path, fresh=fresh) if world.rank == 0 else None)
    current.folder = path
    report = _Report(config, current, spec, folder) if folder is not None else None

    def on_iteration(metrics: dict[str, float], skills: Skills) -> None:
        if int(metrics["iteration"]) % config.run.sync_interval == 0:
            odd = world.in_sync(skills.primitives.flat.detach().numpy())
            if odd:
                raise RuntimeError(f"phi differs from rank 0's on ranks {odd} after iteration {metrics['iteration']:.0f}")
        if report is not None:
            report.log.iteration(metrics)

    skills = train(config, current, maker, spec, on_iteration)
    if report is not None:
        report.trained(skills)
    matrix = forced_returns(config, current, maker, spec, skills, spec.tasks)
    advance = report.test_advance if report is not None else _silent
    adaptation = adapt(config, current, maker, spec, skills, config.hierarchy.warmup, advance)
    if report is not None:
        report.finished(skills, matrix, adaptation)
        report.folder.close()
    return path


class _Report:
    """Rank 0's side of a run: everything shown or written."""

    def __init__(self, config: Config, current: Job, spec: Spec, folder: Any) -> None:
        from mlsh_mpi import logs, report

        self._config, self._spec, self._report, self._logs = config, spec, report, logs
        self.folder = folder
        folder.write_config(config)
        print(report.header(config, current, spec, folder.path), flush=True)
        self.log = logs.Log(folder.path, config.run.iterations, report.steps_per_iteration(config, spec, current.world.size))

    def trained(self, skills: Skills) -> None:
        """Closes the log, keeps phi, and announces the test."""
        self.log.close()
        save_phi(self.folder.path / "phi.pt", skills, self._config, self._spec)
        self._test = self._logs.Bar("testing", self._config.hierarchy.warmup + 1)

    def test_advance(self, note: str) -> None:
        """One step of the test further."""
        self._test.advance(note)

    def finished(self, skills: Skills, matrix: Any, adaptation: Adaptation) -> None:
        """Tables and picture."""
        from mlsh_mpi.figures.picture import draw

        self._test.close()
        summary = self._report.summarise(self.log.rows, adaptation, matrix, self._spec, self._config)
        text = self._report.tables(summary)
        (self.folder.path / "summary.txt").write_text(text)
        title = f"{self._config.preset}, seed {self._config.run.seed}"
        draw(self.folder.path / "picture.png", self.log.rows, matrix, self._spec, skills, title)
        self.folder.write_json("summary.json", summary)
        print(
            f"\n{text}\nEverything is in {self.folder.path}: picture.png, summary.txt, metrics.jsonl, phi.pt",
            flush=True,
        )


def save_phi(path: Path, skills: Skills, config: Config, spec: Spec) -> None:
    """Keeps the primitives in a form that ``torch.load(path, weights_only=True)`` reads: tensors by layer, plain values."""
    observation_filter = skills.observation_filter
    filtered = None
    if observation_filter is not None:
        moments = observation_filter.moments
        filtered = {name: torch.as_tensor(np.asarray(value)) for name, value in vars(moments).items()}
    torch.save(
        {
            "format": PHI_FORMAT,
            "environment": spec.name,
            "primitive_columns": skills.columns.tolist(),
            "config": dataclasses.asdict(config),
            "primitives": skills.primitives.named_parameters(),
            "observation_filter": filtered,
        },
        path,
    )


def _silent(_: str) -> None:
    """Ranks other than 0 show nothing."""
