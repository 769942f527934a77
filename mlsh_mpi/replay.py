"""Films episodes: ``python -m mlsh_mpi.replay RUN_OR_PHI [--options]``."""

from mlsh_mpi.commands.replay import main

if __name__ == "__main__":
    main()
