"""The run folder: who may write to it, and what a run leaves in it. Only rank 0 touches it."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import hashlib
import inspect
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import gymnasium as gym
import numpy as np

from mlsh_mpi.algorithm.training_state import Checkpoint
from mlsh_mpi.config.settings import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.mpi.software import software
from mlsh_mpi.output import warn
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.tracking import checkpoint
from mlsh_mpi.tracking.run_names import experiment_name, with_present_environment

SUMMARY = "summary.json"
NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}
"""Errors of a filesystem that is mounted without locks, as Lustre often is."""
OWN_UNITS = "in units of the environment"
"""Units of policies' actions in a bounded Box in earlier versions, and still where its half-width is 1."""
LINGER = 60.0
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
                _refuse_if_locked(place)
                place.rename(_free_name(place))
            place.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(path)
            self.path, self.checkpoints = path, path / "checkpoints"
        except OSError as error:
            raise UserError(f"the run folder {path} cannot be written ({error.strerror}): choose another with --folder") from None

    def continued(
        self, config: Config, identity: Mapping[str, Any], tell: Callable[[str], None], more: str = "--iterations"
    ) -> Checkpoint | None:
        """The newest whole checkpoint, from which the run resumes; None if there is none. Also writes the configuration.

        Args:
            config: configuration of the job that starts.
            identity: what :func:`identity` returns for it.
            tell: called with a sentence on each damaged checkpoint, and on changed code.
            more: name of the option that extends the run.

        Raises:
            UserError: the folder holds a run with other settings or another environment, or no checkpoint can be used.
        """
        try:
            found = checkpoint.newest(self.checkpoints, tell)
            saved = Checkpoint.from_dict(found) if found else None
            earlier = saved.config if saved else self._earlier_config()
            if earlier is not None:
                self._compare(with_present_environment(earlier, saved.identity if saved else None, config, identity), config)
            if saved is not None:
                self._identify(saved.identity, identity, tell)
                if saved.iteration > config.run.iterations:
                    raise UserError(
                        f"{self.path} holds a run that has come to iteration {saved.iteration}: ask for {more} "
                        f"{saved.iteration} or more, or add --fresh to move it aside and start over"
                    )
            self._put_aside("traceback.txt")
            self.write_config(config)
        except BaseException:
            self.close()
            raise
        return saved

    def finished(self, config: Config, saved: Checkpoint | None) -> str | None:
        """The final tables, if the run in this folder is finished; else None."""
        try:
            summary = json.loads((self.path / SUMMARY).read_text(encoding="utf-8"))
            tables = (self.path / "summary.txt").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None
        if saved is None or summary.get("iterations") != saved.iteration:
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
            shutil.copyfile(script, self.path / "job.sbatch")

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
        unfinished = self.path / f".{name}.tmp"
        unfinished.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(self.path / name)

    def _earlier_config(self) -> Any:
        try:
            return json.loads((self.path / "config.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            raise UserError(
                f"{self.path}/config.json cannot be read: add --fresh to move that run aside and start over"
            ) from None

    def _compare(self, earlier: Any, config: Config) -> None:
        before, now = (_flat(json.loads(json.dumps(value))) for value in (earlier, dataclasses.asdict(config)))
        before = _flat(dataclasses.asdict(type(config)())) | before if isinstance(earlier, dict) else before
        changed = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name) and not _may_change(name)]
        if changed:
            differences = ", ".join(f"{name} was {before.get(name)} and is now {now.get(name)}" for name in changed[:5])
            differences += f", and {len(changed) - 5} more" if len(changed) > 5 else ""
            raise UserError(
                f"{self.path} holds a run with other settings ({differences}): start with those it had, add --fresh to move it "
                "aside and start over, or choose another --folder"
            )

    def _identify(self, before: Mapping[str, Any], now: Mapping[str, Any], tell: Callable[[str], None]) -> None:
        was, is_now = ({"actions": OWN_UNITS} | identity["environment"] for identity in (before, now))
        other = {
            name: f"{name} was {value} and is now {is_now.get(name)}" for name, value in was.items() if is_now.get(name) != value
        }
        if other.keys() == {"phi"}:
            raise UserError(
                f"{self.path} holds a test of these primitives as they were before they were trained further ({other['phi']}): "
                "add --fresh to move it aside and start over, or choose another --folder"
            )
        if other:
            raise UserError(
                f"{self.path} holds a run of another environment ({', '.join(other.values())}): add --fresh to move it aside and "
                "start over, or choose another --folder"
            )
        changed = [name for name, value in before["software"].items() if now["software"].get(name) != value]
        if changed:
            tell(f"the run continues with another version of {', '.join(changed)}: it need not equal an uninterrupted one")

    def _put_aside(self, name: str) -> None:
        if (self.path / name).exists():
            (self.path / name).rename(_free_name(self.path / name))


def identity(family: TaskFamily, library: str) -> dict[str, Any]:
    """What a checkpoint is valid for: the environment that it fits, and the software that would continue it bit for bit; and what
    is subtracted from observations."""
    return {
        "environment": {
            "name": family.name,
            "observation_size": str(family.observation_size),
            "action_space": str(family.action_space),
            "actions": OWN_UNITS if family.actions.half_width is None else "in units of the half-width of their bounds",
            "episode_length": str(family.episode_length),
            "primitive_columns": str(family.primitive_columns.tolist()),
        },
        "offset": "" if family.offset is None else json.dumps(family.offset.tolist()),
        "software": software() | environment_source(family) | {"MPI": library},
    }


def offset_of(identity: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[Any]] | None:
    """What a run subtracts from observations, from its identity: see :attr:`Interface.offset`."""
    found = identity.get("offset")
    return np.array(json.loads(found)) if found else None


def environment_source(family: TaskFamily) -> dict[str, str]:
    """A fingerprint of the source files of the environment and of the wrappers around it, except Gymnasium's own: a user's files
    are in none of the packages whose versions are compared."""
    files: list[Path] = []
    env: Any = family.env
    while env is not None:
        if not type(env).__module__.startswith("gymnasium."):
            with suppress(TypeError, OSError):  # defined in an interpreter or a notebook
                files.append(Path(inspect.getsourcefile(type(env)) or ""))
        env = env.env if isinstance(env, gym.Wrapper) else None
    sources = [file.read_bytes() for file in dict.fromkeys(files) if file.is_file()]
    return {"the environment": hashlib.sha256(b"".join(sources)).hexdigest()[:16] if sources else ""}


def default_folder(config: Config) -> Path:
    """runs/NAME-seedSEED with the name of :func:`experiment_name`, unless the configuration names a folder."""
    return Path(config.run.folder or f"runs/{experiment_name(config)}-seed{config.run.seed}")


def _lock(path: Path) -> TextIO:
    file = (path / "lock").open("a", encoding="utf-8")
    deadline = time.monotonic() + (LINGER if requeues() else 0)
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
            note = f"{path} is on a filesystem without locks: see to it yourself that no second job writes there"
            warn(f"mlsh_mpi: {note}")
            return file


def requeues() -> int:
    """Number of times that SLURM has requeued this job."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0"))


def _refuse_if_locked(path: Path) -> None:
    if (path / "lock").exists():
        _lock(path).close()


def _free_name(path: Path) -> Path:
    return next(name for i in range(1, 10_000) if not (name := path.with_name(f"{path.name}.{i}")).exists())


def stopped(saved: Checkpoint, config: Config) -> bool:
    """Whether a checkpoint was written because the configured target was reached."""
    return saved.stopped_by is not None and saved.stopped_by == config.run.stop_when


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """The settings of a nested object by their dotted names: hierarchy.warmup."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        name: item for key, inner in value.items() for name, item in _flat(inner, f"{prefix}.{key}" if prefix else key).items()
    }


def _may_change(name: str) -> bool:
    """Whether a setting may change when a run is resumed."""
    return name.startswith(("run.", "test.updates", "source")) and name != "run.seed"  # a source is identified by its contents
