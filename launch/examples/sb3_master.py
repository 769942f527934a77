"""Lets PPO of Stable-Baselines3 (pip install stable-baselines3) learn which of two ant walks leads to a hidden target."""

import gymnasium as gym
from stable_baselines3 import PPO

import mlsh_envs
import mlsh_mpi

if __name__ == "__main__":
    walks = mlsh_mpi.load("ant-twowalk")
    env = gym.make("mlsh/AntTwowalk-v0", integrator="implicitfast")
    env = mlsh_mpi.PrimitiveActions(env, walks, macro_length=200, task=mlsh_envs.AntTwowalkTask(target=1))
    agent = PPO("MlpPolicy", env, n_steps=40, batch_size=40, learning_rate=3e-3, gamma=1.0, seed=0, device="cpu")
    agent.learn(400)
    observation, _ = env.reset(seed=1)
    print("it chooses walk", agent.predict(observation, deterministic=True)[0])
