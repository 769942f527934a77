"""The command ``mlsh``, also ``python -m mlsh_mpi``, which starts all other commands."""

from __future__ import annotations

import sys
from importlib import import_module

import mlsh_mpi
from mlsh_mpi.errors import UserError, exit_on_user_error, nearest
from mlsh_mpi.output import say

COMMANDS = {
    "train": ("mlsh_mpi.commands.train", "train primitives on a distribution of tasks", "[PRESET]"),
    "adapt": ("mlsh_mpi.commands.adapt", "learn single tasks over trained primitives", "RUN_OR_PHI"),
    "replay": ("mlsh_mpi.commands.replay", "film episodes before and after learning", "RUN_OR_PHI"),
    "figures": ("mlsh_mpi.figures.__main__", "draw the paper's figures from runs", "FIGURE"),
    "seeds": ("mlsh_mpi.reporting.seeds", "draw several runs together", "RUN..."),
    "doctor": ("mlsh_mpi.commands.doctor", "look for what would go wrong on these hosts", ""),
}
"""Module, summary and first argument of each command."""


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
    sys.argv = [f"mlsh {name}", *rest]
    import_module(COMMANDS[name][0]).main()
    return None


if __name__ == "__main__":
    main()
