"""Ctrl-C while a command starts."""

import os
import signal
import subprocess
import sys

import pytest

from mlsh_mpi.mpi.launchers import RANK_VARIABLES

PROGRAM = """
import os, signal, sys
from mlsh_mpi.mpi import early_interrupt
early_interrupt.watch()
os.kill(os.getpid(), signal.SIGINT)
print("starts", early_interrupt.asked(), flush=True)
early_interrupt.START_SECONDS = 0.1
with early_interrupt.ending_if_interrupted():
    if "hang" in sys.argv:
        signal.pause()
print("started", flush=True)
os.kill(os.getpid(), signal.SIGINT)
"""
COMMAND = """
import os, signal, sys, types
from mlsh_mpi.commands import start
module = types.ModuleType("command")
module.main = lambda: os.kill(os.getpid(), signal.SIGINT)
sys.modules["command"] = module
start.COMMANDS[sys.argv[1]] = ("command", "", "")
start.start(sys.argv[1], [])
"""


def run(program, *arguments, **launcher):
    clean = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, env=clean | launcher, check=False, timeout=60
    )


def test_a_lone_process_ends_at_once_with_a_line():
    result = run(PROGRAM)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "mlsh_mpi: interrupted\n")


def test_a_rank_goes_on_to_its_job_and_a_second_one_ends_it():
    result = run(PROGRAM, PMI_RANK="0")
    assert (result.returncode, result.stdout, result.stderr) == (130, "starts True\nstarted\n", "mlsh_mpi: interrupted\n")


def test_a_rank_does_not_wait_for_ever_for_one_that_was_interrupted_too_early():
    result = run(PROGRAM, "hang", PMI_RANK="1")
    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGALRM, "starts True\n", "")


@pytest.mark.parametrize("name", ["train", "seeds"])
def test_a_command_ends_with_a_line(name):
    result = run(COMMAND, name)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "mlsh_mpi: interrupted\n")
