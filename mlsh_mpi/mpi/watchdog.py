"""The watchdog: it knows which operation of this rank could hang, and ends the rank when that takes too long."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

from mlsh_mpi.mpi import launchers
from mlsh_mpi.mpi.running_time import BlindTimer, RunningClock

REPORT_SECONDS = 8.0
"""Seconds that the final report may take."""
GRACE = 10.0
"""Seconds that the launcher has to end the job by itself."""
WAITING = 2.0
"""Patience with other ranks, relative to that with this rank's environment, so that the rank that hangs reports first."""
UNSEEN_PATIENCE = 1.5
"""Patience with the watching thread itself, which cannot run while an extension holds the interpreter's lock."""
UNSEEN_MARGIN = 5.0
"""Seconds added to that patience."""
ORPHANED = 60.0
"""Seconds that a rank has to leave in an orderly way when its launcher has ended."""
_exit_process = os._exit


class Watchdog:
    """Watches one operation at a time; entering and leaving cost a microsecond. Only time for which this process runs is counted.

    Args:
        orphaned: called, from the watching thread, when the launcher has ended; the rank must then leave by itself within
            :data:`ORPHANED` seconds.
    """

    def __init__(self, orphaned: Callable[[], object] = lambda: None) -> None:
        self._orphaned = orphaned
        self._lifeline = launchers.Lifeline()
        self._entered: tuple[float, float, Callable[[], str]] | None = None
        self._patience = 0.0
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._blind = BlindTimer()
        self.is_orphan = False
        """Whether the launcher has ended."""

    def enter(self, what: Callable[[], str], factor: float = 1.0) -> None:
        """To be called before an operation that may hang.

        Args:
            what: describes the operation; called only if it hangs.
            factor: multiplies the patience with it.
        """
        self._entered = (time.monotonic(), factor, what)

    def leave(self) -> None:
        """To be called when the operation is over."""
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
        self._blind.stop()

    def start(self, patience: float, tell: Callable[[str], None]) -> None:
        """Watches from a thread of its own, until :meth:`stop`; another call only changes the patience.

        Args:
            patience: seconds that a single operation may take.
            tell: called just before the rank is ended, with what hangs and where in the program.
        """
        self._patience = patience
        self._blind.restart(UNSEEN_PATIENCE * patience + UNSEEN_MARGIN)
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, args=(threading.get_ident(), tell), name="watch", daemon=True)
            self._thread.start()

    def _look(self, working: int, tell: Callable[[str], None]) -> None:
        """Checks again and again.

        Args:
            working: number of the watched thread.
            tell: what :meth:`start` was given.
        """
        clock, pause, alone = RunningClock(), 0.0, 0.0
        seen: object = None
        waited = 0.0

        while not self._stopped.wait(pause):
            entered, patience = self._entered, self._patience
            self._blind.restart(UNSEEN_PATIENCE * patience + UNSEEN_MARGIN)
            passed = clock.since_last(pause)
            if entered is None:
                waited = 0.0
            elif entered is seen:
                waited += passed
            else:
                waited = min(passed, time.monotonic() - entered[0])
            seen = entered

            if entered is not None and waited > patience * entered[1]:
                what = f"has waited {patience * entered[1]:.0f} s for {entered[2]()}, or --patience is too short"
                _end(tell, what, working)
            alone = alone + passed if self._has_lost_launcher() else 0.0
            if alone > ORPHANED:
                _end(tell, f"has lost its launcher, and could not leave within {ORPHANED:.0f} s: {self.doing}", working)
            pause = min(1.0, patience / 4)

    def _has_lost_launcher(self) -> bool:
        if not self.is_orphan and self._lifeline.gone():
            self.is_orphan = True
            self._orphaned()
        return self.is_orphan


def _end(tell: Callable[[str], None], what: str, working: int) -> None:
    """Ends the rank even if other things hang: the filesystem may be gone with the network."""
    frame = sys._current_frames().get(working)
    text = f"{what}\n" + "".join(traceback.format_stack(frame))
    telling = threading.Thread(target=tell, args=(text,), daemon=True)
    telling.start()
    telling.join(REPORT_SECONDS)
    time.sleep(0.3)  # the launcher needs a moment to read the report
    try:
        launchers.kill_later(GRACE)
    finally:
        _exit_process(1)  # not MPI's abort, which may hang too; the launcher ends the other ranks
