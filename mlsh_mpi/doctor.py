"""Looks for what would go wrong: ``mpirun -np 4 python -m mlsh_mpi.doctor``."""

from mlsh_mpi.commands.doctor import main

if __name__ == "__main__":
    main()
