"""What checkpoints, in-sync checks and diagnostics cost the default preset, as parts of the time of a run.

Diagnostics are measured in the last of an update's epochs: what that takes longer than the one before it is their cost.

python tests/bench/upkeep.py [--check] [--quick]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

GOALS = {"checkpoints": 0.01, "in-sync checks": 0.001, "diagnostics": 0.01}


def measure(folder: Path, repeats: int) -> None:
    """Under mpirun: medians of seconds for one of each, and of an iteration of the default preset, to a JSON file."""
    import torch

    from mlsh_mpi.algorithm.mlsh import train
    from mlsh_mpi.algorithm.ppo import PPOUpdate
    from mlsh_mpi.algorithm.training_state import TrainingState
    from mlsh_mpi.config.overrides import with_options
    from mlsh_mpi.config.presets import PRESETS
    from mlsh_mpi.mpi.job import job
    from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
    from mlsh_mpi.sampling.experiment import Experiment
    from mlsh_mpi.sampling.task_family import TaskFamily
    from mlsh_mpi.tracking import checkpoint

    torch.set_num_threads(1)
    with job() as current:
        world, config = (
            current.world,
            with_options(PRESETS["moving-bandits"].config, {"iterations": 40, "whole_episode_iterations": 0}),
        )
        maker = EnvironmentMaker(config.environment.env, None)
        seconds: dict[str, list[float]] = {"iteration": [], "checkpoints": [], "in-sync checks": [], "diagnostics": []}
        epochs: list[float] = []
        plain = PPOUpdate._epoch

        def timed(self: PPOUpdate, *arguments: Any) -> Any:
            begun = time.perf_counter()
            found = plain(self, *arguments)
            epochs.append(time.perf_counter() - begun)
            return found

        PPOUpdate._epoch = timed  # type: ignore[method-assign]
        entered = time.perf_counter()

        def on_iteration(metrics: dict[str, float], state: TrainingState) -> bool:
            nonlocal entered
            seconds["iteration"].append(time.perf_counter() - entered)
            updates = np.array(epochs).reshape(-1, config.master.epochs)  # masters and primitives have as many
            seconds["diagnostics"].append(float((updates[:, -1] - updates[:, -2]).sum()))
            epochs.clear()
            if metrics["iteration"] == config.run.iterations:
                for repeat in range(repeats):
                    begun = time.perf_counter()
                    gathered = state.gather_state_dict(world)
                    world.agreed(lambda: gathered and checkpoint.save(folder / "checkpoints", repeat, gathered) and None)  # noqa: B023
                    kept = time.perf_counter()
                    world.in_sync(state.primitives.stack.flat.numpy())
                    seconds["checkpoints"].append(kept - begun)
                    seconds["in-sync checks"].append(time.perf_counter() - kept)
            entered = time.perf_counter()
            return False

        train(Experiment(config, current, TaskFamily.from_maker(maker)), None, on_iteration)
        if world.rank == 0:
            (folder / "seconds.json").write_text(json.dumps({name: float(np.median(s[10:])) for name, s in seconds.items()}))


def main() -> None:
    """Prints the shares in the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 if a goal is missed")
    parser.add_argument("--quick", action="store_true", help="fewer repeats: to try it out")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    repeats = 15 if arguments.quick else 60
    if arguments.measure:
        return measure(arguments.measure, repeats)
    with tempfile.TemporaryDirectory() as folder:
        command = ["mpirun", "-np", "2", sys.executable, __file__, "--measure", folder]
        subprocess.run([*command, "--quick"] if arguments.quick else command, check=True)
        seconds = json.loads((Path(folder) / "seconds.json").read_text())
    every = {"checkpoints": 60.0, "in-sync checks": 10 * seconds["iteration"], "diagnostics": seconds["iteration"]}
    shares = {name: seconds[name] / every[name] for name in GOALS}
    print(json.dumps({"seconds": seconds, "shares": {name: f"{share:.4%}" for name, share in shares.items()}}))
    sys.exit(1 if arguments.check and any(shares[name] > goal for name, goal in GOALS.items()) else 0)


if __name__ == "__main__":
    main()
