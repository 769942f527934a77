"""Gymnasium environments with task distributions: what the MLSH paper trained on.

Importing this package registers every environment under the ``mlsh/`` namespace. Nothing here knows of torch or MPI.
"""

from gymnasium.envs.registration import register, registry

from mlsh_envs.moving_bandits import MovingBandits, MovingBanditsTask, MovingBanditsVector

__all__ = ["MovingBandits", "MovingBanditsTask", "MovingBanditsVector"]

if "mlsh/MovingBandits-v0" not in registry:
    register(
        id="mlsh/MovingBandits-v0",
        entry_point="mlsh_envs.moving_bandits:MovingBandits",
        vector_entry_point="mlsh_envs.moving_bandits:MovingBanditsVector",
        max_episode_steps=50,
    )
