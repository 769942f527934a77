"""Episodes before and after learning a task, as a film.

python -m mlsh_mpi.replay RUN_OR_PHI [--task ...] [--video out.mp4] [--force-primitive K] [--options of mlsh_mpi.adapt]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mlsh_mpi import baselines, seeding
from mlsh_mpi.adapt import ready_to_learn
from mlsh_mpi.adaptation import Learners, Trial
from mlsh_mpi.comm import Job, job
from mlsh_mpi.config import AdaptConfig
from mlsh_mpi.errors import UserError
from mlsh_mpi.lanes import Spec
from mlsh_mpi.metrics import shown
from mlsh_mpi.policies import Array
from mlsh_mpi.rollout import Rollout, always
from mlsh_mpi.tasks import chosen_tasks, different_tasks

FEW = 4
"""Tasks that are shown where none are named."""


@dataclass(frozen=True)
class Film:
    """What is to be seen."""

    video: Path = Path("replay.mp4")
    """Where to: .mp4 or .gif, or .png for a strip of stills."""
    force_primitive: int | None = None
    """Show this primitive alone instead of what masters make of them."""
    fps: int | None = None
    """Pictures a second; by default what the environment says."""


def main() -> None:
    """``python -m mlsh_mpi.replay``: see there."""
    from mlsh_mpi.cli import asked_to_replay

    with job() as current:
        if current.world.size > 1:
            raise current.world.agreed(_refuse_ranks)
        config, film = asked_to_replay(sys.argv[1:])
        replay(current, config, film)


def _refuse_ranks() -> UserError:
    raise UserError("a film is made by one process: start it without mpirun, or with mpirun -np 1")


def replay(current: Job, config: AdaptConfig, film: Film) -> None:
    """Learns the tasks, and films one episode of each before and after, the same one as far as chance goes.

    Args:
        current: a job of one rank.
        config: of the test.
        film: what to show, and where to put it.

    Raises:
        UserError: something does not fit, or cannot be drawn.
    """
    from mlsh_mpi.figures import film as films
    from mlsh_mpi.logs import Bar

    torch.set_num_threads(1)
    current.be_patient(config.run.patience)

    def few(spec: Spec) -> tuple[Any, ...]:
        different = different_tasks(chosen_tasks(config, spec, 1), spec)
        return different if config.test.task else different[:FEW]

    trial, skills, learners = ready_to_learn(config, current, few)
    if film.video.suffix not in films.FORMATS:
        raise UserError(f"--video {film.video} must end in {', '.join(films.FORMATS)}")
    env, updates = trial.maker.single(render=True), config.run.iterations - 1
    if film.force_primitive is not None:
        if skills is None or not 0 <= film.force_primitive < skills.primitives.n or not baselines.can_be_forced(config):
            there = f"0 to {skills.primitives.n - 1}" if skills is not None and baselines.can_be_forced(config) else "none"
            raise UserError(f"--force-primitive {film.force_primitive} is not one of the primitives of this run ({there})")
        takes = [("alone", learners.rollout(always(film.force_primitive), skills, 0, trial.spec.episode_length), 0)]
    else:
        takes = _before_and_after(current, learners, updates)

    episodes = [[_episode(trial, learners, *take, row) for take in takes] for row in range(len(trial.tasks))]
    lengths = [max(len(films.shown_steps(len(e.reward))) for e in row) for row in episodes]
    bar = Bar("filming", sum(lengths))

    def frames() -> Iterator[Array]:
        for row in episodes:
            # a simulation is filmed to its end before the next begins, for they may share a renderer
            yield from films.side_by_side([iter(list(films.pictures(env, episode))) for episode in row])

    def drawn() -> None:
        _leave_if_asked(current)
        bar.advance("")

    films.write(film.video, frames(), lengths, film.fps or int(env.metadata.get("render_fps") or 20), drawn)
    bar.close()
    env.close()
    for row in episodes:
        print(", ".join(f"{episode.title}: return {shown(float(episode.reward.sum()))}" for episode in row))
    print(f"the film is {film.video}", flush=True)


def _before_and_after(current: Job, learners: Learners, updates: int) -> list[tuple[str, Rollout, int]]:
    """What is to be seen: its name, what was collected, and the update that names its random streams.

    Both are of the same streams, but for learners that remember, whose first and last episode are shown.
    """
    from mlsh_mpi.logs import Bar

    before, bar = learners.collect(0, explore=False), Bar("learning", updates)
    for update in range(updates):
        rollout = before if learners.remembers and update == 0 else learners.collect(update, explore=True)
        learners.learn(rollout, update)
        _leave_if_asked(current)
        bar.advance(f"return {shown(float(rollout.steps.reward.sum() / max(1, rollout.steps.end.sum())))}")
    bar.close()
    last = updates if learners.remembers else 0
    after = learners.collect(last, explore=False)
    return [("before", before, 0), (f"after {updates} update{'s' * (updates != 1)}", after, last)]


def _leave_if_asked(current: Job) -> None:
    if current.asked_to_leave:
        raise UserError(f"ended by {current.asked_to_leave}; no film was finished")


def _episode(trial: Trial, learners: Learners, name: str, rollout: Rollout, update: int, row: int) -> Any:
    """The first episode of a learner."""
    from mlsh_mpi.figures.film import Episode

    steps, lanes = rollout.steps, rollout.steps.reward.shape[1] // len(trial.tasks)
    lane = row * lanes
    length = int(steps.end[:, lane].argmax()) + 1 if steps.end[:, lane].any() else len(steps.end)
    action = trial.maker.bounded(steps.action[:length, lane], trial.spec)
    primitive = steps.primitive[:length, lane] if learners.behaviours > 1 else None
    seed = int(seeding.episode_seeds(trial.seed, update, row, lanes)[0])
    title = f"{trial.spec.label(trial.tasks[row])}, {name}"
    return Episode(title, trial.tasks[row], seed, action, np.asarray(steps.reward[:length, lane]), primitive)


if __name__ == "__main__":
    from mlsh_mpi.replay import main as started

    started()
