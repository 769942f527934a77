"""Ten iterations in a corridor of which one end pays, into the run folder OUT.

mpirun -np N python corridor.py OUT
"""

import sys

import gymnasium as gym
import numpy as np

import mlsh_mpi


class Corridor(gym.Env):
    """Twenty steps to the left or right."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def sample_task(self, rng, split="train"):
        return int(rng.choice([-1, 1]))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.task, self.x = (options or {}).get("task", 1), 0.0
        return np.float32([self.x]), {}

    def step(self, action):
        self.x = float(np.clip(self.x + (0.1 if action else -0.1), -1, 1))
        return np.float32([self.x]), self.x * self.task, False, False, {}


if __name__ == "__main__":
    brief = {"steps": 400, "iterations": 10, "whole_episode_iterations": 4, "warmup": 1, "test_masters": 2}
    mlsh_mpi.run(env=Corridor, episode_length=20, macro_length=5, folder=sys.argv[1], **brief)
