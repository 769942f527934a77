"""Do exported primitives act as the primitives do, and how long does one action take? For all that come with this project.

python tests/bench/exported.py

Over 1,000 observations of the environment, visited by primitives that change every 50 steps: the largest difference of an action,
in the environment's units, and the median time of one action for one observation. The second program times an empty folder's
way to a file: `mlsh export ant-mazes`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import onnxruntime
import torch
from rich.console import Console
from rich.table import Table

import mlsh_mpi
from mlsh_mpi.policies.numpy_policy import NumpyPolicy
from mlsh_mpi.policies.pretrained import all_pretrained

STEPS, REPEATS = 1000, 7


def visited(primitives: mlsh_mpi.Primitives) -> tuple[np.ndarray, np.ndarray]:
    """Observations, and the primitive that was active at each."""
    rng, env = np.random.default_rng(0), gym.make(primitives.phi.environment)
    observation, _ = env.reset(seed=0)
    seen, numbers = [], np.repeat(rng.integers(len(primitives), size=STEPS // 50), 50)
    for number in numbers:
        seen.append(observation)
        observation, _, terminated, truncated, _ = env.step(primitives.act(observation, number, rng=rng))
        if terminated or truncated:
            observation, _ = env.reset()
    return np.array(seen, np.float32), numbers


def actors(primitives: mlsh_mpi.Primitives, folder: Path) -> dict[str, Callable[[Any, int], Any]]:
    """The action for one observation, by each format."""
    for suffix in (".onnx", ".ts", ".npz"):
        primitives.export(folder / f"policy{suffix}")
    session = onnxruntime.InferenceSession(str(folder / "policy.onnx"), providers=["CPUExecutionProvider"])
    module = torch.jit.load(str(folder / "policy.ts"))
    return {
        "act": lambda seen, k: primitives.act(seen, k, deterministic=True),
        "ONNX": lambda seen, k: session.run(None, {"observation": seen[None], "primitive": np.array([k])})[0][0],
        "TorchScript": lambda seen, k: module(torch.from_numpy(seen), torch.tensor(k)).numpy(),
        "NumPy": NumpyPolicy(folder / "policy.npz").act,
    }


def microseconds(act: Callable[[Any, int], Any], seen: np.ndarray, numbers: np.ndarray) -> float:
    """Median time of an action over repeats."""
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        for row, number in zip(seen, numbers, strict=True):
            act(row, number)
        times.append(1e6 * (time.perf_counter() - begin) / len(seen))
    return statistics.median(times)


def main() -> None:
    torch.set_num_threads(1)
    table = Table(title="largest difference from act(), and microseconds of one action")
    for name in ("primitives", "act", "ONNX", "TorchScript", "NumPy"):
        table.add_column(name, justify="left" if name == "primitives" else "right")

    with tempfile.TemporaryDirectory() as folder:
        for name in all_pretrained():
            primitives = mlsh_mpi.load(name)
            seen, numbers = visited(primitives)
            cells, expected = [], None
            for act in actors(primitives, Path(folder)).values():
                found = np.array([act(row, k) for row, k in zip(seen, numbers, strict=True)], float)
                expected = found if expected is None else expected
                cells.append(f"{np.abs(found - expected).max():.1g}; {microseconds(act, seen, numbers):.0f} us")
            table.add_row(name, *cells)

        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "mlsh_mpi", "export", "ant-mazes"], cwd=folder, check=True, capture_output=True)
        seconds = time.perf_counter() - begin

    console = Console(width=110)
    console.print(table)
    console.print(f"mlsh export ant-mazes: {seconds:.1f} s", highlight=False)


if __name__ == "__main__":
    main()
