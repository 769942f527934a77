"""A short film of all primitives side by side while they are trained, as a GIF for TensorBoard."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.reporting.video import side_by_side
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.task_family import TaskFamily

Array = np.ndarray[Any, np.dtype[Any]]
FRAMES, WIDTH, MOST = 40, 240, 8
"""Frames of each primitive, evenly spaced over an episode; pixels of its width; and how many primitives are shown at most."""


def clip(family: TaskFamily, policies: PrimitivePolicies) -> tuple[bytes, int, int]:
    """One episode of each primitive on the same task, from the same start, with its most likely actions.

    Returns:
        A GIF, its height and its width.

    Raises:
        UserError: the environment draws no pictures.
    """
    env = family.maker.single(render=True)
    try:
        task = family.sample_task(seeding.stream(0, "test"))
        episodes = [list(_episode(env, family, policies, task, k)) for k in range(min(MOST, policies.primitives.n))]
        pictures = [Image.fromarray(frame) for frame in side_by_side([iter(episode) for episode in episodes])]
    finally:
        env.close()

    gif = io.BytesIO()
    first, *rest = pictures
    first.save(gif, "GIF", save_all=True, append_images=rest, duration=100, loop=0)
    return gif.getvalue(), first.height, first.width


def _episode(env: gym.Env[Any, Any], family: TaskFamily, policies: PrimitivePolicies, task: Any, k: int) -> Iterator[Array]:
    act = policies.acting(np.array([k]), deterministic=True)
    noise = policies.head.noise(np.random.default_rng(0), (1,))
    observation, _ = env.reset(seed=0, options={"task": task})
    stride = -(-family.episode_length // FRAMES)

    for step in range(family.episode_length):
        seen = policies.primitive_view(policies.observe(family.as_float32(observation)[None]))
        observation, _, terminated, truncated, _ = env.step(family.actions(act(seen, noise))[0])
        if step % stride == 0:
            picture = Image.fromarray(np.asarray(env.render()))
            picture.thumbnail((WIDTH, WIDTH))
            yield np.asarray(picture.convert("RGB"))
        if terminated or truncated:
            return
