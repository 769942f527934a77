"""Trains: ``mpirun -np 4 python -m mlsh_mpi.train [PRESET] [--options]``."""

import sys

from mlsh_mpi.commands.start import start

if __name__ == "__main__":
    start("train", sys.argv[1:])
