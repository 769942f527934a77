"""What is counted in an iteration, and what the final tables say of it."""

from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import gymnasium as gym
import numpy as np
import pytest
from matplotlib.text import Text

from metrics_page import matches, rows, unexplained
from mlsh_mpi.adaptation.diagnostics import ForcedReturns
from mlsh_mpi.adaptation.loop import Adaptation
from mlsh_mpi.adaptation.update_metrics import update_metrics
from mlsh_mpi.algorithm.metrics import Tally, finished, iteration_metrics
from mlsh_mpi.algorithm.ppo import DIAGNOSTICS
from mlsh_mpi.algorithm.schedule import Phase
from mlsh_mpi.config.presets import PRESETS
from mlsh_mpi.errors import UserError
from mlsh_mpi.mpi.placement import place
from mlsh_mpi.output import format_value
from mlsh_mpi.reporting.adaptation_plot import draw_adaptation
from mlsh_mpi.reporting.drawing import figure_in
from mlsh_mpi.reporting.headers import steps_per_iteration
from mlsh_mpi.reporting.run_plot import draw
from mlsh_mpi.reporting.statistics import band
from mlsh_mpi.reporting.tables import curve_table, separation, summarise, tables
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.episodes import Step, Streams
from mlsh_mpi.sampling.rollout import Rollout
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.tracking.session import Target


def rollout(reward, end, primitive):
    """A rollout of which only what is counted is filled in."""
    nothing = np.zeros(reward.shape, np.bool_)
    steps = Step(nothing, nothing, nothing, reward, end, primitive, nothing, nothing)
    none = np.zeros(reward.shape[1])
    return Rollout(
        steps, nothing[0], Streams(0, 0, range(len(none))), None, 1, (), (none, none), environment_seconds=0, policy_seconds=0
    )


@pytest.mark.parametrize("seed", range(5))
def test_only_whole_episodes_are_counted(seed):
    rng = np.random.default_rng(seed)
    reward, end = rng.integers(0, 9, (12, 5)).astype(float), rng.random((12, 5)) < 0.2
    episodes, total, steps = 0, 0.0, 0
    for lane in range(5):
        current, length = 0.0, 0
        for t in range(12):
            current, length = current + reward[t, lane], length + 1
            if end[t, lane]:
                episodes, total, steps = episodes + 1, total + current, steps + length
                current, length = 0.0, 0
    assert finished(reward, end) == (episodes, pytest.approx(total), steps)


def test_the_tally_of_ranks_adds_up_to_that_of_one_rank():
    rng = np.random.default_rng(0)
    shape = (6, 8)
    reward, end, primitive = rng.random(shape), rng.random(shape) < 0.4, rng.integers(0, 3, shape)
    one = Tally.empty(groups=4, primitives=3, ranks=1, names=[])
    one.add_rollout(rollout(reward, end, primitive), place(4, 1, 1, 0))
    two = Tally.empty(groups=4, primitives=3, ranks=2, names=[])
    for rank in range(2):
        half = slice(4 * rank, 4 * rank + 4)
        two.add_rollout(rollout(reward[:, half], end[:, half], primitive[:, half]), place(4, 1, 2, rank))
    np.testing.assert_allclose(two.groups, one.groups)
    assert one.groups[:, 4:].sum() == reward.size


def test_the_entropy_of_a_shared_group_is_the_mean_over_its_workers():
    tally = Tally.empty(groups=1, primitives=2, ranks=2, names=[])
    tally.add_entropy(np.array([0.3]), place(1, 3, 2, 0), workers=3)
    tally.add_entropy(np.array([0.6]), place(1, 3, 2, 1), workers=3)
    assert tally.groups[0, 3] == pytest.approx((2 * 0.3 + 0.6) / 3)


def test_returns_are_told_apart_by_phase_and_task_and_left_out_where_there_are_none():
    tally = Tally.empty(groups=3, primitives=2, ranks=1, names=[])
    tally.groups[:] = [[2, 20, 100, 0.1, 30, 70], [1, 7, 50, 0.2, 50, 0], [0, 0, 0, 0.3, 0, 50]]
    tally.costs[:] = 1.0
    phases = [Phase(0, False, True, 9), Phase(1, True, False, 0), Phase(0, False, False, 3)]
    metrics = iteration_metrics(tally, phases, ["goal=0", "goal=1", "goal=1"], min_samples=64)
    assert metrics["return/mean"] == pytest.approx(8.5)
    assert metrics["return/adapted"] == metrics["return/adapted/goal=0"] == pytest.approx(10)
    assert metrics["return/fresh_master"] == pytest.approx(7)
    assert "return/adapted/goal=1" not in metrics
    assert metrics["schedule/groups_without_an_end"] == 1
    assert metrics["primitive/usage_0"] == pytest.approx(80 / 200)
    assert metrics["speed/steps_per_cpu_second"] == pytest.approx(200)
    assert metrics["speed/steps_per_second"] == pytest.approx(200 / 4)  # four parts of wall time, a second each
    assert sum(metrics[f"time/{name}"] for name in ("environment", "policy", "learning", "communication")) == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "value", "reached"),
    [("return/mean>5", 5.0, True), ("return/mean >= 5", 4.9, False), ("return/mean<1e-1", 0.05, True), ("other>0", 9.0, False)],
)
def test_a_target_is_reached_by_its_metric(text, value, reached):
    assert Target.parse(text).reached({"return/mean": value}) == reached


@pytest.mark.parametrize("text", ["", "return/mean", ">5", "return/mean>", "return/mean=5", "return/mean>five"])
def test_a_target_of_another_form_is_refused(text):
    with pytest.raises(UserError, match="METRIC>VALUE"):
        Target.parse(text)


def test_a_primitive_that_sits_an_update_out_is_counted():
    """Two ranks learned from 30 and 200 samples together; the third had none."""
    tally = Tally.empty(groups=3, primitives=2, ranks=3, names=[])
    tally.groups[:], tally.costs[:] = 1.0, 1.0
    told = np.array([[np.nan] * len(DIAGNOSTICS), range(len(DIAGNOSTICS))])
    for _ in range(2):
        tally.add_primitives(np.array([30, 200]), told, ranks=2)
    joint, warm = Phase(0, False, True, 9), Phase(0, False, False, 3)
    metrics = iteration_metrics(tally, [joint, warm, warm], [], min_samples=64)
    assert [metrics[f"primitive/{name}"] for name in ("samples_0", "samples_1", "sat_out")] == [30, 200, 1]
    assert [metrics[f"primitive/{name}_1"] for name in DIAGNOSTICS] == list(range(len(DIAGNOSTICS)))
    assert not [name for name in metrics if name.startswith("primitive/") and name.endswith("loss_0")]
    assert iteration_metrics(tally, [warm] * 3, [], min_samples=64)["primitive/samples_1"] == 200  # of early iterations
    tally.samples[:] = 0
    assert "primitive/sat_out" not in iteration_metrics(tally, [warm] * 3, [], min_samples=64)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([[42, 2], [4, 40]], 41 - 3),
        ([[2, 42], [40, 4]], 41 - 3),
        ([[1, 1], [42, 2], [3, 40]], 41 - 2.5),
        ([[23, 22]], None),
        (np.empty((2, 0)), None),
    ],
)
def test_separation_takes_the_best_way_to_give_each_task_a_primitive_of_its_own(matrix, expected):
    assert separation(np.asarray(matrix, float)) == (None if expected is None else pytest.approx(expected))


NAMES = ("[left]", "maze[/a]", ":star:", "$x^$", "_x", "%s {x}", "<b>")
"""What others would read as markup."""
TOTALS = {"iterations": 5, "environment_steps": 1000, "seconds": None}


def adapted(tasks):
    """Two learners of each task before and after one update."""
    count = 2 * len(tasks)
    returns, usage = np.arange(2.0 * count).reshape(2, count), np.full((2, count, 2), 0.5)
    return Adaptation(tuple(tasks) * 2, 2000, returns, returns + 1, 0 * returns, usage, np.zeros((2, 2, 2)))


def named_summary(names=NAMES):
    """The summary of a test of tasks with these names, whose log is lost."""
    family = TaskFamily.from_maker(EnvironmentMaker("mlsh/MovingBandits-v0", None))
    return summarise([], TOTALS, adapted(names), None, replace(family, env=Labels(family.env)), PRESETS["moving-bandits"].config)


class Labels(gym.Wrapper):
    """Names tasks as they are."""

    def task_to_json(self, task):
        return task


def test_tables_show_text_of_users_as_it_is_and_need_no_log():
    summary = named_summary()
    for text in (tables(summary), curve_table(summary)):
        assert "0.5" in text
    for name in NAMES:
        assert f"│ {name} " in tables(summary)
    assert tables(summary).endswith("\n1,000 environment steps\n")


def test_plots_show_text_of_users_as_it_is(tmp_path):
    summary, drawn = named_summary(NAMES[:5]), []

    @contextmanager
    def seen(path, **size):
        with figure_in(path, **size) as figure:
            yield figure
            drawn.append(figure)

    with patch("mlsh_mpi.reporting.adaptation_plot.figure_in", seen):
        draw_adaptation(tmp_path / "plot.png", summary, "$title^$")
    texts = [text for text in drawn[0].findobj(Text) if text.get_text()]
    assert not any(text.get_parse_math() for text in texts)
    assert {"$title^$", *NAMES[:4], " _x"} <= {text.get_text() for text in texts}
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]


def test_a_plot_of_a_run_needs_no_log(tmp_path):
    family = TaskFamily.from_maker(EnvironmentMaker("mlsh/MovingBandits-v0", None))
    forced = ForcedReturns(NAMES[:2], np.eye(2))
    draw(tmp_path / "plot.png", [], forced, family, None, "title")
    assert (tmp_path / "plot.png").exists()


def test_a_target_may_be_the_return_on_a_task_of_any_name():
    for name in NAMES:
        target = Target.parse(f"return/adapted/{name}>5.5")
        assert (target.metric, target.above, target.value) == (f"return/adapted/{name}", True, 5.5)


@pytest.mark.parametrize("notebook", [False, True])
def test_the_tables_hold_every_task_and_primitive(monkeypatch, notebook):
    """In a notebook rich would show them by itself, in place of writing where it is told to."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: notebook)
    maker = EnvironmentMaker("mlsh/MovingBandits-v0", None)
    family, config = TaskFamily.from_maker(maker), PRESETS["moving-bandits"].config
    returns = np.array([[10.0, 12.0, 30.0], [40.0, 38.0, 31.0]])
    adaptation = Adaptation(
        tasks=(family.tasks[0], family.tasks[1], family.tasks[1]),
        steps=2000,
        returns=returns,
        returns_without_exploration=np.array([[np.nan, np.nan, np.nan], [41.0, 42.0, 43.0]]),
        entropy=np.zeros((2, 3)),
        usage=np.array([[[np.nan, np.nan]] * 3, [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]]),
        divergence=np.array([[[0.0, np.nan], [np.nan, 0.0]], [[0.0, 3.0], [3.0, 0.0]]]),
    )
    row = {"iteration": 5, "environment_steps": 1000, "seconds": 2.0}
    row |= {"speed/steps_per_cpu_second": 500.0, "speed/steps_per_second": 1800.0}
    row |= {f"time/{name}": 0.25 for name in ("environment", "policy", "learning", "communication")}
    row |= {"communication/milliseconds": 3.2, "communication/calls": 151, "communication/bytes": 2.5e6}
    forced = ForcedReturns(("goal=0", "goal=1"), np.array([[42.0, 2.0], [4.0, 40.0]]))
    totals = {"iterations": 5, "environment_steps": 1000, "seconds": 2.0}
    summary = summarise([row] * 5, totals, adaptation, forced, family, config)
    assert summary["tasks"]["goal=1"]["adapted"] == pytest.approx(34.5)
    assert summary["tasks"]["goal=1"]["adapted_worst"] == pytest.approx(31)
    assert summary["tasks"]["goal=1"]["forced"] == [2.0, 40.0]
    assert summary["curve"] == [pytest.approx(52 / 3, abs=1e-4), pytest.approx(109 / 3, abs=1e-4)]
    text = tables(summary)
    for part in (
        "goal=0",
        "goal=1",
        "34.50",
        "primitive 1",
        "40.00",
        "25%",
        "1,000 environment steps in 2 s, 1,800 steps a second of an iteration, 500 steps a CPU-second",
        "151 sums and broadcasts of 2.50 MB",
    ):
        assert part in text
    summary = summarise(
        [{k: v for k, v in row.items() if k != "speed/steps_per_second"}], totals, adaptation, forced, family, config
    )
    assert "1,000 environment steps in 2 s, 500 steps a CPU-second" in tables(summary)  # after a log of an earlier version
    some = ForcedReturns(("goal=1",), np.array([[2.0], [40.0]]))  # as where tasks are drawn, and a few of them are tried
    summary = summarise([row] * 5, totals, adaptation, some, family, config)
    assert [task.get("forced") for task in summary["tasks"].values()] == [None, [2.0, 40.0]]
    assert summary["separated"] is None
    assert "goal=0" not in tables(summary).partition("primitive 1")[2]


def test_steps_of_an_iteration_count_whole_episodes_of_every_worker():
    config = PRESETS["moving-bandits-paper"].config
    family = TaskFamily.from_maker(EnvironmentMaker("mlsh/MovingBandits-v0", None))
    assert steps_per_iteration(config, family, groups=10) == 10 * 12 * 2000


@pytest.mark.parametrize(
    ("value", "text"), [(-0.38634, "-0.3863"), (0, "0.0000"), (39.717, "39.72"), (-999.9, "-999.90"), (14333.4, "14333")]
)
def test_returns_are_shown_with_the_digits_that_tell(value, text):
    assert format_value(value) == text


def test_the_band_of_equal_values_is_their_value_and_of_others_between_them():
    assert band(np.full(7, 3.0)) == (3.0, 3.0)
    values = np.random.default_rng(0).normal(10, 2, 400)
    low, high = band(values)
    half = 1.96 * values.std() / 20  # normal theory
    assert low == pytest.approx(values.mean() - half, abs=0.05)
    assert high == pytest.approx(values.mean() + half, abs=0.05)


def all_metrics():
    """The metrics of an iteration and of an update in which everything happened that is ever logged."""
    tally = Tally.empty(groups=4, primitives=2, ranks=1, names=["is_success"])
    tally.groups[:] = tally.costs[:] = tally.learning[:] = 1.0
    tally.learning[-1, -1] = 0.0  # masters choose, so they have no standard deviation
    for group in range(4):
        tally.info.add(group, {"is_success": 1.0})
    phases = [Phase(0, False, True, 9), Phase(1, True, False, 0)] * 2
    labels = ["goal=0", "goal=1", "goal=0", "goal=1"]
    curves = {name: np.ones((1, 4)) for name in ("returns", "returns_without_exploration", "entropy")} | {
        "usage": np.ones((1, 4, 2))
    }
    names = iteration_metrics(tally, phases, labels, min_samples=64) | update_metrics(1, labels, curves, tally, tally)
    of_others = ("environment_steps", "seconds", "schedule/macro_length", "return/before")  # log, mlsh.py, training_loop.py
    return sorted({*names, *of_others})


def test_every_metric_has_a_row_on_the_page_and_every_row_a_metric():
    names = all_metrics()
    assert unexplained(names) == []
    assert [row for row in rows() if not row.startswith("evaluation/") and not any(matches(row, name) for name in names)] == []
