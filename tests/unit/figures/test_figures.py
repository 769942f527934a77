"""Figures of the paper, from run folders to CSV and PNG; the interquartile mean against the library of its authors."""

import json
import re

import gymnasium
import numpy as np
import pytest

import mlsh_envs  # noqa: F401 (registers them)
from mlsh_mpi.commands import figures as command
from mlsh_mpi.commands.cli import parse
from mlsh_mpi.errors import UserError
from mlsh_mpi.figures import runner
from mlsh_mpi.figures.panels import digitised
from mlsh_mpi.figures.paper import FIGURES, PaperFigure, PaperTable, Series
from mlsh_mpi.reporting.curves import Curve, read_last, read_points, read_run, renewed, series_of, together, write_points
from mlsh_mpi.reporting.statistics import interquartile_band, interquartile_mean
from unit.figures.drawing import drawn, home_of

PAPER = "panel,series,x,y,note\nfig0,MLSH,0,1.0,by eye\nfig0,MLSH,10,3.0,digitised\nfig1,MLSH,0,9.0,digitised\n"
LISTED = [name for name in FIGURES if (command.HOME / name).exists()]
"""The figures whose runs are listed; those of a table may still have to be."""
FIGURE = PaperFigure("Figure 0", "fig0", "iterations", 100.0, (Series("some/run", "ours", "MLSH"),), "Small.", every=2)


def trained(folder, values, metric="return/adapted"):
    """A finished run that logged these returns, None for an iteration without one."""
    folder.mkdir(parents=True)
    rows = [
        {"iteration": i, "environment_steps": 1000 * i, "seconds": i, "speed/steps_per_cpu_second": 500.0, "return/mean": 1.0}
        | ({} if value is None else {metric: value})
        for i, value in enumerate(values, 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "summary.json").write_text("{}")
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    """In place of launch/paper: one figure of two runs."""
    folder = home_of(tmp_path, monkeypatch, {"fig0": FIGURE}, PAPER)
    (folder / "fig0").mkdir()
    lines = [f"moving-bandits --seed {seed} --folder runs/some/run-seed{seed}" for seed in (0, 1)]
    (folder / "fig0" / "runs.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_the_interquartile_mean_leaves_out_a_quarter_at_either_end():
    assert interquartile_mean(np.array([100.0, 1, 2, 3, -50])) == 2  # floor(5 / 4) = 1 at either end
    assert interquartile_mean(np.array([1.0, 2, 9])) == 4
    assert interquartile_mean(np.arange(8.0)[None]).tolist() == [3.5]


@pytest.mark.parametrize(
    ("tasks", "runs", "mean", "low", "high"),
    # What rliable 1.2.0's get_interval_estimates prints for the same numbers with 20,000 and 5,000 draws.
    [(5, 10, 20.02602750, 19.30040747, 20.82557052), (1, 3, 22.05110857, 19.35320851, 26.12275736)],
)
def test_bands_are_those_of_rliable(tasks, runs, mean, low, high):
    values = (np.random.default_rng(3).normal(size=(10, 5)) * 3 + 20)[:runs, :tasks]
    found = interquartile_band(values.T[..., None], np.random.default_rng(0))
    assert found[0][0] == pytest.approx(mean, abs=1e-7)
    assert [found[1][0], found[2][0]] == pytest.approx([low, high], abs=0.06)


def test_a_training_curve_is_averaged_over_blocks_of_iterations(tmp_path):
    run = trained(tmp_path / "some" / "run-seed12", [None, 2.0, 4.0, 8.0, 10.0])
    (curve,) = read_run(run, lambda _: 2)
    assert (curve.series, curve.seed, curve.task) == ("some/run", 12, "")
    np.testing.assert_array_equal(curve.points, [[2, 2000, 2.0], [4, 4000, 6.0], [5, 5000, 10.0]])


def test_a_test_has_a_curve_for_each_task(tmp_path):
    folder = trained(tmp_path / "some" / "test-seed3", [1.0])
    found = {"tasks": ["goal=1", "goal=0", "goal=1"], "steps": 2000, "returns": [[1, 5, 3], [3, 7, 5]]}
    (folder / "adaptation.json").write_text(json.dumps(found))
    curves = {curve.task: curve.points.tolist() for curve in read_run(folder, lambda _: 1)}
    assert curves == {"goal=0": [[0, 0, 5], [1, 2000, 7]], "goal=1": [[0, 0, 2], [1, 2000, 4]]}


def test_curves_survive_the_file_and_give_way_to_newer_ones(tmp_path):
    curves = [Curve("a/b", seed, task, np.array([[1, 2000, 0.125], [2, 4000, -3.5]])) for seed in (0, 1) for task in ("", "x,y")]
    write_points(tmp_path / "curves.csv", curves)
    again = read_points(tmp_path / "curves.csv")
    assert [(c.series, c.seed, c.task, c.points.tolist()) for c in again] == [
        (c.series, c.seed, c.task, c.points.tolist()) for c in curves
    ]
    newer = Curve("a/b", 1, "z", np.array([[1, 1, 1.0]]))
    assert [(c.seed, c.task) for c in renewed(again, [newer])] == [(0, ""), (0, "x,y"), (1, "z")]
    assert read_points(tmp_path / "none.csv") == []


@pytest.mark.parametrize("text", ["", "null", "[1, 2]", "{", '{"tasks": []}'])
def test_curves_of_a_test_that_are_damaged_are_a_sentence(tmp_path, text):
    folder = trained(tmp_path / "some" / "test-seed3", [1.0])
    (folder / "adaptation.json").write_text(text)
    for read in (lambda: read_run(folder, lambda _: 1), lambda: read_last(folder)):
        with pytest.raises(UserError, match=r"adaptation.json cannot be read: remove it and start the test again"):
            read()


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "series,seed,task,iteration,environment_steps,return\na,one,,1,1,1\n"])
def test_a_damaged_file_of_curves_is_a_sentence(tmp_path, text):
    (tmp_path / "curves.csv").write_text(text)
    with pytest.raises(UserError, match=r"curves.csv cannot be read as curves"):
        read_points(tmp_path / "curves.csv")


def test_runs_meet_where_all_of_them_have_a_point():
    longer = Curve("a", 0, "", np.array([[1, 10, 1.0], [2, 20, 2.0], [3, 30, 3.0]]))
    shorter = Curve("a", 1, "", np.array([[2, 20, 5.0], [3, 30, 6.0]]))
    places, returns = together([longer, shorter])
    assert places.tolist() == [[2, 20], [3, 30]]
    assert returns.tolist() == [[[2, 3], [5, 6]]]


def test_names_of_runs():
    assert series_of("bandits/ours-seed12") == ("bandits/ours", 12)
    assert series_of("bandits/ours") == ("bandits/ours", 0)


def test_the_papers_points_are_there_for_every_curve_that_is_drawn_beside_one():
    for name, figure in ((name, figure) for name, figure in FIGURES.items() if isinstance(figure, PaperFigure)):
        of_paper = digitised(command.HOME / "paper-curves.csv", figure.panel)
        assert {series.digitised for series in figure.series} - {""} <= set(of_paper), name


def test_only_tables_may_lack_a_list_of_runs():
    assert all(isinstance(FIGURES[name], PaperTable) for name in set(FIGURES) - set(LISTED))


@pytest.mark.parametrize("name", LISTED)
def test_every_curve_has_its_commands(name):
    named = {series_of(run.name)[0] for stage in runner.read_commands(command.HOME / name) for run in stage}
    assert {series.runs for series in FIGURES[name].series} <= named


@pytest.mark.parametrize("name", LISTED)
def test_every_training_can_begin(name):
    for run in (run for stage in runner.read_commands(command.HOME / name) for run in stage if run.arguments[0] != "adapt"):
        settings = parse(run.arguments).settings
        settings.check(gymnasium.spec(settings.environment.env).max_episode_steps)


@pytest.mark.parametrize("name", LISTED)
def test_a_batch_array_has_a_task_for_every_command(name):
    arrays = re.findall(r"(?:seeds.sh |--array=)1-(\d+) ", (command.HOME / name / "README.md").read_text())
    assert [int(last) for last in arrays] == [len(stage) for stage in runner.read_commands(command.HOME / name)]


def test_a_figure_is_drawn_from_runs_and_again_from_its_curves(home, tmp_path, monkeypatch, capsys):
    runs = [trained(tmp_path / "runs/some" / f"run-seed{seed}", [1.0 + seed] * 5) for seed in (0, 1)]
    other = trained(tmp_path / "runs/some/other-seed0", [1.0])
    drawn(monkeypatch, "fig0", "--runs", *runs, other, tmp_path / "nothing")
    told = capsys.readouterr()
    assert "left out: " in told.err
    assert [curve.series for curve in read_points(home / "fig0/curves.csv")] == ["some/run"] * 2
    kept = (home / "fig0/fig0.png").read_bytes()
    (home / "fig0/fig0.png").unlink()
    drawn(monkeypatch, "all")
    assert (home / "fig0/fig0.png").read_bytes() == kept
    assert len(kept) > 10_000


def test_a_pdf_is_written_beside_the_picture_on_request(home, tmp_path, monkeypatch, capsys):
    drawn(monkeypatch, "fig0", "--runs", trained(tmp_path / "runs/some/run-seed0", [1.0] * 5))
    assert [path.name for path in (home / "fig0").glob("fig0.*")] == ["fig0.png"]
    drawn(monkeypatch, "fig0", "--pdf")
    assert capsys.readouterr().out.splitlines()[-2:] == ["drawn: paper/fig0/fig0.png", "drawn: paper/fig0/fig0.pdf"]
    kept = (home / "fig0/fig0.pdf").read_bytes()
    assert kept.startswith(b"%PDF")
    drawn(monkeypatch, "fig0", "--pdf")
    assert (home / "fig0/fig0.pdf").read_bytes() == kept


def test_finished_runs_are_not_made_again(home, tmp_path, monkeypatch):
    for seed in (0, 1):
        trained(tmp_path / "runs/some" / f"run-seed{seed}", [1.0] * 5)
    monkeypatch.setattr(runner, "make", lambda *_: pytest.fail("there is nothing to be made"))
    drawn(monkeypatch, "fig0", "--make")
    assert (home / "fig0/fig0.png").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [([], "name figures: fig0"), (["fig9"], "no figure 'fig9' .*fig0"), (["fig0"], "fig0 has no curves yet: add --make")],
)
@pytest.mark.usefixtures("home")
def test_mistakes_are_named(monkeypatch, capsys, arguments, says):
    with pytest.raises(SystemExit) as ended:
        drawn(monkeypatch, *arguments)
    assert ended.value.code == 2
    assert re.search(says, capsys.readouterr().err)


def test_a_list_must_name_folders(home):
    (home / "fig0/tests.txt").write_text("adapt runs/some/run-seed0\n")
    with pytest.raises(UserError, match="must name its --folder"):
        runner.read_commands(home / "fig0")


def test_what_a_run_has_cost(tmp_path):
    assert runner.cpu_seconds(trained(tmp_path / "run", [1.0] * 4)) == pytest.approx(4 * 1000 / 500)
