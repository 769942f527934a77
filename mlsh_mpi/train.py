"""Trains: ``mpirun -np 4 python -m mlsh_mpi.train [PRESET] [--options]``."""

from mlsh_mpi.commands.train import main

if __name__ == "__main__":
    main()
