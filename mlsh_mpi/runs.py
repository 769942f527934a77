"""The run folder: who may write there, and what a run leaves behind. Only rank 0 touches it."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
from pathlib import Path
from typing import Any, TextIO

from mlsh_mpi.config import Config
from mlsh_mpi.errors import UserError

SUMMARY = "summary.json"


class RunFolder:
    """An open run folder, locked until :meth:`close` or the end of the process that holds it.

    Args:
        path: created if missing.
        fresh: move an earlier run in it aside, to path.1, path.2 and so on.

    Raises:
        UserError: another process writes there, an earlier run is there, or the folder cannot be written.
    """

    def __init__(self, path: Path, *, fresh: bool) -> None:
        try:
            if fresh and path.exists():
                if path.resolve() in (Path.cwd(), *Path.cwd().parents):
                    raise UserError(f"--fresh cannot move {path}, because you are in it: choose another with --folder")
                _refuse_if_locked(path)
                path.rename(_free_name(path))
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(path)
            self.path = path
        except OSError as error:
            raise UserError(f"the run folder {path} cannot be written ({error.strerror}): choose another with --folder") from None
        if (path / "config.json").exists():
            self.close()
            raise UserError(
                f"{path} already holds {_state(path)}: add --fresh to move it aside and start over, or choose another "
                "--seed or --folder"
            )

    def close(self) -> None:
        """Lets others write there."""
        self._lock.close()

    def write_config(self, config: Config) -> None:
        """Keeps the resolved configuration."""
        self.write_json("config.json", dataclasses.asdict(config))

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file people can read."""
        (self.path / name).write_text(json.dumps(value, indent=2) + "\n")


def default_folder(config: Config) -> Path:
    """runs/PRESET-seedSEED unless the configuration names another."""
    return Path(config.run.folder or f"runs/{config.preset}-seed{config.run.seed}")


def _lock(path: Path) -> TextIO:
    file = (path / "lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UserError(
            f"another process is writing to {path}: wait for it or end it, or choose another --seed or --folder"
        ) from None
    return file


def _refuse_if_locked(path: Path) -> None:
    if (path / "lock").exists():
        _lock(path).close()


def _free_name(path: Path) -> Path:
    return next(name for i in range(1, 10_000) if not (name := path.with_name(f"{path.name}.{i}")).exists())


def _state(path: Path) -> str:
    try:
        planned = json.loads((path / "config.json").read_text())["run"]["iterations"]
    except (OSError, ValueError, KeyError, TypeError):
        return "a run whose config.json cannot be read"
    done, steps = 0, 0
    with contextlib.suppress(OSError, ValueError, KeyError):  # the last line may be torn
        for line in (path / "metrics.jsonl").read_text().splitlines():
            row = json.loads(line)
            done, steps = row["iteration"], row["environment_steps"]
    finished = (path / SUMMARY).exists()
    ending = "see summary.txt and picture.png there" if finished else "it did not finish"
    kind = "a finished" if finished else "an unfinished"
    return f"{kind} run ({done} of {planned} iterations, {steps:,} environment steps; {ending})"
