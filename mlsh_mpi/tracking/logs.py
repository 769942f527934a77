"""Rank 0's log of a run: metrics.jsonl, TensorBoard events, and a display of progress."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from mlsh_mpi import files
from mlsh_mpi.mpi import launchers
from mlsh_mpi.output import format_value, plain, say, warn
from mlsh_mpi.tracking.metrics_file import METRICS, line_of, read_rows

COLUMNS = {
    "return": "return/mean",
    "adapted": "return/adapted",
    "without exploration": "return/without_exploration",
    "entropy": "master/entropy",
    "evaluated": "evaluation/return",
}
"""The metrics that the line of an iteration shows, by their labels."""
WIDE = 100
"""Width of a terminal, in columns, from which the bar is long."""


class Log:
    """Logs each iteration and shows the progress of the run: a bar on a terminal, a plain line for each iteration elsewhere.

    Args:
        folder: the run folder.
        title: title of the progress bar.
        iterations: planned number of iterations.
        steps: environment steps of an iteration, over all ranks.
        done: number of iterations after which this job resumes the run; later rows of the log are removed.
    """

    def __init__(self, folder: Path, title: str, iterations: int, steps: int, done: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter  # only rank 0 pays for importing it

        self._iterations, self._steps, self._first, self._last = iterations, steps, done, done
        path = folder / METRICS
        self.rows = [row for row in read_rows(path) if row["iteration"] <= done]
        if len(self.rows) < done:
            warn(
                f"mlsh_mpi: {done - len(self.rows)} of {done} iterations are missing in {path}: plots and tables show the others"
            )
        files.save_text(path, "".join(map(line_of, self.rows)))
        self._file = path.open("a", buffering=1, encoding="utf-8")
        _ignore_reraised()
        again = any(folder.glob("events.out.tfevents.*"))
        self._events = SummaryWriter(str(folder), purge_step=done * steps + 1 if again else None)
        self.progress = Bar(title, iterations, done)
        self._earlier = self.rows[-1].get("seconds", 0.0) if self.rows else 0.0
        self._knows_time = done == 0 or any(row["iteration"] == done for row in self.rows)
        self._started = time.perf_counter()

    def settings(self, config: Mapping[str, Any]) -> None:
        """Shows the resolved configuration, {section: {setting: value}}, as a table in TensorBoard, under Text."""
        rows = {f"{name}.{key}": item for name, part in config.items() if isinstance(part, dict) for key, item in part.items()}
        lines = [f"| {name} | {_as_code(value)} |" for name, value in rows.items()]
        self._events.add_text("settings", "\n".join(("| setting | value |", "|---|---|", *lines)), self._first * self._steps)

    @property
    def totals(self) -> dict[str, float | None]:
        """Iterations and environment steps of the whole run, even if part of its log is lost; and its seconds, None if lost."""
        seconds = self.rows[-1].get("seconds") if self.rows and self._knows_time else None
        return {"iterations": self._last, "environment_steps": self._last * self._steps, "seconds": seconds}

    def iteration(self, metrics: Mapping[str, float]) -> None:
        """Logs the metrics of one iteration; "iteration" counts from 1."""
        iteration, seconds = int(metrics["iteration"]), self._earlier + time.perf_counter() - self._started
        row: dict[str, float] = {
            "iteration": iteration,
            "environment_steps": iteration * self._steps,
            "seconds": seconds,
        }
        row |= plain(metrics) | {"iteration": iteration, "seconds": round(seconds, 3)}
        self.rows.append(row)
        self._last = iteration
        self._file.write(line_of(row))
        for name, value in row.items():
            self._events.add_scalar(name if "/" in name else f"progress/{name}", value, row["environment_steps"])
        self.progress.advance(self._line(row), _shown(row))

    def sync(self) -> None:
        """Makes sure that all lines are on disk, before a checkpoint that relies on them."""
        os.fsync(self._file.fileno())
        self._events.flush()

    def close(self) -> None:
        """Closes the progress display and the files."""
        self.progress.close()
        self._file.close()
        self._events.close()

    def _line(self, row: Mapping[str, float]) -> str:
        text = _shown(row)
        if "return/adapted" in row and "schedule/joint_groups" in row:
            shown, groups = f"adapted {format_value(row['return/adapted'])}", row["schedule/joint_groups"]
            text = text.replace(shown, f"{shown} ({groups:.0f} group{'s' * (groups != 1)})")
        if "schedule/macro_length" in row:
            text = f"N {row['schedule/macro_length']:<3.0f} {text}"
        per_iteration = (row["seconds"] - self._earlier) / (row["iteration"] - self._first)
        left = per_iteration * (self._iterations - row["iteration"])
        return f"steps {row['environment_steps']:>11,}  {text}  {_clock(left)} left"


def _as_code(value: Any) -> str:
    """A value as text without Markdown's special characters."""
    return f"`{str(value).replace('`', chr(39)).replace('|', '/')}`"


def _shown(row: Mapping[str, float]) -> str:
    return "  ".join(f"{label} {format_value(row[name])}" for label, name in COLUMNS.items() if name in row)


@functools.cache
def _ignore_reraised() -> None:
    """From here on TensorBoard's threads do not print errors that they raise again when the next event is written."""
    others = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is None or getattr(failed.thread, "exception", None) is not failed.exc_value:
            others(failed)

    threading.excepthook = hook


def show_film_in_tensorboard(folder: Path, name: str, gif: bytes, size: tuple[int, int], step: int) -> None:
    """Adds a film to a run's TensorBoard events.

    Args:
        folder: the run folder.
        name: of the film, under Images.
        gif: the film.
        size: its height and width in pixels.
        step: environment steps when it was made.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary
    from torch.utils.tensorboard import FileWriter

    _ignore_reraised()
    height, width = size
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
    events = FileWriter(str(folder))
    events.add_summary(Summary(value=[Summary.Value(tag=name, image=image)]), step)
    events.close()


def show_in_tensorboard(folder: Path, picture: Path, step: int) -> None:
    """Adds a picture to a run's TensorBoard events, which may be closed already.

    Args:
        folder: the run folder.
        picture: a PNG file.
        step: environment steps when it was drawn.
    """
    from matplotlib.image import imread
    from torch.utils.tensorboard import SummaryWriter

    _ignore_reraised()
    with SummaryWriter(str(folder)) as events:
        events.add_image(picture.stem, imread(picture)[..., :3], step, dataformats="HWC")


class Bar:
    """Progress of something long: a bar if standard output is a terminal, else a line for each step, or at most `lines`.

    Under a launcher there are always lines: Open MPI gives ranks a terminal of its own, whatever its output goes to.
    """

    def __init__(self, title: str, total: int, done: int = 0, lines: int | None = None) -> None:
        self._title, self._total, self._done = title, total, done
        self._every = 1 if lines is None else max(1, -(-total // lines))
        self._bar: Progress | None = None

        console = Console()
        if console.is_terminal and not os.environ.keys() & {*launchers.RANK_VARIABLES}:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24 if console.width >= WIDE else 8),
                MofNCompleteColumn(),
                TimeRemainingColumn(compact=True),
                TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            )
            self._bar = Progress(*columns, console=console, expand=True)
            self._task = self._bar.add_task(title, total=total, completed=done, note="")
            self._bar.start()

    def advance(self, note: str, short: str | None = None) -> None:
        """Counts one more step.

        Args:
            note: a note on the step.
            short: a shorter note to show beside a bar, which shows the remaining time itself.
        """
        self._done += 1
        if self._bar is not None:
            self._bar.update(self._task, advance=1, note=note if short is None else short)
        elif self._done % self._every == 0 or self._done == self._total:
            say(f"{self._title} {self._done:>{len(str(self._total))}}/{self._total}  {note}")

    def close(self) -> None:
        """Stops updating the bar, which stays on the terminal."""
        if self._bar is not None:
            self._bar.stop()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def jsonable(value: Any) -> Any:
    """A value for JSON: arrays become nested lists, and floats are rounded to four decimals."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value
