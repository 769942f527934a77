"""The page of a run: report.html, one file that needs neither a server nor a network, made from the run folder's files."""

from __future__ import annotations

import base64
import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import mlsh_mpi
from mlsh_envs.window import PRIMITIVE_COLOURS as COLOURS
from mlsh_mpi import files
from mlsh_mpi.config.adaptation import AdaptConfig
from mlsh_mpi.config.methods import METHODS
from mlsh_mpi.config.presets import preset_config
from mlsh_mpi.errors import UserError
from mlsh_mpi.output import format_value
from mlsh_mpi.reporting.curves import series_of
from mlsh_mpi.reporting.report_charts import learning_of_tasks, lines, svg
from mlsh_mpi.reporting.seeds import Run, draw_runs
from mlsh_mpi.reporting.tables import mean_costs
from mlsh_mpi.tracking.metrics_file import METRICS, read_rows
from mlsh_mpi.tracking.run_folder import SUMMARY
from mlsh_mpi.tracking.session import PAGE

MOST_PRIMITIVES = 64
"""Primitives whose curves are drawn; a file of somebody else may name any number."""
LARGEST_MEDIUM = 8_000_000
"""Bytes of a picture or film up to which it is put into the page; a larger one is linked."""
MEDIA = {".png": "image/png", ".gif": "image/gif", ".webp": "image/webp", ".mp4": "video/mp4"}
SIDE = ("folder", "preset", "source")
"""Settings that say where, not how."""


@dataclass(frozen=True)
class RunFiles:
    """What the folder of a run or test holds, whether it is finished or not."""

    folder: Path
    config: Mapping[str, Any]
    rows: Sequence[Mapping[str, float]]
    summary: Mapping[str, Any] | None
    """None until the end, and again while a finished run is continued."""

    @classmethod
    def read(cls, folder: Path, rows: Sequence[Mapping[str, float]] | None = None) -> RunFiles:
        """Reads a run folder.

        Args:
            folder: the folder.
            rows: the rows of its log, if they are known already.

        Raises:
            UserError: there is no run, or its files are damaged.
        """
        try:
            config = files.read_json(folder / "config.json")
            summary = (files.read_json(folder / SUMMARY) or {}) if (folder / SUMMARY).exists() else None
            if not all(isinstance(each, dict) for each in (config, config["run"], {} if summary is None else summary)):
                raise TypeError
        except FileNotFoundError:
            raise UserError(f"{folder} holds no run: name run folders, such as runs/moving-bandits-seed0") from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise UserError(f"{folder} is damaged: its config.json or {SUMMARY} cannot be read") from None
        run = cls(folder, config, read_rows(folder / METRICS) if rows is None else rows, summary)
        until = run.iterations if summary is None else summary.get("iterations", run.iterations)
        return dataclasses.replace(run, summary=None) if isinstance(until, int) and until < run.iterations else run

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @property
    def is_test(self) -> bool:
        """Whether it is a test, made by adapt."""
        return "test" in self.config

    @cached_property
    def iterations(self) -> int:
        """Number of iterations so far."""
        return int(self.rows[-1]["iteration"]) if self.rows else 0


def write_report(folder: Path, rows: Sequence[Mapping[str, float]] | None = None) -> Path:
    """Writes the page of one run or test into its folder.

    Args:
        folder: the run folder.
        rows: the rows of its log, if they are known already.

    Raises:
        UserError: there is no run, its files are damaged, or its page is a link to a file elsewhere.
        OSError: the page cannot be written.
    """
    run = RunFiles.read(folder, rows)
    try:
        text = _template("report.html.jinja").render(_of_one(run))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, jinja2.TemplateError):
        raise UserError(f"{folder} is damaged: its config.json, {METRICS} or {SUMMARY} has other contents than a run's") from None
    page = folder / PAGE
    if page.is_symlink() and not page.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{page} is a link out of the run folder, so another file would be overwritten: remove it")
    files.save_text(page, _encodable(text))
    return page


def write_reports_together(path: Path, folders: Sequence[Path]) -> list[str]:
    """Writes a page of several runs: those that differ only in their seed are drawn as a mean with its band.

    Returns:
        What is not drawn, and why: a run that has logged no return is listed only.

    Raises:
        UserError: a folder holds no run, or its files are damaged.
        OSError: the page cannot be written.
    """
    runs, drawn, missing = [RunFiles.read(folder) for folder in folders], [], []
    for folder in folders:
        try:
            drawn.append(Run.read(folder))
        except UserError as error:
            missing.append(str(error))

    rows = [_row_of(run, path) for run in runs]
    chart = svg("learning curves", lambda figure: draw_runs(figure, drawn), width=10.0, height=4.0) if drawn else ""
    text = _template("reports.html.jinja").render(title=f"{len(runs)} runs", chart=chart, rows=rows, version=mlsh_mpi.__version__)
    files.save_text(path, _encodable(text))
    return missing


def _encodable(text: str) -> str:
    """Text with ? for what UTF-8 cannot have, as in a folder's name in another encoding."""
    return text.encode("utf-8", "replace").decode()


def templates(**options: Any) -> jinja2.Environment:
    """The templates of this folder, with the filter `value` for returns: nothing where there is none.

    Args:
        options: of ``jinja2.Environment``.
    """
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, **options)
    environment.filters["value"] = lambda number: "" if number is None or number != number else format_value(number)
    return environment


def is_own_file(path: Path) -> bool:
    """Whether there is a file, and no link, which in somebody else's folder could lead to any file of this machine."""
    return path.is_file() and not path.is_symlink()


def _template(name: str) -> jinja2.Template:
    environment = templates(autoescape=True)
    environment.filters["large"] = lambda number: f"{number:,.0f}"
    return environment.get_template(name)


def _of_one(run: RunFiles) -> dict[str, Any]:
    """Everything that the page of one run shows."""
    planned = run.config["run"]["iterations"]
    last = run.rows[-1] if run.rows else {}
    return {
        "title": f"{run.name}, a test" if run.is_test else run.name,
        "environment": run.config["environment"]["env"],
        "method": _method(run),
        "state": "finished" if run.summary else f"iteration {run.iterations:,} of {planned:,}",
        "finished": run.summary is not None,
        "steps": last.get("environment_steps", 0),
        "seconds": last.get("seconds"),
        "charts": _charts(run),
        "summary": run.summary,
        "matrix": _matrix(run.summary),
        "colours": COLOURS,
        "media": _media(run.folder),
        "settings": _settings(run.config),
        "costs": mean_costs(run.rows),
        "version": mlsh_mpi.__version__,
    }


def _method(run: RunFiles) -> str:
    algorithm = run.config.get("algorithm", {})
    method = run.config["test"].get("method") if run.is_test else None
    return METHODS[method].summary if method in METHODS else str(algorithm.get("algorithm", ""))


def _charts(run: RunFiles) -> list[tuple[str, Markup]]:
    """Titles and charts, of what was logged."""
    k = min(MOST_PRIMITIVES, run.config["hierarchy"]["primitives"])
    tasks = sorted({name for row in run.rows for name in row if name.startswith("return/adapted/")})
    of_tasks = {name: name.split("/", 2)[2] for name in tasks} if len(tasks) <= len(COLOURS) else {}
    returns = {
        "return/mean": "all groups",
        "return/adapted": "after the warm-up",
        "evaluation/return": "fresh masters, evaluated",
    }
    charts = {
        "Learning": lines(run.rows, returns, "return of an episode"),
        "Tasks, after the warm-up": lines(run.rows, of_tasks, "return of an episode"),
        "Use of the primitives": lines(run.rows, {f"primitive/usage_{i}": f"primitive {i}" for i in range(k)}, "share of steps"),
        "Entropy of the masters": lines(run.rows, {"master/entropy": "masters"}, "nats"),
        "Entropy of the primitives": lines(run.rows, {f"primitive/entropy_{i}": f"primitive {i}" for i in range(k)}, "nats"),
    }
    if run.is_test:
        del charts["Learning"], charts["Tasks, after the warm-up"]
    if run.summary:
        charts = {"Fresh masters on single tasks": learning_of_tasks(run.summary), **charts}
    return [(title, svg(title, draw)) for title, draw in charts.items() if draw is not None]


def _matrix(summary: Mapping[str, Any] | None) -> list[tuple[str, list[tuple[float, float]]]]:
    """What each primitive earns alone: of each task its label, and of each primitive the return and its place from 0 to 1."""
    if summary is None:
        return []
    known = {label: task["forced"] for label, task in summary["tasks"].items() if "forced" in task}
    values = [value for row in known.values() for value in row]
    low, span = min(values, default=0.0), max(values, default=0.0) - min(values, default=0.0)
    return [(label, [(value, (value - low) / span if span else 0.5) for value in row]) for label, row in known.items()]


def _media(folder: Path) -> list[dict[str, str]]:
    """Pictures and films in the folder: as data in the page if they are small, else as links."""
    media = []
    for path in sorted(folder.iterdir()):
        kind = MEDIA.get(path.suffix)
        if kind is None or not is_own_file(path):
            continue
        small = path.stat().st_size <= LARGEST_MEDIUM
        source = f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}" if small else ""
        media.append({"name": path.name, "kind": kind.split("/")[0], "source": source})
    return media


def _settings(config: Mapping[str, Any]) -> list[tuple[str, Any, Any, bool]]:
    """Settings that differ from the default: name, value, default, and whether the preset has another value too."""
    default, preset = dataclasses.asdict(AdaptConfig()), config.get("preset")
    try:
        of_preset = dataclasses.asdict(preset_config(str(preset)))
    except UserError:  # a preset of another version
        of_preset = {}

    rows = []
    for section, values in config.items():
        for name, value in values.items() if isinstance(values, dict) else ():
            usual = default.get(section, {}).get(name)
            chosen = of_preset.get(section, {}).get(name, value)
            if name not in SIDE and (_plain(value) != _plain(usual) or _plain(value) != _plain(chosen)):
                rows.append((f"{section}.{name}", value, usual, _plain(value) != _plain(chosen)))
    return rows


def _plain(value: Any) -> Any:
    """A setting as JSON has it."""
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _row_of(run: RunFiles, page: Path) -> dict[str, Any]:
    """A run among others."""
    own, summary = run.folder / PAGE, run.summary or {}
    link = os.path.relpath(own, page.parent) if own.exists() else ""
    return {
        "name": series_of(run.name)[0],
        "seed": run.config["run"].get("seed"),
        "link": link,
        "iterations": run.iterations,
        "steps": run.rows[-1]["environment_steps"] if run.rows else 0,
        "seconds": run.rows[-1].get("seconds") if run.rows else None,
        "finished": run.summary is not None,
        **{key: summary.get(key) for key in ("adapted", "without_exploration", "separated")},
    }
