"""Starts a command by its name."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from importlib import import_module

from mlsh_mpi.errors import exit_on_interrupt, exit_on_user_error
from mlsh_mpi.mpi import early_interrupt
from mlsh_mpi.mpi.launchers import RANK_VARIABLES

COMMANDS = {
    "train": ("mlsh_mpi.commands.train", "train primitives on a distribution of tasks", "[PRESET]"),
    "adapt": ("mlsh_mpi.commands.adapt", "learn single tasks over trained primitives", "RUN_OR_PHI"),
    "replay": ("mlsh_mpi.commands.replay", "film episodes before and after learning", "RUN_OR_PHI"),
    "export": ("mlsh_mpi.commands.export", "write policies as ONNX, TorchScript or NumPy files", "RUN_OR_PHI"),
    "figures": ("mlsh_mpi.commands.figures", "draw the paper's figures from runs", "FIGURE"),
    "publish": ("mlsh_mpi.commands.publish", "write a folder with trained primitives and their card", "RUN..."),
    "report": ("mlsh_mpi.commands.report", "write the page of a run for a browser", "RUN..."),
    "seeds": ("mlsh_mpi.commands.seeds", "draw several runs together", "RUN..."),
    "doctor": ("mlsh_mpi.commands.doctor", "check what could go wrong on these hosts", ""),
    "completion": ("mlsh_mpi.commands.completion", "print a completion script for your shell", "bash|zsh"),
}
"""Module, summary and first argument of each command."""
PARSERS = {"train": "parse_train_args", "adapt": "parse_adapt_args", "replay": "parse_replay_args"}
"""The function of `mlsh_mpi.commands.cli` that parses a command's arguments."""
WITHOUT_JOB = {"export", "figures", "publish", "report", "seeds"}
"""Commands that are not MPI jobs; a job handles its signals itself."""
SHOWING = {"-h", "--help", "--list", "--print-config"}
"""Arguments with which a command only shows something."""


def start(name: str, arguments: Sequence[str]) -> None:
    """Starts a command. If it only shows something and no launcher has started it, it needs neither MPI nor torch."""
    early_interrupt.watch()
    if name in PARSERS and SHOWING & set(arguments) and not os.environ.keys() & RANK_VARIABLES:
        with exit_on_user_error():
            getattr(import_module("mlsh_mpi.commands.cli"), PARSERS[name])(arguments)
    else:
        command = import_module(COMMANDS[name][0])
        if name in WITHOUT_JOB:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with exit_on_interrupt():
            command.main()
