"""What hangs is ended, whether or not the interpreter can run; a process that was stopped has not hung."""

import os
import signal
import subprocess
import sys
import time

PROGRAM = """
import ctypes, sys, time
from mlsh_mpi.mpi import running_time, watchdog
watchdog.BLIND_MARGIN = 0.5
running_time.LAST_RESORT = running_time.LAST_RESORT.replace(f"-lt {{running_time.GRACE}}", "-lt 2")
watch = watchdog.Watchdog()
watch.enter(lambda: "a step")
watch.start(1.0, lambda text: print(text, file=sys.stderr, flush=True))
print("watched", flush=True)
{}
watch.stop()
print("went on", flush=True)
"""
CALLS = "def call():\n    ctypes.PyDLL(None).usleep({})\ncall()"
SLEEPS = "for _ in range(8): watch.enter(lambda: 'a step'); time.sleep(0.5)"


def start(body):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "watched\n"
    return process


def test_a_process_that_was_stopped_for_longer_than_its_patience_goes_on():
    stopped = [(start(SLEEPS), send) for send in (os.kill, os.killpg)]  # alone, and with all its processes
    for process, send in stopped:
        send(process.pid, signal.SIGSTOP)
    time.sleep(3)  # after two seconds nobody would have looked
    for process, send in stopped:
        send(process.pid, signal.SIGCONT)
    for process, _ in stopped:
        assert process.communicate(timeout=60) == ("went on\n", "")
        assert process.returncode == 0


def test_what_hangs_is_named_and_ended():
    process = start("time.sleep(1000)")
    out, err = process.communicate(timeout=60)
    assert (out, process.returncode) == ("", 1)
    assert "has waited 1 s for a step, or --patience is too short" in err
    assert "in <module>" in err


def test_time_in_which_a_library_holds_the_interpreter_is_counted():
    """The watching thread cannot look meanwhile, and still knows that the process was running."""
    process = start(CALLS.format(1_500_000) + "\ntime.sleep(1000)")
    began = time.monotonic()
    assert "has waited 1 s for a step" in process.communicate(timeout=60)[1]
    assert time.monotonic() - began < 30
