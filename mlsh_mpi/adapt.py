"""Learns single tasks: ``mpirun -np 4 python -m mlsh_mpi.adapt RUN_OR_PHI [--options]``."""

from mlsh_mpi.commands.adapt import main

if __name__ == "__main__":
    main()
