"""Checks that the ranks of a job fit together, before they work."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import numpy as np

from mlsh_mpi.errors import UserError
from mlsh_mpi.mpi.ranks import Ranks

CLOCKS = 300.0
"""Seconds by which the hosts' clocks may differ: beyond five minutes munge and Kerberos refuse credentials, so that no job
starts and no file opens."""


def check_all_ranks_present(world: Ranks) -> None:
    """Raises UserError on rank 0 if the launcher was to start another number of ranks."""
    expected, size = os.environ.get("MLSH_RANKS"), world.size
    if world.rank == 0 and expected not in (None, str(size)):  # other hosts need not have the variable
        raise UserError(
            f"MLSH_RANKS asks for {expected} ranks, but MPI has {size}: the launcher does not use all hosts of the job "
            "(launch/doctor.sh shows which it uses), or MLSH_RANKS is left over from another job"
        )


def check_clocks(world: Ranks, host_of: Sequence[str]) -> None:
    """Raises UserError on every rank if the clocks of two hosts differ too much. Every rank must call it, after a collective."""
    clocks = world.allgather(time.time())
    late, early = int(np.argmin(clocks)), int(np.argmax(clocks))
    ahead = clocks[early] - clocks[late]
    if ahead > CLOCKS:
        raise UserError.of_all(
            f"clocks may differ by {CLOCKS:.0f} s at most, but that of {host_of[early]} is {ahead:.0f} s ahead of "
            f"{host_of[late]}: set them (NTP), or munge, Kerberos and file times will fail later"
        )
