"""The numbers of figures: final tests kept in a file, tables made of it, and pages and pictures that are up to date."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from mlsh_mpi.commands import figures as command
from mlsh_mpi.errors import UserError
from mlsh_mpi.figures.final_tests import (
    FinalTest,
    has_separated,
    read_final_test,
    read_final_tests,
    write_final_tests,
)
from mlsh_mpi.figures.paper import FIGURES, PaperFigure, PaperTable, Series
from mlsh_mpi.figures.results import placed, results
from mlsh_mpi.figures.style import stamp
from mlsh_mpi.reporting.curves import Curve
from unit.figures.drawing import drawn, home_of

DRAWN = [name for name in FIGURES if (command.HOME / name / "curves.csv").exists()]
FIGURE = PaperFigure(
    "Figure 0", "fig0", "iterations", 100.0, (Series("some/run", "ours", "MLSH"),), "Small.", separated=(33.0, 10.0)
)


def finished(folder, tasks):
    """A finished run whose final test found this."""
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps({"tasks": tasks}))
    return folder


def final_test(*alone, seed=0, adapted=40.0, without_exploration=41.0):
    """The final test of one run: what each primitive earns alone on each task."""
    return [
        FinalTest("some/run", seed, f"goal={task}", adapted, without_exploration, tuple(row)) for task, row in enumerate(alone)
    ]


def test_a_final_test_is_read_and_kept(tmp_path):
    folder = finished(
        tmp_path / "some/run-seed3",
        {
            "goal=0": {"adapted": 39.5, "without_exploration": None, "forced": [43.0, 2.0]},
            "goal=1": {"adapted": 38.5, "without_exploration": 41.25},
        },
    )
    found = read_final_test(folder)
    assert [(test.series, test.seed, test.task, test.adapted, test.primitives) for test in found] == [
        ("some/run", 3, "goal=0", 39.5, (43.0, 2.0)),
        ("some/run", 3, "goal=1", 38.5, ()),
    ]
    assert math.isnan(found[0].without_exploration)
    write_final_tests(tmp_path / "tests.csv", found[::-1])
    again = read_final_tests(tmp_path / "tests.csv")
    assert again[1] == found[1]
    assert repr(again[0]) == repr(found[0])  # NaN is not equal to itself
    assert read_final_tests(tmp_path / "none.csv") == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"tasks": [1]}', '{"tasks": {"a": {}}}', '{"tasks": {"a": {"adapted": "x"}}}'])
def test_a_damaged_summary_is_a_sentence(tmp_path, text):
    folder = finished(tmp_path / "some/run-seed0", {})
    (folder / "summary.json").write_text(text)
    with pytest.raises(UserError, match=r"summary.json cannot be read: start the same run again"):
        read_final_test(folder)


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "series,seed,task,adapted,without_exploration,primitives\na,0,t,high,,\n"])
def test_a_damaged_file_is_a_sentence(tmp_path, text):
    (tmp_path / "tests.csv").write_text(text)
    with pytest.raises(UserError, match=r"tests.csv cannot be read as final tests"):
        read_final_tests(tmp_path / "tests.csv")


@pytest.mark.parametrize(
    ("alone", "separated"),
    [
        ([(43, 2), (3, 42)], True),
        ([(2, 43), (42, 3)], True),
        ([(43, 2), (3, 32)], False),  # not good enough on its own
        ([(43, 11), (11, 42)], False),  # too good on the other
        ([(43, 42), (2, 3)], False),  # both at one goal
        ([(43, 2, 0), (3, 42, 0)], True),  # a third is for nothing
        ([(43, 2, 1), (1, 3, 42)], True),
        ([(43, 20), (20, 42), (1, 1)], False),
    ],
)
def test_a_run_has_separated_if_each_task_has_a_primitive_of_its_own(alone, separated):
    assert has_separated(alone, own=33, other=10) == separated


def test_the_table_has_a_row_a_series_and_only_columns_that_say_something():
    curves = [Curve("some/run", seed, "", np.array([[i, 1e6 * i, seed + i] for i in range(1, 21)])) for seed in range(3)]
    tests = [
        *final_test((43, 2), (3, 42)),
        *final_test((43, 42), (1, 2), seed=1, adapted=20.0),
        *final_test((43, 2), (3, 42), seed=2),
    ]
    paper = {"MLSH": np.array([[0, 1.0], [1, 2.5], [2, 38.0]])}
    lines = results(FIGURE, curves, tests, paper).splitlines()
    assert (
        lines[0]
        == "|  | paper | n | million steps | return in the end | seeds | fresh masters | without exploration | separated |"
    )
    # The last tenth of twenty points are two: 19.5, 20.5 and 21.5.
    cells = "ours | 38.0 | 3 | 20 | 20.5 (19.5 to 21.5) | 19.5, 20.5, 21.5 | 33.3 (20.0 to 40.0) | 41.0 (41.0 to 41.0) | 2 of 3"
    assert lines[2] == f"| {cells} |"

    alone = results(FIGURE, curves[:2], [], {}).splitlines()
    assert alone[0] == "|  | n | million steps | return in the end | seeds |"
    assert alone[2] == "| ours | 2 | 20 | 20.0 | 19.5, 20.5 |", "no band with two seeds"
    assert results(FIGURE, [], [], {}).splitlines()[2] == "| ours | 0 |"


def test_the_table_of_a_table_says_the_seeds_and_the_papers_number():
    table = PaperTable("Table 0", (Series("some/run", "ours", printed=14_333),), "Small.")
    curves = [
        Curve("some/run", seed, f"learner {i}", np.array([[5, 100, 1000.0 * seed + i]])) for seed in range(3) for i in range(2)
    ]
    row = results(table, curves, [], {}).splitlines()[2]
    assert row.startswith("| ours | 14,333 | 3 × 2 learners | 1,000 (")
    assert row.endswith("| 0.500, 1,000, 2,000 |")


def test_runs_bring_their_final_tests_and_the_page_gets_the_table(tmp_path, monkeypatch, capsys):
    home = home_of(tmp_path, monkeypatch, {"fig0": FIGURE}, "panel,series,x,y,note\nfig0,MLSH,0,1.0,by eye\n")
    (home / "fig0").mkdir()
    page = home / "fig0/README.md"
    page.write_text("# Figure 0\n\n<!-- results: written by `mlsh figures` -->\n<!-- end of results -->\n\nThe end.\n")
    run = finished(tmp_path / "runs/some/run-seed0", {"goal=0": {"adapted": 39.5, "without_exploration": 40.5, "forced": [43.0]}})
    row = {"iteration": 1, "environment_steps": 1_000_000, "return/adapted": 39.0}
    (run / "metrics.jsonl").write_text(json.dumps(row) + "\n")

    drawn(monkeypatch, "fig0", "--runs", run)
    text = page.read_text()
    assert "| ours | 1.000 | 1 | 1 | 39.0 | 39.0 | 39.5 | 40.5 |" in text
    assert text.startswith("# Figure 0\n")
    assert text.endswith("<!-- end of results -->\n\nThe end.\n")
    capsys.readouterr()

    drawn(monkeypatch, "fig0", "--table")
    assert capsys.readouterr().out.startswith("Figure 0\n\n|  | paper | n |")
    drawn(monkeypatch, "fig0")
    assert page.read_text() == text


def test_a_page_without_marks_stays_as_it_is():
    assert placed("# A page\n", "| table |\n") == "# A page\n"


@pytest.mark.parametrize("name", DRAWN)
def test_the_tables_of_all_pages_are_up_to_date(name):
    page = (command.HOME / name / "README.md").read_text(encoding="utf-8")
    assert placed(page, command._results(command.HOME, name)) == page, "run: mlsh figures all"
    assert "end of results" in page


@pytest.mark.parametrize("name", DRAWN)
def test_all_pictures_are_up_to_date(name):
    with Image.open(command.HOME / name / f"{name}.png") as picture:
        assert picture.text["Source"] == stamp(FIGURES[name], command.HOME / name / "curves.csv"), "run: mlsh figures all"
