"""Time for which this process was running: a job that is suspended and continued (SIGSTOP, scontrol suspend) has not hung."""

from __future__ import annotations

import faulthandler
import os
import resource
import subprocess
import sys
import threading
import time
from contextlib import suppress

WAKING = 0.02
"""Seconds that a thread may have been running before each of its context switches. While it waits for the interpreter's lock it
wakes every 5 ms (sys.getswitchinterval), on busy cores less often."""
GRACE = 5
"""Seconds of running time for the watching thread to show that the interpreter does run, and the process was only stopped."""
LAST_RESORT = f"""
trap '' HUP INT TERM USR1 USR2
exec >&2
read -r line || exit 0
ticks=0
while [ $ticks -lt {GRACE} ]; do
    sleep 1
    ticks=$((ticks + 1))
done
echo "$line"
dd iflag=nonblock bs=65536 count=1 2>/dev/null
sleep 0.5
kill -9 "$1"
"""
"""A shell script: once a traceback arrives, it waits, prints it and kills the process. It sleeps one second at a time, because it
is stopped together with the rest of the job: any such stop then counts as one second at most."""


class RunningClock:
    """Seconds for which the calling thread, and so its process, was running.

    The thread sleeps between two calls. If more time has passed than it wanted to sleep, either another thread held the
    interpreter's lock, and this thread has kept waking up to request it, or the process was stopped, and it has not.
    """

    def __init__(self) -> None:
        self._asked, self._switches = time.monotonic(), _switches()

    def since_last(self, slept: float) -> float:
        """Seconds of running time since the last call.

        Args:
            slept: seconds for which the thread was to sleep since then.
        """
        now, switches = time.monotonic(), _switches()
        running = min(now - self._asked, slept + WAKING * (switches - self._switches))
        self._asked, self._switches = now, switches
        return running


def _switches() -> int:
    """Number of this thread's voluntary context switches."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


class BlindTimer:
    """Ends the process with a traceback if its interpreter cannot run, because an extension holds the lock and hangs.

    faulthandler writes the traceback without the lock, but also counts time for which the process was stopped. So it writes to a
    shell, which gives the interpreter some more seconds: if that does run, it replaces the shell.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shell: subprocess.Popen[bytes] | None = None
        self._due = 0.0

    def restart(self, seconds: float) -> None:
        """Unless called again within this time, the process is ended."""
        with self._lock:
            faulthandler.cancel_dump_traceback_later()
            if self._shell is None or time.monotonic() >= self._due:  # it may have received a traceback
                self._renew()
            if self._shell is not None and self._shell.stdin is not None:
                self._due = time.monotonic() + seconds
                faulthandler.dump_traceback_later(seconds, file=self._shell.stdin)

    def stop(self) -> None:
        """Ends watching."""
        with self._lock:
            faulthandler.cancel_dump_traceback_later()
            self._end_shell()

    def _renew(self) -> None:
        self._end_shell()
        if sys.__stderr__ is None:
            return
        with suppress(OSError):  # no shell, or no more processes: a rank without this timer is better than none
            command = ["/bin/sh", "-c", LAST_RESORT, "sh", str(os.getpid())]
            local = {"PATH": "/usr/bin:/bin"}
            self._shell = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=local)

    def _end_shell(self) -> None:
        if self._shell is not None:
            self._shell.kill()
            self._shell.communicate()
            self._shell = None
