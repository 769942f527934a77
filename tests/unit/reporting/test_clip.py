"""The film of primitives for TensorBoard: what it shows, where it is written, and that it comes seldom."""

import io
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mlsh_mpi.commands.training_reporter import TrainingReporter
from mlsh_mpi.policies.primitives import load
from mlsh_mpi.reporting.clip import FRAMES, clip
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.tracking.logs import show_film_in_tensorboard


@pytest.fixture(scope="module")
def film():
    family = TaskFamily.from_maker(EnvironmentMaker("mlsh/MovingBandits-v0", None))
    return clip(family, load("moving-bandits").policies)


def test_primitives_move_side_by_side(film):
    gif, height, width = film
    with PIL.Image.open(io.BytesIO(gif)) as picture:
        assert picture.size == (width, height)
        assert width > 1.8 * height
        frames = []
        for number in range(picture.n_frames):
            picture.seek(number)
            frames.append(np.asarray(picture.convert("L"), int))
    assert 2 < len(frames) <= FRAMES  # those in which nothing moves are one
    changed = np.abs(frames[-1] - frames[0]) > 30
    assert changed[:, : width // 2].any()
    assert changed[:, width // 2 :].any()


def test_tensorboard_has_it_under_images(film, tmp_path):
    gif, height, width = film
    show_film_in_tensorboard(tmp_path, "primitives", gif, (height, width), 40_000)
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0})
    events.Reload()
    (shown,) = events.Images("primitives")
    assert (shown.step, shown.width, shown.height, shown.encoded_image_string) == (40_000, width, height, gif)


def test_films_are_made_only_if_asked_for_and_take_a_hundredth_of_the_time(monkeypatch, tmp_path):
    made, now = [], [1000.0]

    def slow(*_):
        now[0] += 2.0
        made.append(now[0])
        return b"", 1, 1

    monkeypatch.setattr("mlsh_mpi.reporting.clip.clip", slow)
    monkeypatch.setattr("mlsh_mpi.commands.training_reporter.time.monotonic", lambda: now[0])
    reporter = object.__new__(TrainingReporter)
    reporter.config = SimpleNamespace(run=SimpleNamespace(tensorboard_films=False))
    reporter.log, reporter.folder, reporter._family, reporter._next_film, reporter._kept = (
        SimpleNamespace(rows=[]),
        None,
        None,
        0.0,
        0,
    )
    reporter.folder = SimpleNamespace(path=tmp_path)
    reporter._logs = SimpleNamespace(show_film_in_tensorboard=lambda *_: None)
    state = SimpleNamespace(policies=object())

    reporter.show(state)
    assert not made
    reporter.config.run.tensorboard_films = True
    for _ in range(60):
        reporter.show(state)
        now[0] += 10.0
    assert len(made) == 3
    assert np.diff(made).min() >= 200
