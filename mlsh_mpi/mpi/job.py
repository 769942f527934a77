"""One MPI job in this process: how it starts, how it handles signals, and how the failure of one rank ends all of them."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from mlsh_mpi.errors import EnvironmentFault, Interrupted, UserError, as_words
from mlsh_mpi.mpi import early_interrupt
from mlsh_mpi.mpi.checks import check_all_ranks_present, check_clocks
from mlsh_mpi.mpi.failure import abort, end_job, exit_process, report_failure
from mlsh_mpi.mpi.launchers import promised_ranks
from mlsh_mpi.mpi.library import (
    FAULT_TOLERANT,
    MPI,
    STARTING,
    WITHOUT_MPI,
    check_mpi_available,
    check_not_singletons,
    library_version,
)
from mlsh_mpi.mpi.limits import allow_open_files
from mlsh_mpi.mpi.ranks import Ranks
from mlsh_mpi.mpi.software import differences, software
from mlsh_mpi.mpi.watchdog import Watchdog
from mlsh_mpi.output import say, warn

UNSEEN = 10.0
"""Seconds until a new file counts as invisible: a network filesystem may take a moment, even if its folder is listed again."""
CONTINUE = 75
"""Exit code of a job that left early and is to be continued by the same command: the system's EX_TEMPFAIL."""


_one_job = threading.Lock()
"""Held by this process's job: the collectives of two jobs would get mixed up."""


class Preempted(SystemExit):
    """All ranks leave the job in an orderly way; a script that does not catch it ends with exit code :data:`CONTINUE`.

    Args:
        reason: why the job leaves.
        code: another exit code.
    """

    def __init__(self, reason: str, code: int = CONTINUE) -> None:
        super().__init__(code)
        self.reason = reason

    def __str__(self) -> str:
        if self.code == CONTINUE:
            return f"left early ({self.reason}); the same command continues"
        return self.reason


class Job:
    """The whole MPI job, from the perspective of this rank."""

    def __init__(self) -> None:
        check_not_singletons()
        if FAULT_TOLERANT and MPI.COMM_WORLD.Is_revoked():
            raise UserError("an earlier job of this process has lost ranks: start another process for the next job")
        self.exit_requested = ""
        """Why this rank should leave at the next opportunity, such as the name of a signal; empty if it should not."""
        self.watch, self.library = Watchdog(self._on_launcher_gone), library_version()
        self.folder: Path | None = None
        """The run folder, once there is one; a traceback is kept there."""
        self.closing = ExitStack()
        """What a run has opened; closed no matter how the job ends, because a script may continue."""
        self.is_lowest_on_host = True
        """Whether this is the lowest rank of its host."""
        self.set_patience(STARTING)
        self.watch.enter(lambda: "the other ranks: their hosts cannot be reached over the network, or do not start")
        self._join_all()
        self.watch.leave()
        self.started = time.monotonic()
        self.continues_after = False
        """Whether a script or notebook continues after the job."""
        self._afterwards: dict[int, Any] = {}
        self._process = os.getpid()

    def _join_all(self) -> None:
        """Makes all ranks the world, and takes stock of their hosts."""
        world = MPI.COMM_WORLD
        host = world.Split_type(MPI.COMM_TYPE_SHARED)
        self.cores = len(set().union(*host.allgather(os.sched_getaffinity(0))))
        """Number of cores that this host's ranks may use."""
        self._host = (socket.gethostname(), host.bcast(world.Get_rank()))
        """Name of this rank's host, and the number of its lowest rank: two containers may have one name."""
        host.Free()
        self.join(world)

    def join(self, communicator: MPI.Comm) -> None:
        """Makes the ranks of a communicator the world. All of them must call it; if it fails, the world is as before."""
        hosts = communicator.allgather(self._host)
        self.host_of = [name for name, _ in hosts]
        """Host name of each rank."""
        self.hosts = sorted(set(self.host_of))
        self.ranks_here: int = hosts.count(self._host)
        """Number of ranks on this host."""
        self.is_lowest_on_host = hosts.index(self._host) == communicator.Get_rank()
        alone, share = self.ranks_here == len(hosts), self.ranks_here / self.cores
        self.world = Ranks(communicator, ranks_per_core=share, one_host=alone, watch=self.watch)

    def open(self) -> None:
        """From here on, until :meth:`close`, a signal is a request to leave, and nothing ends the process unnoticed.

        Raises:
            UserError: the ranks are not one job: some are missing, or run something else.
            Preempted: Ctrl-C was pressed while they were starting.
        """
        if threading.current_thread() is threading.main_thread():  # Python handles signals in no other
            signals = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT]
            if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup sets it
                signals.append(signal.SIGHUP)
            self._afterwards = {number: signal.signal(number, self._on_signal) for number in signals}
        if self.world.any([early_interrupt.asked()])[0]:
            raise Preempted("interrupted while starting", early_interrupt.INTERRUPTED)
        os._exit = self._check_exit  # type: ignore[assignment]
        self.check_same_on_all_ranks(software() | {"MPI": self.library, "the command line": " ".join(sys.argv[1:])})
        check_clocks(self.world, self.host_of)
        self.world.agreed(lambda: allow_open_files(self.world.size - self.ranks_here))
        self.world.agreed(lambda: check_all_ranks_present(self.world))

    def close(self) -> None:
        """Closes what a run has opened, restores signal handlers and ``os._exit``, and stops the watchdog."""
        try:
            with suppress(OSError):  # a full disk has been reported already
                self.closing.close()
        finally:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._afterwards.items():
            signal.signal(number, handler)
        os._exit = exit_process
        self.watch.stop()

    def _check_exit(self, code: int) -> NoReturn:
        """Replaces ``os._exit``, with which a simulator would end this rank without an error. Child processes may still use it.

        A call of exit() in a C library goes unnoticed.
        """
        if os.getpid() != self._process:
            exit_process(code)
        text = "".join(traceback.format_stack())
        report_failure(
            f"failed\n{text}os._exit({code}) was called during {self.watch.doing}\n", self.folder, self.is_lowest_on_host
        )
        abort(1)

    def set_patience(self, seconds: float) -> None:
        """From here on the watchdog ends the rank, and with it the job, when a single operation takes longer than this."""
        self.watch.start(seconds, lambda text: report_failure(text, self.folder, self.is_lowest_on_host))

    def check_same_on_all_ranks(self, facts: dict[str, str]) -> None:
        """Refuses to run if ranks would do different things.

        Args:
            facts: what must be the same on every rank, by name.

        Raises:
            UserError: on every rank; the message names the first rank that differs from rank 0, and its host.
        """
        for rank, other in enumerate(of_all := self.world.allgather(facts)):
            if other != of_all[0]:
                raise UserError.of_all(
                    f"all ranks must run the same, but rank {rank} on {self.host_of[rank]} has "
                    f"{', '.join(differences(of_all[0], other))} (rank 0, on {self.host_of[0]}): bring checkout and environment "
                    "to the same state everywhere (launch/setup.sh), and give all ranks one command line"
                )

    def seen_by(self, path: Path) -> list[str]:
        """Hosts that see a file which rank 0 has just created. Every rank must call it."""
        deadline = time.monotonic() + UNSEEN
        while not (seen := path.exists()) and time.monotonic() < deadline:
            with suppress(OSError):
                os.listdir(path.parent)
            time.sleep(0.1)
        return sorted({host for host, sees in zip(self.host_of, self.world.allgather(seen), strict=True) if sees})

    def _on_signal(self, number: int, _: object) -> None:
        if number == signal.SIGINT and self.exit_requested == "SIGINT":
            raise Interrupted  # a second one ends the job at once
        self.exit_requested = signal.Signals(number).name

    def _on_launcher_gone(self) -> None:
        """Without the launcher, nobody would notice a failure or forward a signal."""
        self.exit_requested = self.exit_requested or "the launcher has ended"

    def exit_if_requested(self) -> None:
        """An opportunity to leave: every rank must call it, and all leave together if a signal has reached any of them."""
        if self.world.any([bool(self.exit_requested)])[0]:
            self.leave()

    def leave(self) -> NoReturn:
        """Raises Preempted on all ranks, which must all call it, because of the lowest rank's signal, or else the time limit."""
        if self._afterwards:  # otherwise a sender that repeats its signal would kill the job while it is leaving
            ignored = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, *(() if self.continues_after else (signal.SIGINT,)))
            self._afterwards |= dict.fromkeys(ignored, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        reasons = [reason for reason in self.world.allgather(self.exit_requested) if reason]
        raise Preempted(reasons[0] if reasons else "the time limit")


@contextmanager
def job(sentence: Callable[[str], str] = "mlsh_mpi: {}".format, *, script: bool = False) -> Iterator[Job]:
    """Runs the body as an MPI job in which the failure of one rank ends all of them.

    A UserError, best raised on all ranks together (:meth:`Ranks.agreed`), is printed once and ends the job with exit code 2. Any
    other exception, including SystemExit, is printed once with the rank's number and aborts the job with exit code 1. USR1, USR2,
    TERM, HUP and INT ask the job to leave in an orderly way (:meth:`Job.exit_if_requested`), and so does the end of the launcher;
    a second INT ends it at once. A script or notebook with one rank continues: exceptions reach it, an environment's SystemExit
    as an EnvironmentFault.

    Args:
        sentence: formats the message of a UserError.
        script: whether a script calls this, not a command.

    Raises:
        UserError: there is no MPI library, or another job is running in this process.
        Preempted: the job leaves early.
    """
    if not script:
        atexit.register(gc.freeze)  # else Python searches all of torch for garbage at exit: half a second per rank
    size = (promised_ranks(os.environ) or 1) if WITHOUT_MPI is not None else MPI.COMM_WORLD.Get_size()
    lone_script = script and size == 1
    current: Job | None = None

    with _only_job():
        try:
            check_mpi_available()
            current = Job()
            current.continues_after = lone_script
            current.open()
            yield current
            current.world.free()

        except Preempted as leaving:
            if current is not None and current.world.rank == 0:
                _tell_that_it_leaves(leaving)

            if current is not None and current.watch.is_orphan and not lone_script:
                current.close()
                exit_process(CONTINUE)  # MPI cannot be finalised without the launcher
            if not lone_script and threading.current_thread() is not threading.main_thread():
                abort(int(leaving.code or 0))  # SystemExit would end this thread only
            raise

        except BaseException as error:
            if not lone_script:
                end_job(error, sentence, current.folder if current else None, current is not None and current.is_lowest_on_host)

            # Only the script's own process is left: it gets the exceptions that it can handle.
            if isinstance(error, Interrupted):
                raise KeyboardInterrupt from None  # Python exits with 130 for this class only
            if isinstance(error, (SystemExit, KeyboardInterrupt)):
                raise EnvironmentFault(f"the environment raised {as_words(error)}") from error
            raise

        finally:
            if current is not None:
                try:
                    if lone_script:
                        current.world.free()
                finally:
                    current.close()


def _tell_that_it_leaves(leaving: Preempted) -> None:
    report = say if leaving.code == CONTINUE else warn
    report(f"mlsh_mpi: {leaving}")
    if leaving.code == CONTINUE and "MLSH_LEFT" in os.environ:  # for a batch script whose launcher may hide the exit code
        Path(os.environ["MLSH_LEFT"]).touch()


@contextmanager
def _only_job() -> Iterator[None]:
    if not _one_job.acquire(blocking=False):
        raise UserError("a process runs one job at a time, and one is running here: wait for its end, or start another process")
    try:
        yield
    finally:
        _one_job.release()
