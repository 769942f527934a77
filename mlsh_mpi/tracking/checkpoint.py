"""Checkpoint files: written whole or not at all, and checked before they are used. Knows nothing of their contents.

A checkpoint is what torch.save writes: a zip archive in which every entry has a checksum. A file that is incomplete or damaged
fails that check, and the one before it is used instead.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlsh_mpi import files
from mlsh_mpi.errors import UserError, as_words

FORMAT, VERSION = "mlsh_mpi checkpoint", 1
KEPT = 3
"""Number of checkpoints to keep; older ones are removed once a newer one is safely on disk."""
_NAME = re.compile(r"iteration-(\d{8})\.pt")


def save(folder: Path, iteration: int, state: dict[str, Any]) -> Path:
    """Writes a checkpoint so that the folder holds it whole or not at all, whatever fails in between.

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
    for old in (*(path for _, path in _files(folder)[:-KEPT]), *folder.glob(".iteration-*.pt.tmp")):  # of earlier versions
        old.unlink(missing_ok=True)
    files.remove_unfinished(folder)
    return path


def newest(folder: Path, tell: Callable[[str], None], usable: Callable[[dict[str, Any]], Any] = dict) -> Any:
    """The newest checkpoint of a folder that can be used; None if it holds none at all.

    Args:
        folder: the folder of checkpoints, which need not exist.
        tell: called with a sentence for each file that cannot be used.
        usable: given the contents of a whole file, returns what is made of them, or raises an exception if they will not do.

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
    found = ((_NAME.fullmatch(path.name), path) for path in folder.glob("*.pt"))
    return sorted((int(match[1]), path) for match, path in found if match)
