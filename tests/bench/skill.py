"""How long is it from the command to a trained skill? Wall time and CPU time, on one rank and on two; and on many, foretold.

python tests/bench/skill.py [bandits twowalk mazes humanoid] [--seeds 3] [--first-seed 0] [--ranks 1 2] [--level RETURN]
    [--options JSON] [--data skill.json] [--paper] [--foretell] [--quick]

A skill is there when the return after the warm-up has come to its level, in the mean of all tasks, each in the mean of its last
five values: primitives have then formed, and masters use them. Seeds and numbers of ranks take turns. With --paper the same
level is waited for at the paper's settings, one worker a group, for at most three times as many steps as ours took at most.
With --options it tries other settings, such as '{"primitive_lam": 0.9, "iterations": 60}', and another --level. With --data each
run is added to a file as it ends, and runs that the file has are not made again; with --seeds 0 it only shows what the file has.

--foretell: what more ranks, a core each, would make of it. An iteration of a rank takes as long as its workers need for sampling
and learning (measured on one rank, with several numbers of workers; the part that does not grow with them is in every rank's
time), and the sums of an iteration cost what the model of communication.py says of a network. No more ranks than workers can
have work, so that beyond these only more workers help, whose effect on learning this does not know.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from communication import NETWORKS, sum_seconds
from rich.console import Console
from rich.progress import track
from rich.table import Table

from jobs import Figures, adapted, begun, figures, run_program, train_program

RANKS = (1, 2, 8, 64, 120, 1024)


@dataclass(frozen=True)
class Skill:
    """A preset and the return at which its skill is there."""

    preset: str
    level: float

    @property
    def size(self) -> dict[str, int]:
        """Groups and workers of the preset, which the jobs of these benchmarks would else set."""
        from mlsh_mpi.config.presets import PRESETS

        sampling = PRESETS[self.preset].config.sampling
        return {"groups": sampling.groups, "workers": sampling.workers}


SKILLS = {
    "bandits": Skill("moving-bandits", 37.0),
    "twowalk": Skill("ant-twowalk", -0.40),
    "mazes": Skill("ant-mazes", 300.0),  # masters in training end at 313 to 368; a shared policy at 146 to 164
    "humanoid": Skill("humanoid-walk-crawl", 2606.0),
}


@dataclass(frozen=True)
class Took:
    """What a run took until its skill was there, or until it ended without."""

    reached: bool
    wall: float
    """Seconds from the command to the end of the job."""
    cpu: float
    """Seconds of all ranks."""
    steps: int
    last: float
    """Return after the warm-up at the end."""


class Runs:
    """Runs of one skill, by their label and seed; in a file as well if one is given."""

    def __init__(self, skill: Skill, path: Path | None) -> None:
        self._skill, self._path = skill, path
        self.all: dict[str, dict[int, Took]] = {}

        for row in self._rows():
            if row["level"] == skill.level and row["label"].startswith(skill.preset):
                self.all.setdefault(row["label"], {})[row["seed"]] = Took(**row["took"])

    def made(self, label: str, seed: int, ranks: int, setting: dict[str, Any]) -> None:
        """Trains until the level is reached or to the end of the iterations, unless that run is known."""
        if seed in self.all.setdefault(label, {}):
            return

        began = time.perf_counter()
        found = figures(begun(__file__, "train", {"until": self._skill.level, "seed": seed, **setting}, "-np", str(ranks)))
        wall = time.perf_counter() - began
        last = adapted(found["rows"])
        took = Took(last >= self._skill.level, wall, found["cpu"], len(found["rows"]) * found["steps"], last)
        self.all[label][seed] = took

        if self._path:
            row = {"label": label, "level": self._skill.level, "seed": seed, "took": asdict(took)}
            self._path.write_text("[\n" + ",\n".join(json.dumps(each) for each in [*self._rows(), row]) + "\n]\n")

    def _rows(self) -> list[dict[str, Any]]:
        return json.loads(self._path.read_text()) if self._path and self._path.exists() else []


def measure(
    console: Console,
    name: str,
    level: float | None,
    seeds: range,
    ranks: list[int],
    more: dict[str, Any],
    data: Path | None,
    paper: bool,
) -> None:
    """Prints a row for every number of ranks, and one for the paper's settings."""
    skill = SKILLS[name] if level is None else Skill(SKILLS[name].preset, level)
    runs = Runs(skill, data)
    options = f" {json.dumps(more)}" if more else ""
    for seed in track(seeds, description=name):
        for count in ranks:
            runs.made(f"{skill.preset}{options}, {count} ranks", seed, count, {"preset": skill.preset, **skill.size, **more})

        if paper:
            longest = 3 * max(took.steps for seeds_of in runs.all.values() for took in seeds_of.values())
            setting = {"preset": f"{skill.preset}-paper", "groups": 10, "workers": 1, "iterations": longest // 20_000}
            runs.made(f"{skill.preset}-paper, {max(ranks)} ranks", seed, max(ranks), setting)

    table = Table(title=f"{name}: return {skill.level:g} after the warm-up, medians, and the steps of each seed")
    for heading in ("", "reached", "wall, s", "CPU, s", "million steps", "return", "each seed"):
        table.add_column(heading, justify="left" if not heading else "right")
    for label, by_seed in runs.all.items():
        all_took = list(by_seed.values())
        wall, cpu, steps, last = (
            statistics.median(getattr(took, name) for took in all_took) for name in ("wall", "cpu", "steps", "last")
        )
        numbers = (f"{wall:,.0f}", f"{cpu:,.0f}", f"{steps / 1e6:.2f}", f"{last:.4g}")
        reached = f"{sum(took.reached for took in all_took)} of {len(all_took)}"
        each = ", ".join(f"{took.steps / 1e6:.2f}{'' if took.reached else ' not'}" for _, took in sorted(by_seed.items()))
        table.add_row(label, reached, *numbers, each)
    console.print(table)


def foretell(console: Console, name: str, repeats: int) -> None:
    """Steps a second of jobs with a core for each rank: the preset's own workers spread over them, and one worker a rank."""
    skill = SKILLS[name]
    preset, total = skill.preset, skill.size["groups"] * skill.size["workers"]
    runs: dict[int, list[Figures]] = {}
    for repeat in track(range(repeats), description=name):
        for workers in (1, max(2, total // 4), total):
            runs.setdefault(workers, []).append(_joint(preset, 1, workers, repeat))
    each, alone = np.polyfit(list(runs), [statistics.median(map(_seconds, found)) for found in runs.values()], 1)
    two = _joint(preset, 2, total, 0)
    row, steps = two["rows"][-1], two["steps"] // total
    calls, size = row["communication/calls"], row["communication/bytes"] / row["communication/calls"]
    console.print(
        f"{name}: a joint iteration takes {1e3 * alone:.0f} ms and {1e3 * each:.1f} ms a worker. {total} workers on two ranks "
        f"took {_seconds(two):.3f} s; foretold without communication {alone + each * -(-total // 2):.3f} s",
        highlight=False,
    )
    table = Table(title=f"{preset}: foretold steps a second, a core for each rank")
    jobs = [f"{workers}, {network}" for workers in (f"{total} workers", "a worker a rank") for network in NETWORKS]
    for heading in ("ranks", *jobs):
        table.add_column(heading, justify="right")
    for ranks in RANKS:
        cells = []
        for workers in (total, ranks):
            for network in NETWORKS.values():
                busy = min(ranks, workers)
                sums = calls * sum_seconds(busy, size, *network) if busy > 1 else 0.0
                cells.append(f"{workers * steps / (alone + each * -(-workers // busy) + sums):,.0f}")
        table.add_row(f"{ranks:,}", *cells)
    console.print(table)


def _joint(preset: str, ranks: int, workers: int, seed: int) -> Figures:
    """A run whose groups, of one worker each, learn jointly at the same time in three iterations of four."""
    phases = {"in_step": True, "warmup": 1, "joint": 3, "iterations": 8, "whole_episode_iterations": 0}
    setting = {"preset": preset, "seed": seed, "groups": workers, "workers": 1, **phases}
    return figures(begun(__file__, "train", setting, "-np", str(ranks)))


def _seconds(run: Figures) -> float:
    """Median of the joint iterations of the second cycle."""
    return statistics.median(np.diff(run["seconds"])[4:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policies", nargs="*", default=[], help=f"of {', '.join(SKILLS)}; bandits by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--level", type=float, help="return to wait for; by default the skill's")
    parser.add_argument("--options", type=json.loads, default={}, help="of the trainer, as JSON")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--data", type=Path, help="file that keeps the runs")
    parser.add_argument("--paper", action="store_true", help="also the paper's settings")
    parser.add_argument("--foretell", action="store_true", help="many ranks by a model, in place of the measurement")
    parser.add_argument("--quick", action="store_true", help="few iterations: to try it out")
    given = parser.parse_args()
    if unknown := set(given.policies) - set(SKILLS):
        parser.error(f"there is no skill {', '.join(unknown)}: choose from {', '.join(SKILLS)}")
    console = Console(width=170)
    for name in given.policies or ["bandits"]:
        if given.foretell:
            foretell(console, name, 1 if given.quick else 3)
        else:
            few = {"iterations": 12, "whole_episode_iterations": 0, "random_master_iterations": 0} if given.quick else {}
            seeds = range(given.first_seed, given.first_seed + given.seeds)
            measure(console, name, given.level, seeds, given.ranks, few | given.options, given.data, given.paper)


if __name__ == "__main__":
    run_program({"train": train_program}, main)
