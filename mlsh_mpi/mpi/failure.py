"""How a rank that failed says so, once for the whole job, and ends all ranks with it."""

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
from mlsh_mpi.mpi.library import MPI, WITHOUT_MPI, promised_rank
from mlsh_mpi.output import warn

exit_process = os._exit


def end_job(error: BaseException, sentence: Callable[[str], str], folder: Path | None, first_here: bool) -> NoReturn:
    """Tells of what has ended this rank, and ends the job with it."""
    if isinstance(error, UserError):
        alone = WITHOUT_MPI is None and MPI.COMM_WORLD.Get_size() > 1 and not error.everywhere
        if alone or promised_rank() == 0:
            warn(sentence(str(error)))
        if alone or threading.current_thread() is not threading.main_thread():  # whose exit would end nothing else
            abort(2)
        sys.exit(2)
    text = "interrupted" if isinstance(error, Interrupted) else "failed\n" + "".join(traceback.format_exception(error))
    report_failure(text, folder, first_here)
    abort(130 if isinstance(error, Interrupted) else 1)


def abort(code: int) -> NoReturn:
    """Ends every rank. The launcher may take a moment to end this one, which has nothing more to say."""
    time.sleep(0.3)  # and a moment before to read what this one has said, or it is lost
    MPI.COMM_WORLD.Abort(code)
    exit_process(code)


def report_failure(text: str, folder: Path | None, first_here: bool) -> None:
    """Prints what has befallen this rank, once a job: the first to create the file speaks, the others wait for its abort. If
    that was another host, which may be out of reach, this host's first rank speaks too."""
    rank, here = MPI.COMM_WORLD.Get_rank(), f"on {socket.gethostname()} "
    text = f"rank {rank} of {MPI.COMM_WORLD.Get_size()} {here}{text}"
    if folder is None:
        time.sleep(2 * min(rank, 1) + 0.05 * min(rank, 60))  # the lowest that fails speaks; its abort takes a moment
    else:
        try:
            with (folder / "traceback.txt").open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            spoken = ""
            with suppress(OSError):
                spoken = (folder / "traceback.txt").read_text(encoding="utf-8")
            if not first_here or here in spoken.partition("\n")[0]:
                time.sleep(5)
                return
        except OSError:
            pass
    warn(text)
