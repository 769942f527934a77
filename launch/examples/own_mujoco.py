"""Gymnasium's half-cheetah with two tasks, to run forwards or backwards: how to make tasks for an environment that has none."""

import gymnasium as gym

import mlsh_mpi


class Cheetah(gym.Wrapper):
    """The task is the direction that pays, +1 or -1; it is never observed."""

    def __init__(self):
        super().__init__(gym.make("HalfCheetah-v5"))
        self.direction = 1

    def tasks(self, split="train"):
        return [1, -1]

    def sample_task(self, rng, split="train"):
        return int(rng.choice([1, -1]))

    def reset(self, *, seed=None, options=None):
        self.direction = (options or {}).get("task", self.direction)
        return self.env.reset(seed=seed)

    def step(self, action):
        observation, _, terminated, truncated, info = self.env.step(action)
        reward = self.direction * info["x_velocity"] + info["reward_ctrl"]
        return observation, reward, terminated, truncated, info | {"forwards": info["x_velocity"] > 0}


if __name__ == "__main__":
    length = {"episode_length": 1000, "macro_length": 200, "iterations": 65, "whole_episode_iterations": 45}
    rewards = {"primitive_reward_scale": 1.0, "primitive_standardise_values": True}  # so that returns may be of any size
    run = mlsh_mpi.run("ant-twowalk", env=Cheetah, **length, **rewards)  # all else as for an ant, which has motors, too
    for task, found in run.summary["tasks"].items():
        print(f"direction {task} return {found['without_exploration']} each primitive alone {found['forced']}")
