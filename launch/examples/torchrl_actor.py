"""Primitives as an actor of TorchRL (pip install torchrl): a key of its tensordicts says which of them acts."""

import torch
from tensordict.nn import TensorDictModule, TensorDictSequential
from torchrl.envs import GymEnv

import mlsh_envs  # noqa: F401  (registers the environments)
import mlsh_mpi

if __name__ == "__main__":
    mlsh_mpi.load("ant-twowalk").export("walks.ts")
    master = TensorDictModule(lambda _: torch.tensor(1), in_keys=["observation"], out_keys=["primitive"])  # yours
    walks = TensorDictModule(torch.jit.load("walks.ts"), in_keys=["observation", "primitive"], out_keys=["action"])
    env = GymEnv("mlsh/AntTwowalk-v0", integrator="implicitfast")
    rollout = env.rollout(200, TensorDictSequential(master, walks))
    print("the ant is at", rollout["next", "observation"][-1, :2].numpy().round(2))
