"""Rank 1 runs a copy of the package in which a line was changed, or lives in another time."""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

rank = next(int(os.environ[name]) for name in ("PMI_RANK", "OMPI_COMM_WORLD_RANK") if name in os.environ)
if sys.argv[1] == "code" and rank == 1:
    import mlsh_mpi

    copy = Path(tempfile.mkdtemp()) / "mlsh_mpi"
    shutil.copytree(Path(mlsh_mpi.__file__).parent, copy)
    changed = copy / "algorithm" / "schedule.py"
    changed.write_text(changed.read_text() + "\n")
    mlsh_mpi.__path__[:] = [str(copy)]
    mlsh_mpi.__spec__.submodule_search_locations[:] = [str(copy)]
if sys.argv[1] == "clock" and rank == 1:
    now = time.time
    time.time = lambda: now() + 400

from mlsh_mpi.mpi.job import job  # noqa: E402

with job():
    print("started")
