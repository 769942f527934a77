"""Meta Learning Shared Hierarchies (Frans et al., ICLR 2018), trained over MPI.

From a script under mpirun: ``mlsh_mpi.run(env=MyEnv, iterations=100)``. From the command line:
``mpirun -np 4 python -m mlsh_mpi.train``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from mlsh_mpi.errors import EnvironmentFault, UserError

# A rank is one thread. Linear algebra libraries read this once, when they are loaded.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

if TYPE_CHECKING:
    from mlsh_mpi.train import run

__version__ = "0.1.0"
__all__ = ["EnvironmentFault", "UserError", "run"]


def __getattr__(name: str) -> Any:
    if name == "run":
        from mlsh_mpi.train import run  # only those who run something pay for importing torch

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
