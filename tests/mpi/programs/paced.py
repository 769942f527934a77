"""Moving Bandits that wait at each reset while a file `nap`, with seconds in it, lies where the job runs: the same, but later."""

import contextlib
import time
from pathlib import Path

from mlsh_envs import MovingBandits


class Napping(MovingBandits):
    """The same point and places."""

    def reset(self, **options):
        with contextlib.suppress(FileNotFoundError):
            time.sleep(float(Path("nap").read_text()))
        return super().reset(**options)
