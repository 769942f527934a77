"""Ctrl-C while a command is starting: one line and exit code 130, not a traceback from the middle of an import. Needs no MPI."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mlsh_mpi.mpi.launchers import RANK_VARIABLES, is_first_here
from mlsh_mpi.output import warn

INTERRUPTED = 130
"""Exit code after Ctrl-C."""
START_SECONDS = 15.0
"""Seconds that MPI may take to start after an interrupt; it may wait for a rank that an earlier Ctrl-C has ended already."""
_exit_process = os._exit
_asked = False


def watch() -> None:
    """From here on SIGINT ends a lone process at once; a rank continues until its job has started, and all ranks end together.

    If a rank ended by itself, the launcher would kill the others and combine their exit codes.
    """
    if threading.current_thread() is threading.main_thread():  # Python handles signals in no other
        signal.signal(signal.SIGINT, _on_interrupt)


def asked() -> bool:
    """Whether a rank has been interrupted since :func:`watch`."""
    return _asked


@contextmanager
def ending_if_interrupted() -> Iterator[None]:
    """While MPI starts in the body, which may wait for other ranks for ever, ends this rank in time if interrupted."""
    if not _asked:
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, START_SECONDS)  # its signal ends the process even if the interpreter is blocked
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _on_interrupt(*_: object) -> None:
    global _asked
    if _asked or not os.environ.keys() & {*RANK_VARIABLES}:
        if is_first_here(os.environ):
            warn("mlsh_mpi: interrupted")
        _exit_process(INTERRUPTED)
    _asked = True
