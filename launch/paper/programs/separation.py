"""Do the primitives come apart with every seed, and do fresh masters put them to use? On 2D Moving Bandits.

    python launch/paper/programs/separation.py [--check] [--quick] [--preset moving-bandits] [--seeds 10] [--iterations 100 250]

Runs the shipped trainer with each seed, to 6 and to 15 million environment steps by default, and reads what its final test found:
the return of each primitive alone on each task, and of 20 fresh masters at N = 10 after 9 updates. Finished runs in --folder are
not run again. One rank a run and as many runs at a time as there are cores: the result does not depend on the number of ranks.

A seed is separated if each task has a primitive of its own that returns at least 38 there and at most 6 on the other task. Goals:
every seed separated; fresh masters on average at least 37 with exploration and 40 without after 6 million steps, and 39.5 with
exploration after 15 million. Best possible is 43.8, with exploration 40.9; a collapsed hierarchy gets 23.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from mlsh_mpi.figures.final_tests import has_separated

OWN, OTHER = 38.0, 6.0
GOALS = {100: (37.0, 40.0), 250: (39.5, 40.0)}
"""Iterations of the default preset: least mean return of fresh masters with and without exploration."""


def run(preset: str, seed: int, iterations: int, folder: Path) -> dict[str, Any]:
    """The summary of one run of the shipped trainer."""
    run_folder = folder / f"{preset}-{iterations}-seed{seed}"
    if not (run_folder / "summary.json").exists():
        options = ["--seed", str(seed), "--iterations", str(iterations), "--folder", str(run_folder), "--fresh"]
        command = ["mpirun", "-np", "1", sys.executable, "-m", "mlsh_mpi.train", preset, *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    summary: dict[str, Any] = json.loads((run_folder / "summary.json").read_text())
    return summary


def main() -> None:
    """Prints a line a seed and the figures in the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 if a goal is missed")
    parser.add_argument("--quick", action="store_true", help="one seed, the shorter run: to try it out")
    parser.add_argument("--preset", default="moving-bandits")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--iterations", type=int, nargs="+", default=[100, 250])
    parser.add_argument("--folder", type=Path, default=Path("runs/separation"))
    arguments = parser.parse_args()
    seeds, lengths = (1, arguments.iterations[:1]) if arguments.quick else (arguments.seeds, arguments.iterations)
    figures: dict[str, Any] = {}
    missed = False
    for iterations in lengths:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            summaries = list(
                pool.map(lambda seed: run(arguments.preset, seed, iterations, arguments.folder), range(seeds))  # noqa: B023
            )
        forced = [np.array([task["forced"] for task in summary["tasks"].values()]).T for summary in summaries]
        separated = [has_separated(matrix.T, OWN, OTHER) for matrix in forced]
        for seed, (summary, matrix, apart) in enumerate(zip(summaries, forced, separated, strict=True)):
            print(
                f"seed {seed}, {summary['environment_steps']:,} steps: {'separated' if apart else 'NOT separated'}, "
                f"primitives {matrix.round(1).tolist()}, fresh masters {summary['curve'][0]:.1f} -> {summary['adapted']:.2f}, "
                f"without exploration {summary['without_exploration']:.2f}, worst master "
                f"{min(task['adapted_worst'] for task in summary['tasks'].values()):.1f}",
                flush=True,
            )
        adapted, unexplored = ([s[name] for s in summaries] for name in ("adapted", "without_exploration"))
        figures[f"{summaries[0]['environment_steps']:,} steps"] = {
            "separated": f"{sum(separated)} of {seeds}",
            "exploration on": f"mean {np.mean(adapted):.2f}, worst seed {min(adapted):.2f}",
            "without exploration": f"mean {np.mean(unexplored):.2f}, worst seed {min(unexplored):.2f}",
        }
        explored_goal, evaluated_goal = GOALS.get(iterations, (-np.inf, -np.inf))
        missed |= not all(separated) or np.mean(adapted) < explored_goal or np.mean(unexplored) < evaluated_goal
    print(json.dumps(figures))
    sys.exit(1 if arguments.check and missed else 0)


if __name__ == "__main__":
    main()
