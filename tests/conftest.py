"""Properties try the same examples in every run, no test depends on how fast the machine is, and no window needs a screen."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("repeatable")

# One thread, as in a rank; a test that forks would else copy locks that another thread of a library holds.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ["SDL_VIDEODRIVER"] = "dummy"
os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"


# A run that is told to end takes its jobs, daemons and hosts with it. With several workers (pytest-xdist) the controller tells
# them, and waits until each has ended what it had started; whoever else tells them too is no matter.

WORKERS = []
PATIENCE = 60.0
"""Seconds that a worker may take to end its jobs, daemons and hosts."""


def _terminated(*_):
    signal.signal(signal.SIGTERM, _ignored)
    pytest.exit("terminated", returncode=143)


def _ignored(*_):
    """Unlike SIG_IGN, not inherited by what is started."""


signal.signal(signal.SIGTERM, _terminated)
if "PYTEST_XDIST_WORKER" in os.environ:
    signal.signal(signal.SIGINT, _ignored)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node):
    WORKERS.append(node)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    if node in WORKERS:
        WORKERS.remove(node)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish():
    for path in Path("/proc/self/task").glob("*/children") if WORKERS else ():
        for worker in path.read_text().split():
            os.kill(int(worker), signal.SIGTERM)
    for node in WORKERS:
        with contextlib.suppress(OSError, RuntimeError):  # of execnet: it did not end in time, or not well
            node.channel.waitclose(PATIENCE)


def pytest_unconfigure():
    signal.signal(signal.SIGTERM, _ignored)  # nothing is left to be ended


@pytest.fixture(scope="session")
def draws():
    """Skips where MuJoCo cannot draw; MLSH_TEST_PICTURES=required makes that a failure."""
    picture = "import gymnasium as g, mlsh_envs as m; e = m.AntTwowalk('rgb_array'); e.reset(seed=0); e.render(); e.close()"
    tried = subprocess.run([sys.executable, "-c", picture], capture_output=True, text=True, check=False)
    if tried.returncode and os.environ.get("MLSH_TEST_PICTURES") != "required":
        pytest.skip("MuJoCo cannot draw here: `apt-get install libegl1 libgl1-mesa-dri` (Debian, Ubuntu)")
    assert tried.returncode == 0, tried.stderr
