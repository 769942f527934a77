"""Limits of the operating system that would otherwise end a long run only at its end."""

from __future__ import annotations

import resource

from mlsh_mpi.errors import UserError

FILES = 100
"""Largest number of files that a rank has open, without connections to other ranks: 40 are too few for the last plot."""


def allow_open_files(connections: int) -> None:
    """Raises this process's limit of open files if it is too low.

    Args:
        connections: number of connections to ranks on other hosts, each of which is an open file.

    Raises:
        UserError: the limit is too low, and may not be raised.
    """
    needed = FILES + connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UserError(
            f"a rank opens up to {needed} files, but may open {hard}: raise the limit with ulimit -n {needed} or more"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
