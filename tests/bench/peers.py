"""The trainer against other PPO trainers on Gymnasium's Ant-v5: steps a second of one core, and the share of the bare physics.

python tests/bench/peers.py [--repeats 5] [--steps 60000] [--folder build/peers] [--check]

Each peer is installed from PyPI into an environment of its own below the folder, and all run in turns on the same core.

The same for all: the body, observation, reward, end and time limit of Ant-v5; the number of steps; two tanh networks of two
layers of 64; observations standardised by running moments; PPO with 2000 steps an update, ten epochs of fifteen minibatches and
Adam; one thread. First states and actions are kept; after the run the bare loop of mj_step goes through the same, and the
physics' share is its time over the run's. The first two updates, with all compilation, are not counted.

Not the same: this trainer learns K = 2 primitives and a master over them (N = 200, U = 1000: primitives learn in every iteration
but the first), steps two lanes of 1000 steps where the others go on with one environment, and starts each update from a reset.
It has two lines: with the ant as a world of this project (ant_v5.py, which is compared with Gymnasium's step by step first), and
with the environment that its peers use. Stable-Baselines3 and SBX cut their last minibatch short (134 samples, the last 124).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import gymnasium as gym
import numpy as np

from bare import seconds_of, state_of

OURS = "mlsh_mpi"
D, EPOCHS, MINIBATCH = 2000, 10, 134
PEERS = {
    "stable-baselines3": ["stable-baselines3==2.9.2"],
    "sbx": ["sbx-rl==0.28.0"],
    "tianshou": ["tianshou==2.0.1"],
}
COMMON = ["gymnasium[mujoco]==1.4.0", "mujoco==4.0.0", "torch==2.13.0"]


class Kept(gym.Wrapper):
    """Keeps what a bare loop needs to do the same: the first state of each episode and its actions."""

    episodes: ClassVar[list] = []  # of all instances: a trainer may hide its own

    def reset(self, **given):
        found = self.env.reset(**given)
        self._actions = []
        self.episodes.append((state_of(self.unwrapped.model, self.unwrapped.data), self._actions))
        return found

    def step(self, action):
        self._actions.append(np.array(action, np.float64))
        return self.env.step(action)


def ant():
    """Ant-v5, kept."""
    return Kept(gym.make("Ant-v5", disable_env_checker=True))


class Task(gym.Env):
    """The same as this trainer wants it: the outermost environment offers its tasks."""

    def __init__(self):
        self.env = ant()
        self.observation_space, self.action_space, self.spec = self.env.observation_space, self.env.action_space, self.env.spec

    def sample_task(self, rng, split="train"):
        """There is one."""
        return 0

    def reset(self, *, seed=None, options=None):
        return self.env.reset(seed=seed)

    def step(self, action):
        return self.env.step(action)


def physics_seconds(skip: int) -> float:
    """Of a bare loop through everything that was kept after the first `skip` steps."""
    environment = gym.make("Ant-v5").unwrapped
    seconds = 0.0
    for state, actions in Kept.episodes:
        seconds += seconds_of(environment.model, environment.frame_skip, state, actions, untimed=max(skip, 0))
        skip -= len(actions)
    return seconds


class Stopwatch:
    """Counts from the end of the second update."""

    def __init__(self) -> None:
        self.begins: list[float] = []

    def update_begins(self, *_: object) -> None:
        """Called as each collection begins."""
        self.begins.append(time.perf_counter())

    def print(self, steps: int, bare_seconds: Callable[[], float] | None = None) -> None:
        """Steps a second after the second update, and the physics' share of that time; other bare physics than that of Kept."""
        seconds, counted = time.perf_counter() - self.begins[2], steps - 2 * D
        bare = bare_seconds() if bare_seconds else physics_seconds(2 * D)
        print(json.dumps({"steps a second": counted / seconds, "share": bare / seconds}))


def run_stable_baselines3(steps: int, library: str = "stable_baselines3") -> None:
    """Stable-Baselines3, or SBX, which has the same interface."""
    import torch
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    torch.set_num_threads(1)
    watch = Stopwatch()

    class Begins(BaseCallback):
        def _on_rollout_start(self) -> None:
            watch.update_begins()

        def _on_step(self) -> bool:
            return True

    network = {"net_arch": {"pi": [64, 64], "vf": [64, 64]}}
    if library == "stable_baselines3":
        from stable_baselines3 import PPO
    else:
        import flax
        from sbx import PPO

        network["activation_fn"] = flax.linen.tanh
    environment = VecNormalize(DummyVecEnv([ant]), norm_reward=False, clip_obs=5.0)
    options = {"n_steps": D, "batch_size": MINIBATCH, "n_epochs": EPOCHS, "policy_kwargs": network, "seed": 0}
    if library == "stable_baselines3":
        options["device"] = "cpu"
    PPO("MlpPolicy", environment, **options).learn(steps, callback=Begins())
    watch.print(steps)


def run_mlsh_mpi(steps: int, worlds: bool = True) -> None:
    """This trainer, on the ant as a world of this project or as Gymnasium's own environment."""
    from ant_v5 import ID, check
    from mlsh_mpi.algorithm.mlsh import train
    from mlsh_mpi.config.overrides import with_options
    from mlsh_mpi.config.presets import PRESETS
    from mlsh_mpi.mpi.job import job
    from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
    from mlsh_mpi.sampling.experiment import Experiment
    from mlsh_mpi.sampling.task_family import TaskFamily
    from mujoco_trainer import RecordingMaker

    check()
    maker = RecordingMaker(ID, None) if worlds else EnvironmentMaker(Task, 1000)
    watch = Stopwatch()
    watch.update_begins()

    def next_iteration(*_: object) -> None:
        if worlds and len(watch.begins) <= 2:
            maker.recorder.episodes.clear()
        watch.update_begins()

    with job() as current:
        setting = {"groups": 1, "workers": 1, "warmup": 1, "joint": 1000, "iterations": steps // D, "macro_length": 200}
        config = with_options(PRESETS["ant-twowalk-paper"].config, setting)
        train(Experiment(config, current, TaskFamily.from_maker(maker)), None, next_iteration)
        watch.print(steps, maker.recorder.replay if worlds else None)


def run_tianshou(steps: int) -> None:
    """Tianshou, by its procedural interface."""
    import torch
    from tianshou.algorithm import PPO
    from tianshou.algorithm.modelfree.reinforce import ProbabilisticActorPolicy
    from tianshou.algorithm.optim import AdamOptimizerFactory
    from tianshou.data import Collector, VectorReplayBuffer
    from tianshou.env import DummyVectorEnv, VectorEnvNormObs
    from tianshou.trainer import OnPolicyTrainerParams
    from tianshou.utils.net.common import Net
    from tianshou.utils.net.continuous import ContinuousActorProbabilistic, ContinuousCritic

    torch.set_num_threads(1)
    watch = Stopwatch()
    environment = VectorEnvNormObs(DummyVectorEnv([ant]))
    single = ant()
    nets = [Net(state_shape=single.observation_space.shape, hidden_sizes=(64, 64), activation=torch.nn.Tanh) for _ in range(2)]
    actor = ContinuousActorProbabilistic(preprocess_net=nets[0], action_shape=single.action_space.shape, unbounded=True)
    policy = ProbabilisticActorPolicy(
        actor=actor,
        dist_fn=lambda parameters: torch.distributions.Independent(torch.distributions.Normal(*parameters), 1),
        action_space=single.action_space,
    )
    algorithm = PPO(policy=policy, critic=ContinuousCritic(preprocess_net=nets[1]), optim=AdamOptimizerFactory(lr=3e-4))
    collector = Collector(algorithm, environment, VectorReplayBuffer(D, 1))
    collect = collector.collect

    def watched(*arguments, **named):
        watch.update_begins()
        return collect(*arguments, **named)

    collector.collect = watched
    algorithm.run_training(
        OnPolicyTrainerParams(
            training_collector=collector,
            max_epochs=1,
            epoch_num_steps=steps,
            collection_step_num_env_steps=D,
            update_step_num_repetitions=EPOCHS,
            batch_size=MINIBATCH,
            test_collector=None,
            show_progress=False,
            verbose=False,
        )
    )
    watch.print(steps)


PROGRAMS = {
    OURS: run_mlsh_mpi,
    f"{OURS}, Gymnasium's environment": lambda steps: run_mlsh_mpi(steps, worlds=False),
    "stable-baselines3": run_stable_baselines3,
    "sbx": lambda steps: run_stable_baselines3(steps, "sbx"),
    "tianshou": run_tianshou,
}


def python_of(peer: str, folder: Path) -> Path:
    """The Python of a peer's environment, made if it is not there."""
    place = folder.resolve() / peer
    if not (place / "ready").exists():
        print(f"installing {peer} into {place}", flush=True)
        venv.create(place, with_pip=True, clear=True)
        subprocess.run([place / "bin/python", "-m", "pip", "install", "-q", *PEERS[peer], *COMMON], check=True)
        (place / "ready").touch()
    return place / "bin/python"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60_000)
    parser.add_argument("--folder", type=Path, default=Path("build/peers"))
    parser.add_argument("--check", action="store_true", help="exit 1 if a goal is missed")
    given = parser.parse_args()
    pythons = {name: python_of(name, given.folder) if name in PEERS else Path(sys.executable) for name in PROGRAMS}
    core = min(os.sched_getaffinity(0))
    found: dict[str, list[dict[str, float]]] = {name: [] for name in pythons}
    for repeat in range(given.repeats):
        for name, python in pythons.items():
            command = [python, Path(__file__).resolve(), "--program", name, str(given.steps)]
            run = subprocess.run(
                command, check=True, capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {core})
            )
            found[name].append(json.loads(run.stdout.strip().splitlines()[-1]))
            print(f"{repeat + 1}: {name} {found[name][-1]}", flush=True)

    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"PPO on Ant-v5, one core, {given.steps:,} steps, medians of {given.repeats} runs in turns")
    for heading in ("", "steps a second", "of stable-baselines3's", "share of its bare physics"):
        table.add_column(heading, justify="right" if heading else "left")
    base = [run["steps a second"] for run in found["stable-baselines3"]]
    ratios, shares = {}, {}
    for name, runs in found.items():
        speeds = [run["steps a second"] for run in runs]
        ratios[name] = statistics.median(speed / other for speed, other in zip(speeds, base, strict=True))
        shares[name] = statistics.median(run["share"] for run in runs)
        table.add_row(name, f"{statistics.median(speeds):,.0f}", f"{ratios[name]:.2f} times", f"{shares[name]:.1%}")
    Console(width=100).print(table)
    if given.check and (ratios[OURS] < 2.5 or shares[OURS] < max(shares.values())):
        sys.exit("below 2.5 times Stable-Baselines3, or another has a larger share")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--program"]:
        PROGRAMS[sys.argv[2]](int(sys.argv[3]))
    else:
        main()
