"""Runs commands one after another in one job, as `python -m` would each in a job of its own: most of a short job is its start.

    mpirun -np N python commands.py FOLDER

FOLDER/commands.json has the arguments of each command. Every rank leaves what it said in FOLDER/NUMBER-RANK.out and .err, and
its exit code in .code.
"""

import json
import os
import sys
from pathlib import Path

from mpi4py import MPI

from mlsh_mpi.commands import adapt, replay, train

MAINS = {"train": train.main, "adapt": adapt.main, "replay": replay.main}


def redirected(descriptor, path):
    """Sends what is written to a descriptor into a file, whoever writes it."""
    with path.open("wb") as file:
        os.dup2(file.fileno(), descriptor)


def exit_code(module, arguments):
    name, *rest = arguments if module == "mlsh_mpi" else [module.removeprefix("mlsh_mpi."), *arguments]
    sys.argv = [module, *rest]
    try:
        MAINS[name]()
    except SystemExit as end:
        return end.code or 0
    return 0


def main():
    folder, rank = Path(sys.argv[1]).resolve(), MPI.COMM_WORLD.Get_rank()
    for number, (module, *arguments) in enumerate(json.loads((folder / "commands.json").read_text())):
        left = folder / f"{number:03}-{rank:03}"
        redirected(1, left.with_suffix(".out"))
        redirected(2, left.with_suffix(".err"))
        code = exit_code(module, arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        left.with_suffix(".code").write_text(str(code))
        MPI.COMM_WORLD.Barrier()  # the next may need what this one has left


main()
