"""Gymnasium's half-cheetah with two tasks, to run forwards or backwards: how to make tasks for an environment that has none."""

import mlsh_envs
import mlsh_mpi


def reward(direction, _observation, _action, info):
    """The task is the direction that pays, +1 or -1; it is never observed."""
    return direction * info["x_velocity"] + info["reward_ctrl"]


Cheetah = mlsh_envs.with_tasks("HalfCheetah-v5", [1, -1], reward=reward)

if __name__ == "__main__":
    length = {"episode_length": 1000, "macro_length": 200, "iterations": 65, "whole_episode_iterations": 45}
    rewards = {"primitive_reward_scale": 1.0, "primitive_standardise_values": True}  # so that returns may be of any size
    run = mlsh_mpi.run("ant-twowalk", env=Cheetah, **length, **rewards)  # all else as for an ant, which has motors, too
    for task, result in run.summary["tasks"].items():
        print(f"direction {task} return {result['without_exploration']} each primitive alone {result['forced']}")
