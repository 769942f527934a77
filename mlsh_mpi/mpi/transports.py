"""Which transports an MPI library opens when it starts. Needs no MPI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from mlsh_mpi.mpi.launchers import promised_ranks, promised_ranks_here

SYSTEM_V = Path("/proc/sysvipc/shm")


@contextmanager
def within_host(environment: MutableMapping[str, str]) -> Iterator[None]:
    """While MPI starts in the body, keeps ranks that are all on one host from opening network ports.

    They communicate through shared memory, but UCX (used by MPICH) and Open MPI would still open a TCP port for each rank. UCX
    gets System V shared memory: its files in /dev/shm would need four times as much as MPICH itself, which is more than a
    container has for a dozen ranks. Variables that the user has set stay. Afterwards the environment is restored, for processes
    that a rank starts.
    """
    settings = _settings(environment)
    names = [name for name in settings if name not in environment]
    environment.update({name: settings[name] for name in names})
    try:
        yield
    finally:
        for name in names:
            del environment[name]


def _settings(environment: Mapping[str, str]) -> dict[str, str]:
    ranks = promised_ranks_here(environment)
    if ranks is None or ranks != (promised_ranks(environment) or 1):
        return {}
    settings = {"OMPI_MCA_btl": "^tcp"}
    if not any(name.startswith(("OMPI_COMM_WORLD", "I_MPI_")) for name in environment):  # these choose UCX transports themselves
        settings["UCX_TLS"] = "self,sysv" if SYSTEM_V.exists() else "self,sm"
    return settings
