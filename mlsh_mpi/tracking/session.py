"""What every long command needs: the run folder, the log, checkpoints, and all reasons to stop."""

from __future__ import annotations

import dataclasses
import re
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from mlsh_mpi import files
from mlsh_mpi.config.settings import Config
from mlsh_mpi.errors import UserError, as_words, nearest
from mlsh_mpi.mpi.job import Job
from mlsh_mpi.output import say
from mlsh_mpi.tracking import checkpoint
from mlsh_mpi.tracking.checkpoint import Checkpoint, Resumable
from mlsh_mpi.tracking.metrics_file import METRICS
from mlsh_mpi.tracking.opening import OpenRun
from mlsh_mpi.tracking.run_folder import SUMMARY, SUMMARY_TEXT

T = TypeVar("T")
PICTURE, PAGE = "plot.png", "report.html"
"""The plot of a finished run, and its page for a browser."""


def parse_on_rank0(current: Job, parse: Callable[[Sequence[str]], T | None]) -> T | None:
    """Parses the command line on rank 0 and broadcasts the result; None if there is nothing to do."""
    given, world = sys.argv[1:], current.world
    if {"-h", "--help"} & set(given):
        if world.rank == 0:
            with suppress(SystemExit):  # tyro exits after showing help
                parse(given)
        return None
    return world.bcast(world.agreed(lambda: parse(given) if world.rank == 0 else None))


class RunReporter:
    """Rank 0's part of a run: everything that is shown or written.

    Args:
        current: the MPI job.
        config: the run's configuration.
        opened: the open run folder.
        header: text that is printed first.
        title: title of the progress bar.
        steps: environment steps of an iteration, over all ranks.
    """

    def __init__(self, current: Job, config: Config, opened: OpenRun, header: str, title: str, steps: int) -> None:
        from mlsh_mpi.tracking import logs  # only rank 0 pays for importing it

        self.config, self.folder, self._identity = config, opened.folder, opened.identity
        self._kept = opened.saved.iteration if opened.saved else 0
        say(header)
        with self.writing():
            self.log = logs.Log(self.folder.path, title, config.run.iterations, steps, self._kept)
            self.log.settings(dataclasses.asdict(config))
        current.closing.callback(self.log.close)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turns an OSError in the body into a UserError.

        Raises:
            UserError: the disk is full, the folder has become read-only or has been removed, or the like.
        """
        try:
            yield
        except OSError as error:
            continues = self._kept and self.folder.path.exists()
            then = f"the same command {f'continues from iteration {self._kept}' if continues else 'starts from the beginning'}"
            raise UserError(
                f"{self.folder.path} cannot be written any more ({files.reason(error)}): {files.remedy(error)}, then start "
                f"again; {then}"
            ) from None

    def keep(self, iteration: int, gathered: Mapping[str, Any], reached: bool) -> None:
        """Writes a checkpoint, after the log that it relies on."""
        with self.writing():
            self.log.sync()
            stopped_by = self.config.run.stop_when if reached else None
            state = Checkpoint(iteration, gathered, dataclasses.asdict(self.config), self._identity, stopped_by)
            checkpoint.save(self.folder.checkpoints, iteration, state.as_dict())
        self._kept = iteration

    def show(self, state: Any) -> None:
        """Shows more of the state at a checkpoint; nothing, unless a subclass does."""

    def finish(self, text: str, summary: Any, picture: Callable[[Path], None], others: str) -> None:
        """Writes picture, tables and summary, and shows the tables, at the end of a run."""
        from mlsh_mpi.tracking import logs

        with self.writing():
            files.save_text(self.folder.path / SUMMARY_TEXT, text)
            picture(self.folder.path / PICTURE)
            logs.show_in_tensorboard(self.folder.path, self.folder.path / PICTURE, summary["environment_steps"])
            self.folder.write_json(SUMMARY, summary)
        say(f"\n{text}\nEverything is in {self.folder.path}: {PICTURE}, {SUMMARY_TEXT}, {METRICS}{others}")


@dataclass(frozen=True)
class Target:
    """A value that a metric should reach."""

    metric: str
    above: bool
    value: float

    @classmethod
    def parse(cls, text: str) -> Target:
        """Parses a text such as ``return/adapted>39`` or ``master/entropy<0.1``.

        Raises:
            UserError: the text has another form.
        """
        match = re.fullmatch(r"\s*(.*\S)\s*([<>])=?\s*([^<>=\s]+)\s*", text)
        try:
            return cls(match[1], match[2] == ">", float(match[3]))  # type: ignore[index]
        except (TypeError, ValueError):
            raise UserError(f"--stop-when {text!r} is not of the form METRIC>VALUE, such as 'return/adapted>39'") from None

    def check(self, logged: Collection[str]) -> None:
        """Refuses a metric that was not logged in a whole cycle, except a task's return, which may still come.

        Raises:
            UserError: the metric will never be logged.
        """
        if self.metric not in logged and not self.metric.startswith("return/adapted/"):
            raise UserError(
                f"--stop-when waits for {self.metric!r}, which is never logged{nearest(self.metric, sorted(logged))}: "
                "see metrics.jsonl for those that are"
            )

    def reached(self, metrics: Mapping[str, float]) -> bool:
        """Whether an iteration's metrics have reached the value."""
        value = metrics.get(self.metric, float("nan"))
        return value >= self.value if self.above else value <= self.value


class IterationHook:
    """Called after each iteration: for the checks, the log, the checkpoint, and every reason to leave the loop.

    Args:
        config: the run's configuration.
        current: the MPI job.
        reporter: the run's reporter, on rank 0; None on the others.
        cycle: number of iterations after which every metric has been logged at least once.
        callback: called on rank 0 after each iteration; training ends if it returns True.
        watched: whether rank 0 has a callback.
    """

    def __init__(
        self,
        config: Config,
        current: Job,
        reporter: RunReporter | None,
        cycle: int,
        callback: Callable[[dict[str, float], Any], object] | None = None,
        watched: bool = False,
    ) -> None:
        self._callback, self._watched = callback, watched
        self._config, self._job, self._reporter, self._cycle = config, current, reporter, cycle
        self._target = Target.parse(config.run.stop_when) if config.run.stop_when else None
        self._entered = self._written = time.monotonic()
        self._longest = 0.0
        self._seen: set[str] = set()
        self._calls = 0

    def __call__(self, metrics: dict[str, float], state: Resumable) -> bool:
        run, world, iteration = self._config.run, self._job.world, int(metrics["iteration"])
        now = time.monotonic()
        self._longest, self._entered = max(self._longest, now - self._entered), now

        if iteration % run.sync_interval == 0:
            out_of_sync = world.in_sync(state.shared)
            if out_of_sync:
                raise RuntimeError(f"phi differs from rank 0's on ranks {out_of_sync} after iteration {iteration}")

        if self._reporter is not None:
            with self._reporter.writing():
                self._reporter.log.iteration(metrics)

        # Has training reached its target, or does the callback end it?
        reached = self._target is not None and self._target.reached(metrics)
        self._calls += 1
        self._seen |= metrics.keys()
        if self._target is not None and self._calls == self._cycle:
            world.agreed(partial(self._target.check, self._seen))  # else the run would wait for it in vain

        if self._watched:
            reached = world.any([self._called_back(metrics, state)])[0] or reached
        if reached and self._reporter is not None:
            say(f"mlsh_mpi: training ends after iteration {iteration}: {run.stop_when or 'the callback'} is reached")

        # All reasons to write a checkpoint or to leave go through one reduction, so that all ranks do the same.
        last = reached or iteration == run.iterations
        late = run.time_limit is not None and now - self._job.started + 2 * self._longest > 60 * run.time_limit
        due = now - self._written >= 60 * run.checkpoint_minutes or iteration % (run.checkpoint_interval or iteration + 1) == 0
        leaving, due = world.any([bool(self._job.exit_requested) or late, due])

        if leaving or due or last:
            self._keep(iteration, state, reached)
        if leaving and not last:
            self._job.leave()
        return reached

    def _called_back(self, metrics: dict[str, float], state: Resumable) -> bool:
        """Whether the callback, if this rank has one, ends training.

        Raises:
            UserError: it tried to end the process, which would leave the other ranks waiting and the run without a checkpoint.
        """
        try:
            return self._callback is not None and self._callback(metrics, state) is True
        except SystemExit as error:
            raise UserError(
                f"on_iteration must not end the process, but raised {as_words(error)}: return True to end training, with a "
                "checkpoint and a test"
            ) from error

    def _keep(self, iteration: int, state: Resumable, reached: bool) -> None:
        gathered = state.gather_state_dict(self._job.world)

        def write() -> None:
            if self._reporter and gathered:
                self._reporter.keep(iteration, gathered, reached)
                self._reporter.show(state)

        self._job.world.agreed(write)
        self._written = time.monotonic()
