"""Films episodes: ``python -m mlsh_mpi.replay RUN_OR_PHI [--options]``."""

import sys

from mlsh_mpi.commands.start import start

if __name__ == "__main__":
    start("replay", sys.argv[1:])
