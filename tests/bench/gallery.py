"""Draws the pictures of the gallery in envs/README.md into envs/pictures: the scripted policy at work, in a primitive's colour.

python tests/bench/gallery.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import gymnasium as gym
import PIL.Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mlsh_envs
from environments import EVERY, PHYSICS
from scripted import policy

FOLDER = Path(__file__).resolve().parents[2] / "envs" / "pictures"
SIZE = 240
SCENES = {  # task, camera, steps
    "AntTwowalk": (mlsh_envs.AntTwowalkTask(0), "overview", 25),
    "AntMovement": (mlsh_envs.AntMovementTask("x"), "follow", 37),
    "AntMaze": (mlsh_envs.AntMazeTask("eenn"), "overview", 350),
    "AntObstacleCourse": (None, "overview", 250),
    "AntBigCourse": (None, "overview", 400),
    "HumanoidWalkCrawl": (mlsh_envs.HumanoidWalkCrawlTask("crawl"), "follow", 8),
    "HumanoidCombination": (None, "follow", 30),
    "WalkerObstacles": (mlsh_envs.WalkerObstaclesTask("1100"), "follow", 950),
    "SwimmerBandits": (mlsh_envs.SwimmerBanditsTask(4.0, 3.0), "overview", 60),
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for id_ in [id_ for id_ in EVERY if "Published" not in id_]:
        name = id_.removeprefix("mlsh/").removesuffix("-v0")
        task, camera, steps = SCENES.get(name, (None, None, 5))
        env = gym.make(id_, render_mode="rgb_array", **({"camera": camera} if id_ in PHYSICS else {}))
        observation, _ = env.reset(seed=2, options={"task": task} if task else None)
        act = policy(id_, observation[None], [env.unwrapped.task])
        for _ in range(steps):
            observation = env.step(act(observation[None])[0])[0]
        env.unwrapped.active_primitive = 1
        picture = PIL.Image.fromarray(env.render()).resize((SIZE, SIZE), PIL.Image.Resampling.LANCZOS)
        picture.quantize(256).save(FOLDER / f"{name}.png", optimize=True)
        env.close()
        print(FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
