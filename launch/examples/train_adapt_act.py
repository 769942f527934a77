"""Trains, has fresh masters learn single tasks, keeps what they have become, and acts with it."""

import gymnasium as gym

import mlsh_envs
import mlsh_mpi

if __name__ == "__main__":
    run = mlsh_mpi.run("moving-bandits", seed=1, iterations=100)
    adapted = mlsh_mpi.adapt(run, updates=9)  # one master for each of the two tasks
    print(adapted.tasks, adapted.returns_without_exploration[-1])  # the mean return of each after nine updates
    adapted.hierarchies[0].save("goal0.pt")

    hierarchy = mlsh_mpi.Hierarchy.load("goal0.pt")  # this needs neither MPI nor the run
    env = gym.make("mlsh/MovingBandits-v0")
    observation, _ = env.reset(seed=0, options={"task": mlsh_envs.MovingBanditsTask(goal=0)})
    hierarchy.reset()
    total, ended = 0.0, False
    while not ended:
        observation, reward, terminated, truncated, _ = env.step(hierarchy.act(observation))
        total, ended = total + reward, terminated or truncated
    print(f"return {total}")
