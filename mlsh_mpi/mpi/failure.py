"""How a rank that failed reports it, once for the whole job, and ends all ranks."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from mlsh_mpi.errors import Interrupted, UserError
from mlsh_mpi.mpi.library import MPI, WITHOUT_MPI, speaks_for_all
from mlsh_mpi.output import warn

exit_process = os._exit


def end_job(error: BaseException, sentence: Callable[[str], str], folder: Path | None, is_lowest_on_host: bool) -> NoReturn:
    """Reports the exception that has ended this rank, and ends the whole job."""
    if isinstance(error, UserError):
        alone = WITHOUT_MPI is None and MPI.COMM_WORLD.Get_size() > 1 and not error.everywhere
        if alone or speaks_for_all():
            warn(sentence(str(error)))
        if alone or threading.current_thread() is not threading.main_thread():  # else sys.exit ends this thread only
            abort(2)
        sys.exit(2)
    text = "interrupted" if isinstance(error, Interrupted) else "failed\n" + "".join(traceback.format_exception(error))
    report_failure(text, folder, is_lowest_on_host)
    abort(130 if isinstance(error, Interrupted) else 1)


def abort(code: int) -> NoReturn:
    """Ends every rank. This one also exits by itself, because the launcher may take a moment to end it."""
    time.sleep(0.3)  # the launcher needs a moment to read this rank's output, or it is lost
    MPI.COMM_WORLD.Abort(code)
    exit_process(code)


def report_failure(text: str, folder: Path | None, is_lowest_on_host: bool) -> None:
    """Prints why this rank failed, once per job: the first rank to create traceback.txt prints, the others wait for its abort. If
    that rank is on another host, which may be unreachable, the first rank of this host prints too."""
    rank, on_host = MPI.COMM_WORLD.Get_rank(), f"on {socket.gethostname()} "
    text = f"rank {rank} of {MPI.COMM_WORLD.Get_size()} {on_host}{text}"
    if folder is None:
        time.sleep(2 * min(rank, 1) + 0.05 * min(rank, 60))  # the lowest rank that fails prints; its abort takes a moment
    else:
        try:
            with (folder / "traceback.txt").open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            if not is_lowest_on_host or on_host in _first_line(folder / "traceback.txt"):
                time.sleep(5)
                return
        except OSError:
            pass
    warn(text)


def _first_line(file: Path) -> str:
    """The first line of a file that another rank has just created, and may not have written yet; empty if it cannot be read."""
    for _ in range(20):
        with suppress(OSError):
            if text := file.read_text(encoding="utf-8"):
                return text.partition("\n")[0]
        time.sleep(0.1)
    return ""
