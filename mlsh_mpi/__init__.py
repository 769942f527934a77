"""Meta Learning Shared Hierarchies (Frans et al., ICLR 2018), trained over MPI.

From a script, alone or under mpirun::

    import mlsh_mpi

    run = mlsh_mpi.run("moving-bandits", iterations=100)  # trains, tests and reports
    primitives = mlsh_mpi.load(run)  # or "ant-twowalk", which comes with this project
    adapted = mlsh_mpi.adapt(primitives, updates=9)  # a fresh master for each task
    action = adapted.hierarchies[0].act(observation)

From the command line: ``mpirun -np 4 mlsh train``.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlsh_mpi.errors import EnvironmentFault, UserError

# A rank uses one thread. Linear algebra libraries read this once, when they are loaded.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

if TYPE_CHECKING:
    from mlsh_mpi.api import Adapted, Run, adapt, run
    from mlsh_mpi.policies.hierarchy import Hierarchy
    from mlsh_mpi.policies.primitives import Primitives, load
    from mlsh_mpi.policies.smdp import PrimitiveActions

__version__ = "0.1.0"
__all__ = [
    "Adapted",
    "EnvironmentFault",
    "Hierarchy",
    "PrimitiveActions",
    "Primitives",
    "Run",
    "UserError",
    "adapt",
    "load",
    "run",
]
_MODULES = {
    "Adapted": "api",
    "Hierarchy": "policies.hierarchy",
    "PrimitiveActions": "policies.smdp",
    "Primitives": "policies.primitives",
    "Run": "api",
    "adapt": "api",
    "load": "policies.primitives",
    "run": "api",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:  # imports torch, so only when it is needed
        return getattr(import_module(f"mlsh_mpi.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
