"""Checkpoints: the interface of states that can be saved, and their files, written whole or not at all and checked before use.

A checkpoint is a file of torch.save: a zip archive in which every entry has a checksum. A file that is incomplete or damaged
fails that check, and the one before it is used instead.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from mlsh_mpi import files
from mlsh_mpi.config.earlier_names import present_settings
from mlsh_mpi.errors import UserError, as_words
from mlsh_mpi.mpi.ranks import Ranks
from mlsh_mpi.networks.actor_critic import Array

FORMAT, VERSION = "mlsh_mpi checkpoint", 1
MAX_CHECKPOINTS = 3
"""Number of checkpoints to keep; older ones are removed once a newer one is safely on disk."""
_NAME = re.compile(r"iteration-(\d{8})\.pt")


IDENTITY = ("environment", "software")
"""The parts of a run's identity."""


class Resumable(Protocol):
    """A state that changes from iteration to iteration and can be saved in a checkpoint."""

    @property
    def shared(self) -> Array:
        """What must be bitwise the same on every rank."""
        ...

    def gather_state_dict(self, world: Ranks) -> dict[str, Any] | None:
        """Everything that resuming needs, as tensors and plain values, on rank 0; None on the others. Every rank must call it."""
        ...


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint, from which a run is resumed."""

    iteration: int
    """Number of finished iterations."""
    state: Mapping[str, Any]
    """The result of :meth:`Resumable.gather_state_dict`, which only the class that gathered it understands."""
    config: Mapping[str, Any]
    """The run's configuration, as plain values."""
    identity: Mapping[str, Any]
    """Environment, software and MPI library of the run."""
    stopped_by: str | None
    """The ``--stop-when`` that ended training; None if none did."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Checkpoint:
        """From the contents of a file, in which the state's entries are on the same level as the other fields.

        Raises:
            UserError: the file holds something else.
        """
        known: dict[str, Any] = {own.name: values.get(own.name) for own in fields(cls) if own.name != "state"}
        parts = (known["config"], known["identity"], *(dict(known["identity"] or {}).get(name) for name in IDENTITY))
        if not all(isinstance(part, dict) for part in parts):
            raise UserError(f"it must hold the run's configuration and its {' and '.join(IDENTITY)}, but does not")
        known["config"] = present_settings(known["config"])
        return cls(state={name: value for name, value in values.items() if name not in known}, **known)

    def as_dict(self) -> dict[str, Any]:
        """The inverse of :meth:`from_dict`."""
        about = {own.name: getattr(self, own.name) for own in fields(self) if own.name != "state"}
        return {**self.state, **about}


OnIteration = Callable[[dict[str, float], Resumable], bool]
"""Receives the metrics of an iteration and the state after it, on every rank; training stops if it returns True."""


def save(folder: Path, iteration: int, state: dict[str, Any]) -> Path:
    """Writes a checkpoint, whole or not at all, whatever fails in between.

    Args:
        folder: the folder of checkpoints, created if missing.
        iteration: number of iterations finished so far.
        state: tensors and plain values that ``torch.load(weights_only=True)`` accepts.

    Raises:
        OSError: it cannot be written; earlier checkpoints stay as they are.
    """
    folder.mkdir(exist_ok=True)
    path = folder / f"iteration-{iteration:08}.pt"
    files.save_tensors(path, {"format": FORMAT, "version": VERSION, "iteration": iteration} | state)

    older = [path for _, path in _files(folder)[:-MAX_CHECKPOINTS]]
    unfinished = folder.glob(".iteration-*.pt.tmp")  # of earlier versions
    for old in (*older, *unfinished):
        old.unlink(missing_ok=True)
    files.remove_unfinished(folder)
    return path


def newest(folder: Path, tell: Callable[[str], None], usable: Callable[[dict[str, Any]], Any] = dict) -> Any:
    """The newest checkpoint of a folder that can be used; None if it holds none at all.

    Args:
        folder: the folder of checkpoints, which need not exist.
        tell: called with a sentence for each file that cannot be used.
        usable: converts the contents of a whole file to the result, or raises an exception if they cannot be used.

    Raises:
        UserError: there are checkpoints, but none of them can be used.
    """
    faults = []

    for iteration, path in reversed(_files(folder)):
        try:
            state = load(path)
            if state.get("iteration") != iteration:
                raise UserError(f"it holds iteration {state.get('iteration')}")
            return usable(state)
        except UserError as error:
            faults.append(f"{path} cannot be used: {error}")
        except Exception as error:  # contents of another kind can raise anything
            faults.append(f"{path} cannot be used: it does not hold what it should ({as_words(error)})")
        tell(faults[-1])

    if faults:
        raise UserError(
            f"no checkpoint in {folder} can be used ({faults[0]}): put a whole one back, or add --fresh to move the run aside "
            "and start over"
        )
    return None


def load(path: Path) -> dict[str, Any]:
    """Reads one checkpoint.

    Raises:
        UserError: the file is damaged, is no checkpoint, or was written by a newer version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise UserError(f"its part {damaged} is damaged")
        state = files.load_tensors(path)
    except OSError as error:
        raise UserError(f"it cannot be read ({error.strerror})") from None
    except UserError:
        raise
    except Exception:  # a file of another kind can raise anything
        raise UserError("it is cut short, damaged or no checkpoint") from None

    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError("it is not a checkpoint of mlsh_mpi")
    if not isinstance(state.get("version"), int) or state["version"] > VERSION:
        raise UserError(f"it has format {state.get('version')}, and this version of mlsh_mpi reads up to {VERSION}: update it")
    return state


def _files(folder: Path) -> list[tuple[int, Path]]:
    """Checkpoints with their iterations, oldest first."""
    matches = ((_NAME.fullmatch(path.name), path) for path in folder.glob("*.pt"))
    return sorted((int(match[1]), path) for match, path in matches if match)
