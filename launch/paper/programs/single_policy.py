"""Is the single policy from scratch a weak baseline? Its learning against Stable-Baselines3's PPO, on CartPole and on an ant.

    python launch/paper/programs/single_policy.py [--seeds 4] [--folder build/peers]

The same for both: two tanh networks of two layers of 64, D = 2000 steps an update, ten epochs of fifteen minibatches, Adam at
0.0003, gamma 0.99, lambda 0.98, clip 0.2, value coefficient 0.5, no entropy bonus; on the ant observations standardised by
running moments. Not the same: Stable-Baselines3 clips gradients and goes on with its environments, and its returns are those of
all episodes that ended within an update's steps; this trainer begins each update from a reset, and a lane's last episode, cut
by the end of the collection, is not counted.

Prints mean returns over the seeds, 95 % band of the mean, and the area under the curve.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

D, EPOCHS, MINIBATCHES = 2000, 10, 15
TASKS = {"CartPole": ("CartPole-v1", 500, 50_000, False), "Ant": ("Ant-v5", 1000, 200_000, True)}
"""Gymnasium's id, steps of an episode, steps to learn for, observations filtered."""


def stable_baselines3(task: str, seed: int) -> list[float]:
    """Mean return of the episodes that ended in each D steps."""
    import gymnasium as gym
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    torch.set_num_threads(1)
    name, length, steps, filtered = TASKS[task]
    curve: list[float] = []
    ended: list[float] = []

    class Listens(BaseCallback):
        def _on_step(self) -> bool:
            ended.extend(info["episode"]["r"] for info in self.locals["infos"] if "episode" in info)
            return True

        def _on_rollout_end(self) -> None:
            curve.append(float(np.mean(ended)) if ended else float("nan"))
            ended.clear()

    lanes = D // length
    environment = DummyVecEnv([lambda: Monitor(gym.make(name))] * lanes)
    environment = VecNormalize(environment, norm_reward=False, clip_obs=5.0) if filtered else environment
    network = {"net_arch": {"pi": [64, 64], "vf": [64, 64]}}
    how = {"n_steps": length, "batch_size": -(-D // MINIBATCHES), "n_epochs": EPOCHS, "gae_lambda": 0.98, "learning_rate": 3e-4}
    PPO("MlpPolicy", environment, policy_kwargs=network, seed=seed, device="cpu", **how).learn(steps, callback=Listens())
    return curve


def mlsh_mpi(task: str, seeds: int, folder: Path) -> np.ndarray:
    """(U, seeds) the same of this trainer."""
    _, length, steps, filtered = TASKS[task]
    options = f"--env one_task:{task} --episode-length {length} --steps {D} --updates {steps // D - 1} --test-masters {seeds}"
    options += f" --primitive.learning-rate 0.0003 --primitive.epochs {EPOCHS} --primitive.minibatches {MINIBATCHES}"
    preset = "ant-twowalk-paper" if filtered else "moving-bandits"
    command = ["mpirun", "-np", "2", sys.executable, "-m", "mlsh_mpi", "adapt", preset, "--method", "scratch", *options.split()]
    where = {"PYTHONPATH": str(Path(__file__).parent)}
    run = folder.resolve() / f"ours-{task}"
    subprocess.run([*command, "--folder", str(run), "--fresh"], check=True, stdout=subprocess.DEVNULL, env=os.environ | where)
    return np.array(json.loads((run / "adaptation.json").read_text())["returns"], float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--folder", type=Path, default=Path("build/peers"))
    given = parser.parse_args()

    from rich.console import Console
    from rich.table import Table

    from mlsh_mpi.reporting.statistics import band
    from peers import python_of

    python = python_of("stable-baselines3", given.folder)

    def theirs(task: str, seed: int) -> list[float]:
        program = [python, Path(__file__).resolve(), "--program", task, str(seed)]
        run = subprocess.run(program, check=True, capture_output=True, text=True)
        curve: list[float] = json.loads(run.stdout.strip().splitlines()[-1])
        return curve

    for task, (name, _, steps, _) in TASKS.items():
        ours = mlsh_mpi(task, given.seeds, given.folder)
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            curves = pool.map(theirs, [task] * given.seeds, range(given.seeds))
        found = {"mlsh_mpi": ours, "Stable-Baselines3": np.array([curve[: len(ours)] for curve in curves], float).T}
        table = Table(title=f"{name}, mean return of {given.seeds} seeds, 95 % band", title_justify="left")
        for heading in ("steps", *found):
            table.add_column(heading, justify="right")
        for update in sorted({*range(0, steps // D, max(1, steps // D // 10)), steps // D - 1}):
            row = [f"{(update + 1) * D:,}"]
            for values in found.values():
                low, high = band(values[update])
                row.append(f"{values[update].mean():.0f}, {low:.0f} to {high:.0f}")
            table.add_row(*row)
        table.add_row("mean of all", *(f"{np.nanmean(values):.0f}" for values in found.values()))
        Console(width=100).print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--program"]:
        print(json.dumps(stable_baselines3(sys.argv[2], int(sys.argv[3]))))
    else:
        main()
