"""What grows in a long run: memory, the log, the time of an iteration; and how large a checkpoint of many groups is.

    python tests/bench/long_run.py [--iterations 10000] [--groups 1000]

The run is one of `moving-bandits` with one group and short collections, on one rank; what it logs does not depend on either.
Memory is what Linux counts as resident.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import mlsh_mpi

MEGABYTE = 1e6
SMALL: dict[str, Any] = {"steps": 50, "test_masters": 1, "test_episodes": 1, "primitive_epochs": 1, "master_epochs": 1}


def resident() -> float:
    """Memory of this process, in megabytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


def megabytes(folder: Path, pattern: str) -> float:
    """Size of the newest file of this name, in megabytes."""
    return max(folder.glob(pattern), key=lambda path: path.stat().st_mtime).stat().st_size / MEGABYTE


def looks(iterations: int) -> Iterator[int]:
    """100, 1,000 and so on, and the last iteration."""
    look = 100
    while look < iterations:
        yield look
        look *= 10
    yield iterations


def long(iterations: int, folder: Path, table: Table) -> None:
    """Trains, and adds a row to the table now and then."""
    shown, ended = set(looks(iterations)), [time.perf_counter()]

    def on_iteration(metrics: dict[str, float], _: Any) -> bool:
        done = int(metrics["iteration"])
        ended.append(time.perf_counter())
        if done in shown:
            each = 1000 * (ended[-1] - ended[-101]) / 100
            sizes = (megabytes(folder, "metrics.jsonl"), megabytes(folder, "events.*"))
            table.add_row(f"{done:,}", f"{resident():.0f}", *(f"{size:.1f}" for size in sizes), f"{each:.1f}")
        return False

    mlsh_mpi.run("moving-bandits", iterations=iterations, groups=1, folder=str(folder), on_iteration=on_iteration, **SMALL)


def checkpoint_of(groups: int, folder: Path) -> float:
    """Size of a checkpoint of so many groups, in megabytes."""
    mlsh_mpi.run("moving-bandits", iterations=2, groups=groups, checkpoint_interval=1, folder=str(folder), **SMALL)
    return megabytes(folder, "checkpoints/*.pt")


def main() -> None:
    """Prints a table and a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=10_000)
    parser.add_argument("--groups", type=int, default=1000)
    arguments = parser.parse_args()
    table = Table("after iteration", "memory, MB", "metrics.jsonl, MB", "TensorBoard, MB", "last 100, ms each")
    with tempfile.TemporaryDirectory() as folder:
        long(arguments.iterations, Path(folder) / "long", table)
        size = checkpoint_of(arguments.groups, Path(folder) / "groups")
    Console().print(table)
    print(f"a checkpoint of {arguments.groups:,} groups: {size:.1f} MB")


if __name__ == "__main__":
    main()
