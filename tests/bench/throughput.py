"""Environment steps per CPU-second of the whole trainer on Moving Bandits, in steady state, and where the time goes.

    python tests/bench/throughput.py [--check] [--quick]

Each layout runs the shipped trainer under mpirun at N = 10 from the start. Counted are whole cycles of W + U iterations after the
first, so warm-up and joint iterations come in the schedule's own mix; imports, set-up and the final test are not counted.
CPU time is summed over all ranks, so time spent spinning in a collective counts and time asleep does not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

LAYOUTS = {(4, 1): 25_000, (2, 10): 70_000, (2, 30): 140_000}
"""(ranks, workers a rank): goal in steps per CPU-second."""
CYCLE = 10


def measure(ranks: int, workers: int, cycles: int) -> tuple[list[float], dict[str, float]]:
    """Steps per CPU-second of each cycle after the first, and time shares."""
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "iterations": CYCLE * (cycles + 1),
            "groups": ranks * workers,
            "whole-episode-iterations": 0,
            "test-masters": 1,
        }
        command = ["mpirun", "-np", str(ranks), sys.executable, "-m", "mlsh_mpi.train", "--folder", f"{folder}/run"]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        subprocess.run(command, check=True, capture_output=True)
        rows = [json.loads(line) for line in (Path(folder) / "run/metrics.jsonl").read_text().splitlines()][CYCLE:]
    seconds_a_step = np.array([1 / row["speed/steps_per_cpu_second"] for row in rows]).reshape(cycles, CYCLE)
    shares = {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name.startswith("time/")}
    return (1 / seconds_a_step.mean(1)).tolist(), shares


def kernel_seconds() -> float:
    """Seconds of a fixed piece of arithmetic on one core: what a figure from another day or machine is to be compared by."""
    torch.set_num_threads(1)
    x, weight = torch.randn(30, 67, 64), torch.randn(30, 64, 64)
    times = []
    for _ in range(50):
        entered = time.perf_counter()
        for _ in range(10):
            torch.sigmoid(torch.bmm(x, weight))
        times.append((time.perf_counter() - entered) / 10)
    return float(np.median(times))


def main() -> None:
    """Prints a line a layout and the figures in the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 if a goal is missed")
    parser.add_argument("--quick", action="store_true", help="one cycle: to try it out")
    arguments = parser.parse_args()
    reached: dict[str, float] = {}
    missed = False
    for (ranks, workers), goal in LAYOUTS.items():
        before = kernel_seconds()
        cycles, shares = measure(ranks, workers, cycles=1 if arguments.quick else 4)
        kernel = (before + kernel_seconds()) / 2
        speed = float(np.median(cycles))
        print(
            f"{ranks} ranks x {workers} workers: {speed:,.0f} steps/CPU-s (cycles {min(cycles):,.0f} to {max(cycles):,.0f}), "
            f"goal {goal:,}; {', '.join(f'{name[5:]} {share:.0%}' for name, share in shares.items())}; "
            f"reference kernel {kernel * 1e6:.0f} us",
            flush=True,
        )
        reached[f"{ranks}x{workers}"] = round(speed)
        missed |= speed < goal
    print(json.dumps(reached))
    sys.exit(1 if arguments.check and missed else 0)


if __name__ == "__main__":
    main()
