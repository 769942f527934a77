"""The card of published primitives: what they were trained on, what each earns, how fast masters learn over them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

import mlsh_mpi
from mlsh_mpi.errors import UserError
from mlsh_mpi.output import format_value
from mlsh_mpi.policies.phi_file import PHI
from mlsh_mpi.reporting.report import RunFiles, is_own_file, templates
from mlsh_mpi.reporting.statistics import band
from mlsh_mpi.tracking.session import PICTURE

OTHERWISE = (
    "seed",
    "folder",
    "patience",
    "sync_interval",
    "checkpoint_minutes",
    "checkpoint_interval",
    "tensorboard_films",
    "recover",
    "time_limit",
)
"""Settings of a run in which seeds of one run may differ: the results do not depend on them."""
FILM = (".mp4", ".gif", ".webp")


@dataclass(frozen=True)
class Candidate:
    """A finished run, as one of those that may be published."""

    files: RunFiles

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return int(self.files.config["run"]["seed"])

    @property
    def score(self) -> float:
        """Mean return of the fresh masters of the final test, without exploration if that was measured."""
        summary = self.files.summary or {}
        without = summary.get("without_exploration")
        return float(summary["adapted"] if without is None or without != without else without)


def candidates(folders: Sequence[Path]) -> list[Candidate]:
    """The runs in some folders, from the worst to the best.

    Raises:
        UserError: one is not a finished training run, or they differ in more than the seed.
    """
    runs = [Candidate(RunFiles.read(folder)) for folder in folders]
    for run in runs:
        if not run.files.summary or run.files.is_test or not is_own_file(run.files.folder / PHI):
            raise UserError(f"{run.files.folder} is not a finished training run: name those that have a {PHI} and a summary.json")
    different = [run for run in runs if _without_seed(run.files.config) != _without_seed(runs[0].files.config)]
    if different:
        raise UserError(f"{different[0].files.folder} has other settings than {runs[0].files.folder}: name seeds of one run")
    try:
        return sorted(runs, key=lambda run: (run.score, run.seed))
    except (KeyError, TypeError, ValueError):
        raise UserError(f"a run in {folders[0].parent} is damaged: its seed or its returns cannot be read") from None


def median(runs: Sequence[Candidate]) -> Candidate:
    """The run in the middle, the lower of two, so that the best of several is not published."""
    return runs[(len(runs) - 1) // 2]


def card(chosen: Candidate, runs: Sequence[Candidate], name: str, film: str | None, licence: str | None = None) -> str:
    """The text of a README.md, with the front matter that model hubs read.

    Args:
        chosen: the published run.
        runs: all runs that were tried.
        name: of the set of primitives.
        film: the film's file in the run folder, if there is one.
        licence: of the trained primitives; None to say nothing.

    Raises:
        UserError: the files of the published run are damaged.
        OSError: its primitives cannot be read.
    """
    phi = (chosen.files.folder / PHI).read_bytes()
    try:
        return _text(chosen, runs, name, film, phi, licence)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, jinja2.TemplateError):
        raise UserError(
            f"{chosen.files.folder} is damaged: its config.json or summary.json has other contents than a run's"
        ) from None


def _text(chosen: Candidate, runs: Sequence[Candidate], name: str, film: str | None, phi: bytes, licence: str | None) -> str:
    files, summary = chosen.files, chosen.files.summary or {}
    tasks = summary["tasks"]
    environment = templates(trim_blocks=True)
    environment.filters["plain"] = _plain
    return environment.get_template("card.md.jinja").render(
        name=name,
        environment=files.config["environment"]["env"],
        hierarchy=files.config["hierarchy"],
        summary=summary,
        matrix={label: task["forced"] for label, task in tasks.items() if "forced" in task},
        steps=summary["environment_steps"],
        seed=chosen.seed,
        runs=sorted(runs, key=lambda run: run.seed),
        overall=[format_value(value) for value in band(np.array([run.score for run in runs]))] if len(runs) > 2 else None,
        film=film,
        picture=is_own_file(files.folder / PICTURE),
        licence=licence,
        hash=hashlib.sha256(phi).hexdigest(),
        size=len(phi),
        version=mlsh_mpi.__version__,
    )


def films(folder: Path) -> list[Path]:
    """The films in a run folder."""
    return [path for path in sorted(folder.iterdir()) if path.suffix in FILM and is_own_file(path)]


def _without_seed(config: Mapping[str, Any]) -> dict[str, Any]:
    return {**config, "run": {name: value for name, value in config["run"].items() if name not in OTHERWISE}}


def _plain(text: object) -> str:
    """Text of a user without what Markdown and HTML would take for their own."""
    return "".join(c if c.isalnum() or c in " =.,:_/+-()" else " " for c in str(text))
