"""Runs a walk exported by `mlsh export ant-twowalk --format numpy`, with NumPy and the environment alone."""

import gymnasium as gym
from numpy_policy import NumpyPolicy  # the file beside ant-twowalk.npz

import mlsh_envs  # noqa: F401  (registers the environments)

if __name__ == "__main__":
    walks = NumpyPolicy("ant-twowalk.npz")
    env = gym.make("mlsh/AntTwowalk-v0", integrator="implicitfast")
    observation, _ = env.reset(seed=0)
    for _ in range(200):
        observation, *_ = env.step(walks.act(observation, primitive=1))
    print("the ant is at", observation[:2].round(2))
