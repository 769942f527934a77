"""Moving Bandits that wait a little at each reset while a file `nap` lies where the job runs: they learn the same, later."""

import time
from pathlib import Path

from mlsh_envs import MovingBandits

NAP = 0.1


class Napping(MovingBandits):
    """The same point and places."""

    def reset(self, **options):
        if Path("nap").exists():
            time.sleep(NAP)
        return super().reset(**options)
