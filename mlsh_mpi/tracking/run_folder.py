"""The run folder: who may write to it, and a run's files in it. Only rank 0 uses it."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from mlsh_mpi import files
from mlsh_mpi.config.earlier_names import present_settings
from mlsh_mpi.config.overrides import FIRST
from mlsh_mpi.config.settings import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.output import warn
from mlsh_mpi.tracking import checkpoint
from mlsh_mpi.tracking.checkpoint import Checkpoint
from mlsh_mpi.tracking.run_names import experiment_name, with_present_environment
from mlsh_mpi.tracking.same_run import (
    as_it_began,
    changed_settings,
    check_same_environment,
    check_same_settings,
    offset_of,
    other_environment,
)

SUMMARY, SUMMARY_TEXT = "summary.json", "summary.txt"
NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}
"""Errors of a filesystem mounted without locks, as Lustre often is."""
STALE_LOCK_SECONDS = 60.0
"""Seconds that a requeued job waits for its own predecessor, whose last processes may still hold the lock."""


class RunFolder:
    """An open run folder, locked until :meth:`close` or the end of the process that holds it.

    Args:
        path: path of the folder, which is created if missing.
        fresh: move an earlier run in it aside, to path.1, path.2 and so on.

    Raises:
        UserError: another process writes to the folder, or it cannot be written.
    """

    def __init__(self, path: Path, *, fresh: bool) -> None:
        try:
            place = path.resolve() if path.is_symlink() else path  # a link to a larger disk is kept
            if fresh and place.exists():
                if place.resolve() in (Path.cwd(), *Path.cwd().parents):
                    raise UserError(f"--fresh cannot move {path}, because you are in it: choose another with --folder")
                _check_not_locked(place)
                place.rename(_free_name(place))
            place.mkdir(parents=True, exist_ok=True)
            _check_links(place)
            self._lock = _lock(path)
            files.remove_unfinished(path)
            self.path, self.checkpoints = path, path / "checkpoints"
        except OSError as error:
            raise UserError(f"the run folder {path} cannot be written ({error.strerror}): choose another with --folder") from None

    def continued(
        self,
        config: Config,
        identity: Mapping[str, Any],
        tell: Callable[[str], None],
        more: str = "--iterations",
        check_resumable: Callable[[Checkpoint], None] = lambda _: None,
    ) -> Checkpoint | None:
        """The newest whole checkpoint, from which the run resumes; None if there is none. Also writes the configuration.

        Args:
            config: configuration of the new job.
            identity: what :func:`mlsh_mpi.tracking.same_run.identity` returns for it.
            tell: called with a sentence on each checkpoint that cannot be used, on changed code, and on settings that are kept.
            more: name of the option that extends the run.
            check_resumable: raises an exception if the new job cannot continue from a checkpoint.

        Raises:
            UserError: the folder holds a run with other settings or another environment, or no checkpoint can be used.
        """

        def usable(values: dict[str, Any]) -> Checkpoint:
            loaded = Checkpoint.from_dict(values)
            before = with_present_environment(loaded.config, loaded.identity, config, identity)
            offset_of(loaded.identity)  # raises an exception if it is not an offset
            if not changed_settings(before, config) and not other_environment(loaded.identity, identity):
                check_resumable(loaded)
            return loaded

        try:
            saved = checkpoint.newest(self.checkpoints, tell, usable)
            earlier = saved.config if saved else self._earlier_config()
            if earlier is not None:
                before = saved.identity if saved else None
                check_same_settings(self.path, with_present_environment(earlier, before, config, identity), config)
            if saved is not None:
                check_same_environment(self.path, saved.identity, identity, tell)
                config = self._as_it_began(saved, config, tell)
                if saved.iteration > config.run.iterations:
                    raise UserError(
                        f"{self.path} holds a run that has reached iteration {saved.iteration}: use {more} "
                        f"{saved.iteration} or more, or add --fresh to move it aside and start over"
                    )
            self._put_aside("traceback.txt")
            self.write_config(config)
        except BaseException:
            self.close()
            raise
        return saved

    def finished(self, config: Config, saved: Checkpoint | None, leaves: Sequence[str] = ()) -> str | None:
        """The final tables, if the run in this folder is finished and none of its files is missing; else None.

        Args:
            config: configuration of the new job.
            saved: the newest checkpoint.
            leaves: files that a finished run leaves, besides summary.json and summary.txt; they can be made again.
        """
        try:
            summary = files.read_json(self.path / SUMMARY)
            tables = (self.path / SUMMARY_TEXT).read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None
        if not all((self.path / name).exists() for name in leaves):
            return None
        if saved is None or not isinstance(summary, dict) or summary.get("iterations") != saved.iteration:
            return None
        return tables if stopped(saved, config) or saved.iteration == config.run.iterations else None

    def note_job(self, iteration: int, hosts: Mapping[str, int], library: str) -> None:
        """Records which job continues the run, and from where: a line of jobs.jsonl, and the script of a batch job."""
        slurm = {name: os.environ.get(f"SLURM_{name}") for name in ("JOB_ID", "ARRAY_JOB_ID", "ARRAY_TASK_ID", "RESTART_COUNT")}
        job = {
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "iteration": iteration,
            "command": sys.argv,
            "ranks": hosts,
            "MPI": library,
            "SLURM": {name: value for name, value in slurm.items() if value},
        }
        with (self.path / "jobs.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(job) + "\n")
        script = os.environ.get("MLSH_JOB_SCRIPT")
        if script and Path(script).is_file():
            files.save_bytes(self.path / "job.sbatch", Path(script).read_bytes())

    def token(self) -> str:
        """Creates a file by which other hosts can tell that they see the folder, and returns its name."""
        name = f".seen-{uuid.uuid4().hex}"
        (self.path / name).touch()
        return name

    def close(self) -> None:
        """Releases the lock."""
        self._lock.close()

    def write_config(self, config: Config) -> None:
        """Writes the resolved configuration."""
        self.write_json("config.json", dataclasses.asdict(config))

    def write_json(self, name: str, value: Any) -> None:
        """Writes an indented JSON file, whole or not at all."""
        files.save_text(self.path / name, json.dumps(value, indent=2) + "\n")

    def _earlier_config(self) -> Any:
        try:
            return present_settings(files.read_json(self.path / "config.json"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            raise UserError(
                f"{self.path}/config.json cannot be read: add --fresh to move that run aside and start over"
            ) from None

    def _as_it_began(self, saved: Checkpoint, config: Config, tell: Callable[[str], None]) -> Config:
        restored, before = as_it_began(self.path, saved.config, config), saved.config.get("run", {}).get("iterations")
        for name in FIRST:
            length, now = getattr(restored.hierarchy, name), getattr(config.hierarchy, name)
            if length != now and before != config.run.iterations:
                option = name.replace("_", "-")
                tell(f"the run continues with the --{option} {length} that it began with; a new one would have {now}")
        return restored

    def _put_aside(self, name: str) -> None:
        if (self.path / name).exists():
            (self.path / name).rename(_free_name(self.path / name))


def default_folder(config: Config) -> Path:
    """runs/NAME-seedSEED with the name of :func:`experiment_name`, unless the configuration names a folder."""
    return Path(config.run.folder or f"runs/{experiment_name(config)}-seed{config.run.seed}")


def _check_links(folder: Path) -> None:
    """Refuses a run folder with links out of it: in somebody else's folder they could make a run overwrite other files.

    Raises:
        UserError: there are such links.
    """
    inside = folder.resolve()
    for entry in folder.iterdir():
        if entry.is_symlink() and not entry.resolve().is_relative_to(inside):
            raise UserError(f"{entry} is a link out of the run folder, so a run could overwrite other files: remove it")


def _lock(path: Path) -> TextIO:
    file = (path / "lock").open("a", encoding="utf-8")
    deadline = time.monotonic() + (STALE_LOCK_SECONDS if requeues() else 0)

    # A job that SLURM has requeued waits for the lock of the one that it continues.
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() > deadline:
                file.close()
                raise UserError(
                    f"another process is writing to {path}: wait for it or end it, or choose another --seed or --folder"
                ) from None
            time.sleep(0.5)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            note = f"{path} is on a filesystem without locks: make sure yourself that no second job writes there"
            warn(f"mlsh_mpi: {note}")
            return file


def requeues() -> int:
    """Number of times that SLURM has requeued this job."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0"))


def _check_not_locked(path: Path) -> None:
    if (path / "lock").exists():
        _lock(path).close()


def _free_name(path: Path) -> Path:
    return next(name for i in range(1, 10_000) if not (name := path.with_name(f"{path.name}.{i}")).exists())


def stopped(saved: Checkpoint, config: Config) -> bool:
    """Whether a checkpoint was written because the configured target was reached."""
    return saved.stopped_by is not None and saved.stopped_by == config.run.stop_when
