"""Other PPO trainers on Ant-v5, each run by its own Python, and the learning curve that every trainer of learning.py writes.

Nothing but the standard library is imported before a trainer is chosen.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import resource
import runpy
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

ENV = "Ant-v5"
ROW_STEPS = 20_000
Write = Callable[[int, Sequence[float]], bool]
"""Takes how many environment steps were done since the last call, and the returns of the episodes that ended in them; says
whether these were enough."""


class Enough(Exception):  # noqa: N818  (no error)
    """Ends a program that cannot be ended otherwise."""


class Curve:
    """A row about every 20,000 environment steps; its clocks, of this process and its children, start with it.

    Args:
        file: takes the rows, each a JSON object on a line of its own.
        most: steps that are enough.
    """

    def __init__(self, file: IO[str], most: int) -> None:
        self._file, self._most = file, most
        self._steps, self._at_last_row = 0, 0
        self._ended: list[float] = []
        self._cpu, self._wall = cpu_seconds(), time.perf_counter()

    def write(self, steps: int, returns: Sequence[float]) -> bool:
        """Counts steps and ended episodes, and writes a row when one is due."""
        self._steps += steps
        self._ended.extend(returns)
        if self._steps - self._at_last_row >= ROW_STEPS:
            self.row()
        return self._steps >= self._most

    def row(self) -> None:
        """Writes a row, if an episode ended since the last."""
        if not self._ended:
            return
        row = {
            "steps": self._steps,
            "cpu_seconds": round(cpu_seconds() - self._cpu, 3),
            "wall_seconds": round(time.perf_counter() - self._wall, 3),
            "return": sum(self._ended) / len(self._ended),
            "episodes": len(self._ended),
        }
        print(json.dumps(row), file=self._file, flush=True)
        self._at_last_row = self._steps
        self._ended.clear()


def cpu_seconds() -> float:
    """CPU time of this process, all its threads and the children it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def run_stable_baselines3(seed: int, begin: Callable[[], Write]) -> None:
    """Stable-Baselines3 by rl_zoo3, with the settings for Ant-v4 in its hyperparams/ppo.yml (there are none for Ant-v5).

    These are the library's defaults, observations and rewards normalised: one environment, 2048 steps an update, ten epochs of
    minibatches of 64, learning rate 0.0003, two tanh networks of two layers of 64.
    """
    from argparse import Namespace

    import rl_zoo3
    import torch
    import yaml
    from rl_zoo3.exp_manager import ExperimentManager
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.utils import set_random_seed

    torch.set_num_threads(1)
    set_random_seed(seed)
    published = yaml.safe_load((Path(rl_zoo3.__file__).parent / "hyperparams/ppo.yml").read_text())
    Path("ppo.yml").write_text(yaml.safe_dump({ENV: published["Ant-v4"]}))

    class Listens(BaseCallback):
        def _on_training_start(self) -> None:
            self.write = begin()

        def _on_step(self) -> bool:
            infos = self.locals["infos"]
            return not self.write(len(infos), [info["episode"]["r"] for info in infos if "episode" in info])

    quiet = {"eval_freq": -1, "log_interval": -1, "verbose": 0}
    manager = ExperimentManager(Namespace(), "ppo", ENV, "logs", seed=seed, device="cpu", config="ppo.yml", **quiet)
    model, _ = manager.setup_experiment()
    manager.callbacks.append(Listens())
    manager.learn(model)


def run_cleanrl(seed: int, begin: Callable[[], Write]) -> None:
    """CleanRL's ppo_continuous_action.py as its package has it, with its defaults but for the environment and the seed.

    One environment, 2048 steps an update, ten epochs of 32 minibatches, a learning rate that falls from 0.0003 to 0 in a million
    steps, two tanh networks of two layers of 64, observations and rewards normalised and clipped to 10.

    The file is of the time before Gymnasium 1.0, which has no Ant-v5. Three things are given back to it: TransformObservation
    without an observation space, environments that restart in the step that ends an episode, and `final_info` as a list.
    """
    import gymnasium as gym
    import numpy as np
    import torch
    import torch.utils.tensorboard  # before the clock starts

    torch.set_num_threads(1)
    transform = gym.wrappers.TransformObservation
    gym.wrappers.TransformObservation = lambda env, func: transform(env, func, env.observation_space)

    class Vector(gym.vector.SyncVectorEnv):
        def __init__(self, env_fns) -> None:
            super().__init__(env_fns, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)

        def step(self, actions):
            *found, infos = super().step(actions)
            final = infos.pop("final_info", None)
            ended = [] if final is None else np.flatnonzero(final["_episode"]).tolist()
            episodes = {lane: {name: final["episode"][name][lane] for name in "rl"} for lane in ended}
            if episodes:
                infos["final_info"] = [{"episode": episodes[lane]} if lane in episodes else None for lane in range(self.num_envs)]
            if write(self.num_envs, [float(episode["r"]) for episode in episodes.values()]):
                raise Enough
            return *found, infos

    gym.vector.SyncVectorEnv = Vector
    program = importlib.metadata.distribution("cleanrl").locate_file("cleanrl/ppo_continuous_action.py")
    sys.argv = [str(program), "--env-id", ENV, "--seed", str(seed), "--cuda", "False"]
    write = begin()
    runpy.run_path(str(program), run_name="__main__")


def run_rl_games(seed: int, begin: Callable[[], Write]) -> None:
    """rl_games on EnvPool, with its configs/mujoco/ant_envpool.yaml but for the version of the ant.

    64 environments, 64 steps of each an update, four epochs of two minibatches of 2048, a learning rate adapted to a divergence
    of 0.008, one network of 256, 128 and 64 ELUs for policy and value, observations and values normalised. torch.compile, which
    the library turns on where a file does not say, is off: here it costs 18 s and makes nothing faster.
    EnvPool's Ant-v5 has the observation, reward and end of Gymnasium's; the step that restarts an episode counts too.
    """
    import numpy as np
    import rl_games
    import torch
    import yaml
    from rl_games.common import vecenv
    from rl_games.envs.envpool import Envpool
    from rl_games.torch_runner import Runner

    class Counted(Envpool):
        def __init__(self, *given, **settings) -> None:
            super().__init__(*given, **settings)
            self._returns = np.zeros(self.batch_size)
            self._write = begin()

        def step(self, action):
            observation, reward, done, info = super().step(action)
            self._returns += reward
            ended = self._returns[done].tolist()
            self._returns[done] = 0.0
            if self._write(self.batch_size, ended):
                raise Enough
            return observation, reward, done, info

    vecenv.register("ENVPOOL", lambda name, num_actors, **settings: Counted(name, num_actors, **settings))
    given = yaml.safe_load((Path(rl_games.__file__).parent / "configs/mujoco/ant_envpool.yaml").read_text())
    params = given["params"]
    params |= {"seed": seed + 1, "torch_threads": 1}  # seed 0 is none to it
    params["config"] |= {"device": "cpu", "torch_compile": False}
    params["config"]["env_config"] |= {"env_name": ENV, "env_type": "gymnasium", "num_threads": 1, "seed": seed + 1}
    torch.set_num_threads(1)
    runner = Runner()
    runner.load(given)
    runner.run({"train": True, "play": False})


PROGRAMS = {"stable-baselines3": run_stable_baselines3, "cleanrl": run_cleanrl, "rl_games": run_rl_games}


def record(program: Callable[[int, Callable[[], Write]], None], seed: int, steps: int, path: Path) -> None:
    """Runs a program, which calls what it is given when it begins to train, and keeps its curve."""
    curves = []

    def begin() -> Write:
        curves.append(Curve(file, steps))
        return curves[0].write

    with path.open("w") as file:
        with contextlib.suppress(Enough):
            program(seed, begin)
        curves[0].row()


if __name__ == "__main__":
    name, seed, steps, path = sys.argv[1:]
    record(PROGRAMS[name], int(seed), int(steps), Path(path))
