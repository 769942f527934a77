"""A job in a lone process: which signals ask it to leave."""

import os
import signal
import subprocess
import sys

import pytest

from mlsh_mpi.mpi.launchers import RANK_VARIABLES

PROGRAM = """
import os, signal, sys
from mlsh_mpi.mpi.job import job
if "nohup" in sys.argv:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
with job(script=True) as current:
    os.kill(os.getpid(), int(sys.argv[1]))
    print(current.exit_requested or "goes on")
    current.exit_requested = ""
    current.watch._lifeline.gone = lambda: "lost" in sys.argv
    while "lost" in sys.argv and not current.exit_requested:
        pass
    print(current.exit_requested)
"""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([signal.SIGHUP], ["SIGHUP", ""]),
        ([signal.SIGHUP, "nohup"], ["goes on", ""]),
        ([signal.SIGCONT], ["goes on", ""]),
        ([signal.SIGCONT, "lost"], ["goes on", "the launcher has ended"]),
    ],
    ids=["HUP", "under nohup", "CONT", "without the launcher"],
)
def test_what_asks_a_job_to_leave(arguments, says):
    clean = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
    command = [sys.executable, "-c", PROGRAM, *(str(int(word)) if isinstance(word, int) else word for word in arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env=clean, timeout=60, check=True)
    assert result.stdout.split("\n")[:2] == says
