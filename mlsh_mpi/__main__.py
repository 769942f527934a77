"""The command ``mlsh``, also ``python -m mlsh_mpi``, which starts all other commands."""

from __future__ import annotations

import sys

import mlsh_mpi
from mlsh_mpi.commands.start import COMMANDS, start
from mlsh_mpi.errors import UserError, exit_on_user_error, nearest
from mlsh_mpi.output import say


def overview() -> str:
    """An overview of the commands, as text."""
    lines = [f"  {f'mlsh {name} {first}':28}{summary}" for name, (_, summary, first) in COMMANDS.items()]
    return "\n".join(
        [
            f"mlsh_mpi {mlsh_mpi.__version__}: Meta Learning Shared Hierarchies over MPI",
            "",
            *lines,
            "",
            "mlsh COMMAND --help lists a command's options; mpirun -np N mlsh train runs on N ranks.",
        ]
    )


def main() -> None:
    """Starts the command that the first argument names."""
    with exit_on_user_error():
        name, *rest = sys.argv[1:] or ["--help"]
        if name in ("-h", "--help"):
            return say(overview())
        if name == "--version":
            return say(f"mlsh_mpi {mlsh_mpi.__version__}")
        if name not in COMMANDS:
            raise UserError(f"there is no command {name!r}{nearest(name, list(COMMANDS))}: choose from {', '.join(COMMANDS)}")
    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, "")  # so that --env finds a module of the current folder, as with python -m
    sys.argv = [f"mlsh {name}", *rest]
    start(name, rest)
    return None


if __name__ == "__main__":
    main()
