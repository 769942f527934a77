"""Learns single tasks: ``mpirun -np 4 python -m mlsh_mpi.adapt RUN_OR_PHI [--options]``."""

import sys

from mlsh_mpi.commands.start import start

if __name__ == "__main__":
    start("adapt", sys.argv[1:])
