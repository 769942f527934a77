"""The paper's tables, from what the learners of tests have reached to bars beside the paper's numbers."""

import json

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from mlsh_mpi.errors import UserError
from mlsh_mpi.figures import style
from mlsh_mpi.figures.paper import FIGURES, PaperTable, Series
from mlsh_mpi.figures.table import draw_table
from mlsh_mpi.reporting.curves import Curve, read_last, read_points
from mlsh_mpi.reporting.statistics import band, nested_band
from unit.figures.drawing import drawn, home_of

TABLE = PaperTable(
    "Table 0",
    (
        Series("some/ours", "transfer", printed=14_333),
        Series("some/shared", "shared"),
        Series("some/scratch", "single", printed=-643),
    ),
    "Small.",
)


def adapted(folder, last, quiet=None, tasks=None, steps=3000):
    """A finished test of two updates whose learners have reached these returns, with exploration and without."""
    folder.mkdir(parents=True)
    returns = [[0.0] * len(last), [1.0] * len(last), list(last)]
    unexplored = [[None] * len(last), [2.0] * len(last), quiet or [None] * len(last)]
    found = {
        "tasks": tasks or ["there and back"] * len(last),
        "steps": steps,
        "returns": returns,
        "returns_without_exploration": unexplored,
    }
    (folder / "adaptation.json").write_text(json.dumps(found))
    (folder / "summary.json").write_text("{}")
    return folder


def reached(values):
    """Curves of learners: seeds of learners' returns by the name of their runs."""
    return [
        Curve(runs, seed, f"task, learner {learner}", np.array([[2, 6000, value]]))
        for runs, seeds in values.items()
        for seed, learners in enumerate(seeds)
        for learner, value in enumerate(learners)
    ]


def texts(figure):
    """What is written at bars and marks, from left to right."""
    return [text.get_text() for text in sorted(figure.axes[0].texts, key=lambda text: text.xy[0])]


def labels(figure):
    return [label.get_text().replace("\n", " ") for label in figure.axes[0].get_xticklabels()]


def test_a_learner_counts_with_its_last_return_without_exploration_where_that_is_known(tmp_path):
    curves = read_last(adapted(tmp_path / "some/ours-seed3", [1, 2, 3], [5.5, None, 7], ["a", "b", "a"]))
    assert [(curve.series, curve.seed, curve.task) for curve in curves] == [
        ("some/ours", 3, f"{task}, learner {learner}") for learner, task in enumerate("aba")
    ]
    assert [curve.points.tolist() for curve in curves] == [[[2, 6000, 5.5]], [[2, 6000, 2]], [[2, 6000, 7]]]


def test_only_finished_tests_count(tmp_path):
    folder = adapted(tmp_path / "some/ours-seed0", [1])
    (folder / "adaptation.json").unlink()
    assert read_last(folder) == []  # a training run
    (folder / "summary.json").unlink()
    with pytest.raises(UserError, match="no finished run"):
        read_last(folder)


def test_the_band_of_one_run_is_that_of_its_learners():
    values = np.random.default_rng(0).normal(size=20)
    assert nested_band([values]) == pytest.approx(band(values), abs=0.05)


def test_the_band_of_runs_whose_learners_agree_is_that_of_the_runs():
    runs = np.random.default_rng(1).normal(size=12)
    assert nested_band([np.full(7, run) for run in runs]) == pytest.approx(band(runs), abs=0.05)


def test_the_band_of_several_runs_with_many_learners_has_the_spread_of_both():
    rng = np.random.default_rng(2)
    runs = [rng.normal(rng.normal(0, 3), 1, size=n) for n in (30, 40, 50, 60, 30, 40, 50, 60)]
    low, high = nested_band(runs)
    means = np.array([values.mean() for values in runs])
    # The variance of a mean of 8 drawn runs: between the runs, and within each over its number of learners.
    spread = np.sqrt((means.var() + np.mean([values.var() / len(values) for values in runs])) / 8)
    assert [low, high] == pytest.approx([means.mean() - 1.96 * spread, means.mean() + 1.96 * spread], abs=0.25 * spread)
    pooled = band(np.concatenate(runs))
    assert high - low > 1.5 * (pooled[1] - pooled[0])  # learners over the same primitives are not independent


def test_bars_stand_beside_the_papers_numbers():
    figure = draw_table(TABLE, reached({"some/ours": [[4000, 4200], [4400, 5000]], "some/scratch": [[-400]]}))
    (axis,) = figure.axes
    bars = [drawing for drawing in axis.patches if isinstance(drawing, Rectangle)]
    assert [bar.get_height() for bar in bars] == [4400, -400]
    assert [to_hex(bar.get_facecolor()).upper() for bar in bars] == [style.COLOURS["ours"], style.COLOURS["scratch"]]
    assert texts(figure) == ["4,400", "14,333", "−400", "−643"]
    assert labels(figure) == ["transfer (n = 2 × 2 learners)", "shared (no runs yet)", "single (n = 1)"]
    marks = [line for line in axis.lines if line.get_color() == style.PAPER]
    assert [line.get_ydata()[0] for line in marks] == [14_333, -643]
    assert axis.get_ylabel() == "return of an episode"
    (dots,) = [line for line in axis.lines if line.get_marker() == "o" and len(line.get_ydata()) > 1]
    assert dots.get_ydata().tolist() == [4000, 4200, 4400, 5000]
    assert "band" not in figure.texts[1].get_text()


def test_three_seeds_have_a_band_and_fewer_are_dots():
    figure = draw_table(TABLE, reached({"some/ours": [[10, 12], [14, 16], [30, 40]], "some/scratch": [[0]]}))
    said = figure.texts[1].get_text().replace("\xa0", " ").replace("\n", " ")
    assert "95 % bands by a bootstrap over seeds and the learners of each, where n > 2; dots are single learners." in said
    assert [len(line.get_ydata()) for line in figure.axes[0].lines if line.get_marker() == "o"] == [1]


def test_a_mean_gives_every_seed_the_same_weight():
    figure = draw_table(TABLE, reached({"some/ours": [[10] * 9, [30]]}))
    assert texts(figure)[0] == "20"
    assert labels(figure)[0] == "transfer (n = 2 × 1 to 9 learners)"


def test_single_values_have_no_band():
    figure = draw_table(TABLE, reached({"some/ours": [[10]], "some/scratch": [[0]]}))
    assert "band" not in figure.texts[1].get_text()


@pytest.mark.parametrize("name", ["table1", "table2"])
def test_nothing_overlaps_in_the_papers_tables(name):
    values = {series.runs: [[50.0, 60, 70], [80, 90, 100]] for series in FIGURES[name].series}
    figure = draw_table(FIGURES[name], reached(values))
    figure.draw_without_rendering()
    drawings = [*figure.axes[0].texts, *figure.axes[0].get_xticklabels(), *figure.texts, *figure.legends]
    boxes = [drawing.get_window_extent() for drawing in drawings]
    for at, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[at + 1 :]), drawings[at]


@pytest.fixture
def home(tmp_path, monkeypatch):
    return home_of(tmp_path, monkeypatch, {"table0": TABLE}, "panel,series,x,y,note\n")


def test_a_table_without_runs_says_so(home, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        drawn(monkeypatch, "table0")
    assert "table0 has no curves yet" in capsys.readouterr().err
    assert not (home / "table0").exists()


def test_a_table_is_drawn_from_tests_of_several_seeds_with_many_masters_each(home, tmp_path, monkeypatch):
    runs = [adapted(tmp_path / f"runs/some/ours-seed{seed}", [12_345.6 + seed] * 8, [14_321.4 + seed] * 8) for seed in range(3)]
    other = adapted(tmp_path / "runs/some/other-seed0", [1.0])
    drawn(monkeypatch, "table0", "--runs", *runs, other)
    curves = read_points(home / "table0/curves.csv")
    assert len(curves) == 24
    assert {(curve.seed, curve.points[0, 2]) for curve in curves} == {(seed, 14_321 + seed) for seed in range(3)}
    kept = (home / "table0/table0.png").read_bytes()
    drawn(monkeypatch, "all")
    assert (home / "table0/table0.png").read_bytes() == kept


def test_the_papers_numbers_are_those_it_prints():
    printed = {name: [series.printed for series in FIGURES[name].series] for name in ("table1", "table2")}
    assert printed == {"table1": [14_333, 6_055, -643], "table2": [193, 0]}
