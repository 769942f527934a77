"""The whole trainer's speed on a MuJoCo preset as a share of its bare physics, on one rank.

python tests/bench/mujoco_trainer.py [--preset ant-mazes] [--iterations 24] [--check]

One cycle of the preset's schedule (W + U iterations) trains with all its groups, at the N of its end; of the paper's presets
one group with one worker. After each iteration a bare loop of mj_step goes from the same states through the same actions, on
simulations of its own, so that both meet the same minutes of a shared machine; its time is not the trainer's. (Ants that are
set upright in the course of an episode stay fallen in the bare loop.)
"""

from __future__ import annotations

import argparse
import os
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"

import mujoco
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bare import seconds_of, state_of
from mlsh_mpi.algorithm.mlsh import train
from mlsh_mpi.config.overrides import with_options
from mlsh_mpi.config.presets import PRESETS
from mlsh_mpi.mpi.job import job
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.experiment import Experiment
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.sampling.vector_env import VectorEnv

GOALS = {
    "ant-mazes": 0.85,
    "ant-twowalk": 0.85,
    "humanoid-walk-crawl": 0.80,
    "ant-twowalk-paper": 0.80,
    "humanoid-walk-crawl-paper": 0.85,
}


class Recorder(VectorEnv):
    """Lanes that keep what a bare loop needs to do the same: for each lane's episodes, the first state and the actions."""

    def __init__(self, lanes: VectorEnv) -> None:
        super().__init__(lanes._vector, lanes._actions)
        self.world = lanes._vector.world
        self.episodes: list[tuple[mujoco.MjModel, np.ndarray, list[np.ndarray]]] = []
        self._now: list[list[np.ndarray]] = [[] for _ in range(self.count)]
        self.recording = 0.0
        """Seconds that keeping all this took, which are not the trainer's."""

    def reset(self, mask, seeds, tasks):
        observation = super().reset(mask, seeds, tasks)
        entered = time.perf_counter()
        for lane in np.flatnonzero(mask):
            model, data = self.world.models[lane], self.world.datas[lane]
            self._now[lane] = []
            self.episodes.append((model, state_of(model, data), self._now[lane]))
        self.recording += time.perf_counter() - entered
        return observation

    def step(self, action):
        entered = time.perf_counter()
        for actions, one in zip(self._now, action, strict=True):
            actions.append(one)
        self.recording += time.perf_counter() - entered
        return super().step(action)

    def replay(self) -> float:
        """Seconds that the bare physics of everything since the last call takes; setting the first states does not count."""
        seconds = sum(seconds_of(model, self.world.frame_skip, state, actions) for model, state, actions in self.episodes)
        self.episodes.clear()
        return seconds


class RecordingMaker(EnvironmentMaker):
    """Makes one :class:`Recorder`."""

    def lanes(self, count: int) -> VectorEnv:
        self.recorder = Recorder(super().lanes(count))
        return self.recorder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="ant-mazes", choices=GOALS)
    parser.add_argument("--iterations", type=int, help="by default those of a cycle")
    parser.add_argument("--check", action="store_true", help="exit 1 if the goal is missed")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with job() as current:
        preset = PRESETS[given.preset].config
        iterations = given.iterations or preset.hierarchy.warmup + preset.hierarchy.joint
        one = {"groups": 1, "workers": 1} if given.preset.endswith("-paper") else {}
        config = with_options(preset, {"iterations": iterations, "whole_episode_iterations": 0, **one})
        maker = RecordingMaker.from_config(config.environment)
        rows, bare, replaying = [], [], 0.0

        def on_iteration(metrics: dict[str, float], _: object) -> bool:
            nonlocal replaying
            entered = time.perf_counter()
            rows.append(metrics)
            bare.append(maker.recorder.replay())
            replaying += time.perf_counter() - entered
            return False

        entered = time.perf_counter()
        train(Experiment(config, current, TaskFamily.from_maker(maker)), None, on_iteration)
        measured = time.perf_counter() - entered - replaying
        recording = maker.recorder.recording
        whole = measured - recording

    physics = sum(bare)
    seconds = {name: measured * np.mean([row[f"time/{name}"] for row in rows]) for name in ("environment", "policy")}
    shares = {"environment": (seconds["environment"] - recording) / whole, "policy": seconds["policy"] / whole}
    collecting = shares["environment"] + shares["policy"]
    steps = iterations * config.sampling.steps * config.sampling.groups * config.sampling.workers
    table = Table(title=f"{given.preset}, one rank, {config.sampling.groups * config.sampling.workers} workers, {steps:,} steps")
    for name in ("", "share of the trainer's time", "steps a second"):
        table.add_column(name, justify="left" if not name else "right")
    table.add_row("bare physics", f"{physics / whole:.1%}", f"{steps / physics:,.0f}")
    table.add_row("environment beside it", f"{shares['environment'] - physics / whole:.1%}", "")
    table.add_row("policy, rollout", f"{shares['policy']:.1%}", "")
    table.add_row("sampling in all", f"{collecting:.1%}", f"{steps / (collecting * whole):,.0f}")
    table.add_row("learning, logging", f"{1 - collecting:.1%}", "")
    table.add_row("the trainer", "100.0%", f"{steps / whole:,.0f}")
    console = Console(width=100)
    console.print(table)
    sampling = physics / (collecting * whole)
    console.print(f"The trainer reaches {physics / whole:.1%} of its physics' speed, sampling {sampling:.1%}.")
    if given.check and physics / whole < GOALS[given.preset]:
        sys.exit(f"below {GOALS[given.preset]:.0%}")


if __name__ == "__main__":
    main()
