"""Runs one of the trained ant walks that come with this project."""

import gymnasium as gym

import mlsh_envs  # noqa: F401  (registers the environments)
import mlsh_mpi

if __name__ == "__main__":
    walks = mlsh_mpi.load("ant-twowalk")  # or a run folder, or its phi.pt
    print(len(walks), "primitives, which see", len(walks.columns), "of", walks.observation_size, "numbers")
    env = gym.make("mlsh/AntTwowalk-v0", integrator="implicitfast")
    observation, _ = env.reset(seed=0)
    for _ in range(200):
        observation, *_ = env.step(walks.act(observation, primitive=1, deterministic=True))
    print("the ant is at", observation[:2].round(2))
