"""How figures look: colours that all readers tell apart, labels that stand free, and texts that say what there is and no more."""

import functools
import itertools
import re

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb

from mlsh_mpi.commands import figures as command
from mlsh_mpi.figures import style
from mlsh_mpi.figures.panels import apart, digitised, draw_figure
from mlsh_mpi.figures.paper import FIGURES, PaperFigure, Series
from mlsh_mpi.reporting.curves import Curve, read_points

CURVES = {name: curves for name in FIGURES if (curves := read_points(command.HOME / name / "curves.csv"))}
PANELS = [name for name in CURVES if isinstance(FIGURES[name], PaperFigure)]
SIGHT = {
    "all colours": np.eye(3),
    # Machado, Oliveira and Fernandes 2009, severity 1.
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def seen(colour, sight):
    """A colour as such a reader sees it, in CIELAB, where equal distances look about equal."""
    linear = np.array([c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)])
    light = np.clip(np.array(SIGHT[sight]) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = (np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in to_xyz @ light / to_xyz.sum(1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@functools.cache
def drawn(name):
    return draw_figure(FIGURES[name], CURVES[name], digitised(command.HOME / "paper-curves.csv", FIGURES[name].panel))


def figure_of(runs=(1,), paper=(), axis="iterations", first=1, length=9, tasks=("",), cycle=1, **more):
    """A figure of as many series as `runs` has numbers of seeds, over the paper's curves of these names."""
    names = list(paper) + [""] * len(runs)
    series = tuple(Series(f"some/run{i}", f"ours {i}", names[i], cycle) for i in range(max(len(runs), len(paper))))
    iterations = np.arange(first, first + length) * cycle
    curves = [
        Curve(f"some/run{i}", seed, task, np.column_stack((iterations, 1000 * iterations, np.full(length, 1.0 + seed + i))))
        for i, seeds in enumerate(runs)
        for seed in range(seeds)
        for task in tasks
    ]
    of_paper = {name: np.array([[0.0, 1 + 0.001 * i], [5, 2], [6, 3 + 0.001 * i]]) for i, name in enumerate(paper)}
    return draw_figure(PaperFigure("Figure 0", "fig0", axis, 5000.0, series, "Small.", **more), curves, of_paper)


def ours(axis):
    """Our first curve in a panel."""
    return next(line for line in axis.lines if line.get_color() != style.PAPER)


def written(figure):
    """The text below the panels."""
    return figure.texts[1].get_text().replace("\n", " ").replace("\xa0", " ")


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("name", FIGURES)
def test_methods_of_a_figure_are_told_apart_by_colour(name, sight):
    colours = [seen(colour, sight) for colour in style.colours(FIGURES[name].series)]
    assert min((np.linalg.norm(a - b) for a, b in itertools.combinations(colours, 2)), default=100) > 12


def test_a_method_has_one_colour_everywhere():
    colours = {}
    for figure in FIGURES.values():
        for series, colour in zip(figure.series, style.colours(figure.series), strict=True):
            colours.setdefault(series.method or series.runs.split("/")[-1], set()).add(colour)
    assert all(len(colours[method]) == 1 for method in colours.keys() & style.COLOURS.keys())
    mlsh, shared, ppo, odd = style.colours([Series(f"a/{method}", "") for method in ("ours", "shared", "ppo", "odd")])
    assert (mlsh, shared, ppo) == tuple(style.COLOURS[method] for method in ("ours", "shared", "scratch"))
    assert odd in style.SPARE
    assert style.colours([Series("a/odd", "", method="ours")]) == [mlsh]


def test_the_papers_curves_are_named_in_words():
    known = {"MLSH", "PPO"}
    for figure in (FIGURES[name] for name in FIGURES if isinstance(FIGURES[name], PaperFigure)):
        for name in {series.digitised for series in figure.series} - {""} - known:
            assert style.paper_name(name) != name or " " in name, name
    assert [style.paper_name(name) for name in ("nodiff", "K4", "W20", "MLSH")] == ["N = 1", "K = 4", "W = 20", "MLSH"]


@pytest.mark.parametrize("name", PANELS)
def test_labels_stand_free(name):
    figure = drawn(name)
    figure.draw_without_rendering()
    for axis in figure.axes:
        boxes = [text.get_window_extent() for text in axis.texts]
        for box in boxes:
            assert axis.bbox.x0 < box.x0 < box.x1 <= min(axis.bbox.x1, figure.bbox.x1) + 0.5
            assert axis.bbox.y0 < box.y0 < box.y1 <= axis.bbox.y1 + 1
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    for drawing in (*figure.texts, *figure.legends, *(axis.xaxis.label for axis in figure.axes)):
        box = drawing.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
    (legend,) = figure.legends
    named = [axis.xaxis.label.get_window_extent() for axis in figure.axes if axis.get_xlabel()]
    assert figure.texts[1].get_window_extent().y1 < legend.get_window_extent().y0
    assert legend.get_window_extent().y1 < min(label.y0 for label in named)


@pytest.mark.parametrize("name", PANELS)
def test_the_papers_curves_share_one_grey_and_nothing_is_cut_without_a_word(name):
    figure, papers = drawn(name), set()
    for axis in figure.axes:
        for line in axis.lines:
            x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
            low, high = axis.get_xlim()
            assert np.nanmin(x) >= low
            assert np.nanmax(x) <= high
            assert axis.get_xscale() != "log" or np.nanmin(x) > 0
            assert not np.isnan(x).any() or "longer ones go on on the right" in written(figure)
            assert axis.get_ylim()[0] <= np.nanmin(y) <= np.nanmax(y) <= axis.get_ylim()[1]
            if line.get_color() == style.PAPER:
                papers.add(str(line._unscaled_dash_pattern))
    shown = {series.digitised for series in FIGURES[name].series} - {""}
    assert len(papers) == (bool(shown) if FIGURES[name].small_multiples else len(shown)), "told apart by dashes"


@pytest.mark.parametrize("name", PANELS)
def test_axes_are_named(name):
    axes = drawn(name).axes
    if FIGURES[name].small_multiples:
        last = [axis for axis in axes if axis.get_visible()][-1]
        assert (axes[0].get_ylabel(), last.get_xlabel()) == ("return of an episode", FIGURES[name].axis)
        return
    assert axes[0].get_ylabel() == "return of an episode"
    assert re.fullmatch(r"environment steps \((thousands|millions)\)", axes[-1].get_xlabel())
    assert all(re.match("iterations|cycles|updates", axis.get_xlabel()) for axis in axes[:-1])


@pytest.mark.parametrize(
    ("runs", "tasks", "says", "bands"),
    [
        ((1, 1), [""], "Lines are single runs. Small.", 0),
        ((1,), [""], "A single run. Small.", 0),
        ((4, 3), [""], "Interquartile means over seeds with 95 % bands by a stratified bootstrap. Small.", 2),
        ((3, 1), [""], "Interquartile means over seeds with 95 % bands by a stratified bootstrap, where n > 2. Small.", 1),
        ((2, 1), [""], "Thin lines are the two seeds of a curve. Small.", 0),
        ((1,), ["a", "b"], "Interquartile means over tasks. Small.", 0),
    ],
)
def test_bands_are_there_and_named_where_there_are_several_runs(runs, tasks, says, bands):
    figure = figure_of(runs, tasks=tasks)
    assert written(figure) == says
    for axis in figure.axes:
        assert sum(isinstance(drawing, PolyCollection) for drawing in axis.collections) == bands
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    times = f" × {len(tasks)} tasks" * (len(tasks) > 1)
    assert labels == [f"ours {i} (n = {n}{times})" for i, n in enumerate(runs)]


def test_two_seeds_are_drawn_one_by_one():
    figure = figure_of((2,))
    thin = [line for line in figure.axes[0].lines if line.get_linewidth() < 1]
    assert [set(line.get_ydata()) for line in thin] == [{1.0}, {2.0}]


def test_a_mark_shows_where_n_jumps():
    def marks(jump):
        series = (Series("some/run", "ours", jump=jump),)
        points = np.column_stack((np.arange(1, 10), 1000 * np.arange(1, 10), np.arange(1.0, 10)))
        figure = draw_figure(PaperFigure("0", "", "iterations", 1.0, series, "Small."), [Curve("some/run", 0, "", points)], {})
        marked = [line.get_xydata().tolist() for line in figure.axes[0].lines if line.get_marker() == "D"]
        return marked, [text.get_text() for text in figure.legends[0].get_texts()]

    assert marks(4) == ([[[4000, 4]]], ["ours (n = 1)", "N falls from whole episodes to its value"])
    assert marks(0) == marks(50) == ([], ["ours (n = 1)"])


def test_small_panels_show_each_curve_beside_the_papers_of_the_same_name():
    figure = figure_of((3, 3, 1, 3, 1), ["MLSH", "nowarm"], small_multiples=True)
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title(loc="left").split("\n")[0] for axis in shown] == [f"ours {i}" for i in range(5)]
    of_paper = [sum(line.get_color() == style.PAPER for line in axis.lines) for axis in shown]
    assert of_paper == [1, 1, 0, 0, 0]
    assert len({axis.get_ylim() for axis in shown}) == 1


def test_curves_that_begin_at_0_are_drawn_from_there():
    figure = figure_of((2,), ["MLSH"], axis="updates", first=0)
    assert figure.axes[-1].get_xscale() == "symlog"
    assert "The right axis is linear up to 1,000 steps." in written(figure)
    assert ours(figure.axes[-1]).get_xdata()[0] == 0


def test_the_papers_first_iteration_has_its_steps():
    for axis in ("iterations", "cycles"):
        right = figure_of((1,), ["MLSH"], axis=axis).axes[-1]
        line = next(line for line in right.lines if line.get_color() == style.PAPER)
        x, y = line.get_xdata(), line.get_ydata()
        assert right.get_xscale() == "log"
        assert (x[0], x[-1]) == (5000, 35_000)
        np.testing.assert_allclose(y, np.interp(x, [5000, 30_000, 35_000], [1, 2, 3]))  # straight in steps


def test_curves_beyond_the_papers_cycles_go_on_on_the_right():
    figure = figure_of((1,), ["MLSH"], axis="cycles", length=12, cycle=2)
    left, right = (ours(axis).get_xdata() for axis in figure.axes)
    assert np.nanmax(left) == 6
    assert right[-1] == 24_000
    assert "The left axis ends with the paper's curves; longer ones go on on the right." in written(figure)


def test_labels_at_one_place_are_put_one_above_another():
    figure = figure_of((1,), ["MLSH", "nowarm", "shared", "OC"])
    for axis in figure.axes:
        names = [text.get_text() for text in sorted(axis.texts, key=lambda text: text.get_window_extent().y0)]
        assert names == ["MLSH", "no warm-up", "shared policy", "Option-Critic"]
        boxes = [text.get_window_extent() for text in axis.texts]
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_labels_are_moved_no_further_than_they_must():
    assert apart(np.array([5.0, 20, 21]), 4, 0, 100) == [5, 20, 24]
    assert apart(np.array([-3.0, 97, 99]), 4, 0, 100) == [0, 96, 100]
