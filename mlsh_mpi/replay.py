"""Episodes before and after learning a task, as a film.

python -m mlsh_mpi.replay RUN_OR_PHI [--task ...] [--video out.mp4] [--force-primitive K] [--options of mlsh_mpi.adapt]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from mlsh_mpi.frame import first_rank_asks
from mlsh_mpi.metrics import shown
from mlsh_mpi.output import say
from mlsh_mpi.policies import Array
from mlsh_mpi.rollout import Rollout, always
from mlsh_mpi.skills import Skills
from mlsh_mpi.task_family import Spec
from mlsh_mpi.tasks import chosen_tasks, different_tasks

FEW = 4
"""Tasks that are filmed where none are named."""
MANY = 12
"""Tasks whose paths are drawn where none are named."""


@dataclass(frozen=True)
class Film:
    """What is to be seen."""

    video: Path = Path("replay.mp4")
    """Where to: .mp4 or .gif, or .png for a strip of stills."""
    force_primitive: int | None = None
    """Show this primitive alone instead of what masters make of them."""
    fps: int | None = None
    """Pictures a second; by default what the environment says."""
    paths: Path | None = None
    """Instead of a film, draw here where ants go, seen from above: each primitive alone, and each task when it is learned."""


def main() -> None:
    """``python -m mlsh_mpi.replay``: see there."""
    from mlsh_mpi.cli import asked_to_replay

    with job() as current:
        if current.world.size > 1:
            raise UserError.of_all("a film is made by one process: start it without mpirun, or with mpirun -np 1")
        wanted = first_rank_asks(current, asked_to_replay)
        if wanted is not None:
            replay(current, *wanted)


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
        return different if config.test.task else different[: MANY if film.paths else FEW]

    trial, skills, learners = ready_to_learn(config, current, few)
    if film.video.suffix not in films.FORMATS:
        raise UserError(f"--video {film.video} must end in {', '.join(films.FORMATS)}")
    if film.paths is not None and trial.spec.attribute("ground") is None:
        raise UserError(f"--paths draws where ants walk, and {trial.spec.name} has no ground to be seen from above")
    forced = _forced(config, trial, learners, skills)
    if film.force_primitive is None:
        takes = _before_and_after(current, learners, config.run.iterations - 1)
    elif film.force_primitive in forced:
        takes = [("alone", forced[film.force_primitive](), 0)]
    else:
        there = f"0 to {len(forced) - 1}" if forced else "none"
        raise UserError(f"--force-primitive {film.force_primitive} is not one of the primitives of this run ({there})")
    if film.paths is not None:
        everywhere = [(f"primitive {k} alone", forced[k](), None) for k in forced if film.force_primitive is None]
        name, rollout, _ = takes[-1]
        tasks = [(f"{trial.spec.label(task)}, {name}", rollout, row) for row, task in enumerate(trial.tasks)]
        _draw_paths(film.paths, trial, [*everywhere, *tasks], f"{config.preset}: {trial.spec.name}")
        return

    episodes = [[_episode(trial, learners, *take, row) for take in takes] for row in range(len(trial.tasks))]
    lengths = [max(len(films.shown_steps(len(e.reward))) for e in row) for row in episodes]
    bar, env = Bar("filming", sum(lengths)), trial.maker.single(render=True)

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
        say(", ".join(f"{episode.title}: return {shown(float(episode.reward.sum()))}" for episode in row))
    say(f"the film is {film.video}")


def _forced(config: AdaptConfig, trial: Trial, learners: Learners, skills: Skills | None) -> dict[int, Callable[[], Rollout]]:
    """For each primitive that can act alone: an episode of it in every lane."""
    if skills is None or not baselines.can_be_forced(config):
        return {}
    return {
        k: lambda k=k: learners.rollout(always(k), skills, 0, trial.spec.episode_length)  # type: ignore[misc]
        for k in range(skills.primitives.n)
    }


def _draw_paths(path: Path, trial: Trial, walks: Sequence[tuple[str, Rollout, int | None]], title: str) -> None:
    """Panels by name: what was collected, of one task's lanes or of all."""
    from mlsh_mpi.figures.paths import Walks, draw_paths

    panels = []
    for name, rollout, row in walks:
        steps, each = rollout.steps, rollout.steps.reward.shape[1] // len(trial.tasks)
        lanes = range(steps.reward.shape[1]) if row is None else range(row * each, (row + 1) * each)
        places = [steps.raw_observation[: _length(rollout, lane), lane, :2] for lane in lanes]
        primitives = [steps.primitive[: _length(rollout, lane), lane] for lane in lanes]
        ground = (np.zeros((0, 4)), np.zeros((0, 2))) if row is None else trial.spec.attribute("ground")(trial.tasks[row])
        panels.append(Walks(name, places, primitives, *ground))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_paths(path, panels, title)
    except (OSError, ValueError) as error:
        raise UserError(f"--paths {path} cannot be written ({error})") from None
    say(f"the paths are in {path}")


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


def _length(rollout: Rollout, lane: int) -> int:
    """Of a lane's first episode."""
    end = rollout.steps.end[:, lane]
    return int(end.argmax()) + 1 if end.any() else len(end)


def _episode(trial: Trial, learners: Learners, name: str, rollout: Rollout, update: int, row: int) -> Any:
    """The first episode of a learner."""
    from mlsh_mpi.figures.film import Episode

    steps, lanes = rollout.steps, rollout.steps.reward.shape[1] // len(trial.tasks)
    lane = row * lanes
    length = _length(rollout, lane)
    action = trial.spec.actions(steps.action[:length, lane])
    primitive = steps.primitive[:length, lane] if learners.behaviours > 1 else None
    seed = int(seeding.episode_seeds(trial.seed, update, row, lanes)[0])
    title = f"{trial.spec.label(trial.tasks[row])}, {name}"
    return Episode(title, trial.tasks[row], seed, action, np.asarray(steps.reward[:length, lane]), primitive)


if __name__ == "__main__":
    from mlsh_mpi.replay import main as started

    started()
