"""How all ranks use the same run folder: rank 0 opens it, and tells the others what it holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlsh_mpi import files
from mlsh_mpi.config.settings import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.mpi.job import Job
from mlsh_mpi.output import say, warn
from mlsh_mpi.tracking.checkpoint import Checkpoint
from mlsh_mpi.tracking.run_folder import RunFolder


@dataclass(frozen=True)
class Kind:
    """The differences between the commands' runs."""

    more: str
    """Name of the option that extends a finished run."""
    leaves: Sequence[str]
    """Files that a finished run leaves; if one is missing, the run is not finished."""
    check_resumable: Callable[[Checkpoint], None]
    """Raises an exception if the new job cannot continue from a checkpoint."""


@dataclass(frozen=True)
class OpenRun:
    """The run folder on rank 0, and its earlier contents."""

    folder: RunFolder
    identity: Mapping[str, Any]
    saved: Checkpoint | None
    tables: str | None

    @classmethod
    def in_folder(cls, path: Path, config: Config, identity: Mapping[str, Any], fresh: bool, kind: Kind) -> OpenRun:
        """Opens a run folder.

        Raises:
            UserError: it cannot be written, is in use, or holds another run.
        """
        with files.writing(f"the run folder {path}"):
            folder = RunFolder(path, fresh=fresh)
            saved = folder.continued(config, identity, lambda note: warn(f"mlsh_mpi: {note}"), kind.more, kind.check_resumable)
            return cls(folder, identity, saved, folder.finished(config, saved, kind.leaves))


def open_on_all_ranks(
    current: Job,
    path: Path,
    config: Config,
    identity: Callable[[], Mapping[str, Any]],
    fresh: bool,
    kind: Kind,
    newest: Callable[[Checkpoint | None], Checkpoint | None] = lambda saved: saved,
) -> tuple[OpenRun | None, Checkpoint | None, bool]:
    """Opens the run folder on rank 0 and broadcasts what it holds.

    Args:
        current: the MPI job.
        path: path of the folder.
        config: the run's configuration, the same on every rank.
        identity: returns what a checkpoint is valid for: see :func:`mlsh_mpi.tracking.same_run.identity`.
        fresh: whether to move an earlier run aside.
        kind: the kind of run.
        newest: called on rank 0 with the newest checkpoint in the folder; returns that or a newer one, which no file holds.

    Returns:
        The open run, on rank 0; the newest checkpoint; and whether the run is finished, in which case its tables have been shown.
    """
    world = current.world
    opened = world.agreed(lambda: OpenRun.in_folder(path, config, identity(), fresh, kind) if world.rank == 0 else None)
    if opened:
        opened = replace(opened, saved=newest(opened.saved))
    if len(current.hosts) > 1:
        _check_shared(current, path, opened)
    saved, done = world.bcast((opened.saved, opened.tables is not None) if opened else (None, False))
    if opened and done:
        say(f"{path} holds this run, finished. More {kind.more} extend it, --fresh starts over.\n\n{opened.tables}")
    if opened:
        current.closing.callback(opened.folder.close)
    if not done:
        world.agreed(lambda: _note_job(current, opened) if opened else None)
        current.folder = path
        current.set_patience(config.run.patience)
    return opened, saved, done


def _note_job(current: Job, opened: OpenRun) -> None:
    hosts = {host: current.host_of.count(host) for host in current.hosts}
    with files.writing(f"the run folder {opened.folder.path}"):
        opened.folder.note_job(opened.saved.iteration if opened.saved else 0, hosts, current.library)


def _check_shared(current: Job, path: Path, opened: OpenRun | None) -> None:
    """Refuses a folder that the hosts of a SLURM job do not share: the first rank of a requeued job may be on another host, where
    it would start over. Without SLURM it only warns."""
    token = path / current.world.bcast(opened.folder.token() if opened else "")
    seen_by = current.seen_by(token)
    if opened:
        token.unlink()
    blind = [host for host in current.hosts if host not in seen_by]
    if not blind:
        return
    problem = f"the run folder {path} on {current.host_of[0]} is not on a filesystem that {', '.join(blind[:5])} shares"
    if "SLURM_JOB_ID" in os.environ:
        raise UserError.of_all(f"{problem}: SLURM may continue this run on any of its nodes, so choose a shared --folder")
    if opened:
        warn(f"mlsh_mpi: {problem}: it can only be continued with the first rank on that host")
