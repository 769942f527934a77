"""Properties try the same examples in every run, no test depends on how fast the machine is, and no window needs a screen."""

import os
import signal
import subprocess
import sys

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("repeatable")

os.environ["SDL_VIDEODRIVER"] = "dummy"
os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"


# A run that is told to end takes its jobs, daemons and hosts with it.
signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=143))


@pytest.fixture(scope="session")
def draws():
    """Skips where MuJoCo cannot draw; MLSH_TEST_PICTURES=required makes that a failure."""
    picture = "import gymnasium as g, mlsh_envs as m; e = m.AntTwowalk('rgb_array'); e.reset(seed=0); e.render(); e.close()"
    tried = subprocess.run([sys.executable, "-c", picture], capture_output=True, text=True, check=False)
    if tried.returncode and os.environ.get("MLSH_TEST_PICTURES") != "required":
        pytest.skip("MuJoCo cannot draw here: `apt-get install libegl1 libgl1-mesa-dri` (Debian, Ubuntu)")
    assert tried.returncode == 0, tried.stderr
