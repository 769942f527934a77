"""The watchdog: it knows what this rank is doing that could hang, and ends the rank when that takes too long."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

from mlsh_mpi.mpi import launchers

REPORT_SECONDS = 8.0
"""Seconds that the last report may take."""
GRACE = 10.0
"""Seconds that the launcher has to end the job by itself."""
WAITING = 2.0
"""Patience with other ranks, as a multiple of that with this rank's environment, so that the rank that hangs reports first."""
BLIND = 1.5
"""Patience with the watching thread itself, which cannot run while an extension holds the interpreter's lock."""
_exit_process = os._exit


class Watchdog:
    """Watches one thing at a time; entering and leaving cost a microsecond."""

    def __init__(self) -> None:
        self._entered: tuple[float, float, Callable[[], str]] | None = None
        self._patience = 0.0
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def enter(self, what: Callable[[], str], factor: float = 1.0) -> None:
        """Call it when something begins that may hang.

        Args:
            what: describes it; called only if it hangs.
            factor: multiplies the patience with it.
        """
        self._entered = (time.monotonic(), factor, what)

    def leave(self) -> None:
        """Call it when that is over."""
        self._entered = None

    @property
    def doing(self) -> str:
        """What is being watched, in words."""
        entered = self._entered
        return entered[2]() if entered is not None else "something that is not an environment"

    def stop(self) -> None:
        """Stops watching."""
        self._entered = None
        if self._thread is not None:
            self._stopped.set()
            self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def start(self, patience: float, tell: Callable[[str], None]) -> None:
        """Watches from a thread of its own, until :meth:`stop`; another call only changes the patience.

        Args:
            patience: seconds that a single thing may take.
            tell: called just before the rank is ended, with what hangs and where in the program.
        """
        self._patience = patience
        _look_again_within(patience)
        if self._thread is not None:
            return
        working = threading.get_ident()

        def look() -> None:
            pause = 0.0
            while not self._stopped.wait(pause):
                entered, limit = self._entered, self._patience
                _look_again_within(limit)
                if entered is not None and time.monotonic() - entered[0] > limit * entered[1]:
                    frame = sys._current_frames().get(working)
                    text = f"has waited {limit * entered[1]:.0f} s for {entered[2]()}, or --patience is too short\n"
                    _end(tell, text + "".join(traceback.format_stack(frame)))
                pause = min(1.0, limit / 4)

        self._thread = threading.Thread(target=look, name="watch", daemon=True)
        self._thread.start()


def _look_again_within(patience: float) -> None:
    """Unless called again in time, ends the rank with a traceback, from a thread that does not need the interpreter."""
    if sys.__stderr__ is not None:
        faulthandler.dump_traceback_later(BLIND * patience + 5, exit=True, file=sys.__stderr__)


def _end(tell: Callable[[str], None], text: str) -> None:
    """Ends the rank, whatever else hangs: the filesystem may be gone with the network."""
    telling = threading.Thread(target=tell, args=(text,), daemon=True)
    telling.start()
    telling.join(REPORT_SECONDS)
    time.sleep(0.3)  # the launcher needs a moment to read the report
    try:
        launchers.kill_later(GRACE)
    finally:
        _exit_process(1)  # not MPI's abort, which may hang too; the launcher ends the other ranks
