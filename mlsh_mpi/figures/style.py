"""One style for all figures: colours of methods, names of the paper's curves, and the layout of title, legend and caption."""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from mlsh_mpi.figures.paper import Series
from mlsh_mpi.files import whole

COLOURS = {
    "ours": "#0072B2",
    "paper": "#56B4E9",
    "released": "#56B4E9",
    "folds": "#1B2A6B",
    "long": "#1B2A6B",
    "twelve": "#1B2A6B",
    "no-warmup": "#009E73",
    "n1": "#D6BE1E",
    "shared": "#D55E00",
    "scratch": "#222222",
    "ppo": "#222222",
    "rl2": "#CC79A7",
    "option-critic": "#E69F00",
    "actor-critic": "#882255",
    "mazes": "#0072B2",
    # Sweeps grow darker: K from sand to brown, W from pink to plum. The default is MLSH itself.
    "k1": "#D2A24C",
    "k4": "#A66F1B",
    "k8": "#5E3A0A",
    "w1": "#EBA9CF",
    "w2": "#CF6CA6",
    "w16": "#9C3A79",
    "w20": "#611A49",
}
"""The colour of each method, by the last part of its runs' name (or :attr:`Series.method`). The palette is that of Okabe and
Ito with shades of its colours, for colour-blind readers. It differs from that of primitives (`mlsh_envs.window`), which are not
shown in these figures."""
SPARE = ("#117733", "#AA4499", "#661100", "#6699CC")
"""For methods without a colour of their own, in the order of a figure's series."""
PAPER = "0.5"
"""The grey of the paper's own results."""
DASHES = (
    (0, (4, 1.5)),
    (0, (1.2, 1.2)),
    (0, (7, 2)),
    (0, (4, 1.5, 1.2, 1.5)),
    (0, (7, 2, 1.2, 2, 1.2, 2)),
    (0, (2.5, 3)),
    (0, (9, 1.2, 3, 1.2)),
)
"""The dashes that distinguish the paper's curves."""
NAMES = {
    "nowarm": "no warm-up",
    "nodiff": "N = 1",
    "shared": "shared policy",
    "single": "single policy",
    "RL2": "RL²",
    "OC": "Option-Critic",
    "AC": "Actor-Critic",
}
"""Names of the paper's curves in figures, for the abbreviations in launch/paper/paper-curves.csv."""

WIDTH, HEIGHT, SMALL = 9.2, 3.9, 2.3
"""Size of a figure's panels, and height of a small one, in inches. A README shows a figure about as wide as this at 100 dots
per inch."""
RC: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "legend.fontsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.92",
    "savefig.dpi": 150,
    "pdf.fonttype": 42,  # fonts as outlines that journals accept, not bitmaps
}
"""Settings of matplotlib for all figures."""
MARGIN = 0.12
"""Inches between the parts of a figure, and around it."""


def colours(series: Sequence[Series]) -> list[str]:
    """The colours of a figure's series, in order."""
    spare = iter(SPARE * len(series))
    return [COLOURS.get(one.method or one.runs.split("/")[-1]) or next(spare) for one in series]


def paper_name(digitised: str) -> str:
    """The name of a curve of the paper in a figure: K4 is K = 4."""
    if digitised[:1] in ("K", "W") and digitised[1:].isdigit():
        return f"{digitised[0]} = {digitised[1:]}"
    return NAMES.get(digitised, digitised)


def lay_out(figure: Figure, title: str, caption: str, handles: Sequence[Artist] = ()) -> None:
    """Puts the title above the panels, and legend and caption below. The figure grows accordingly."""
    width, height = figure.get_size_inches()
    left = MARGIN / width

    # Texts first, because the legend and the panels get the remaining room.
    heading = figure.text(left, 1.0, title, va="top", fontsize=12, fontweight="bold")

    unbroken = caption.replace(" = ", "\xa0=\xa0")
    note = figure.text(left, 0.0, textwrap.fill(unbroken, round(16 * width)), va="bottom", fontsize=8.5, color="0.3")
    below = MARGIN + _inches(figure, note)

    if handles:
        legend: Any = None
        for columns in (4, 3, 2, 1):
            if legend is not None:
                legend.remove()
            legend = figure.legend(handles=handles, ncols=columns, loc="lower left", frameon=False, borderaxespad=0, borderpad=0)
            if legend.get_window_extent().width / figure.dpi < width - 2 * MARGIN:
                break
        legend_at = below + MARGIN
        below = legend_at + _inches(figure, legend)

    above = _inches(figure, heading) + MARGIN
    total = above + height + MARGIN + below
    figure.set_size_inches(width, total)
    heading.set_y(1 - MARGIN / total)
    note.set_y(MARGIN / total)
    if handles:
        legend.set_bbox_to_anchor((left, legend_at / total))

    edges = (0, (below + MARGIN) / total, 1, height / total)
    figure.set_layout_engine("constrained", rect=edges, w_pad=MARGIN / 2, wspace=0.04)
    figure.draw_without_rendering()  # lays out the panels, so that text in them can be measured


def _inches(figure: Figure, drawn: Any) -> float:
    """The height of a text or legend."""
    return float(drawn.get_window_extent().height) / figure.dpi


def stamp(shown: object, data: Path) -> str:
    """A checksum of a picture's definition and data, which changes with either."""
    return hashlib.sha256(repr(shown).encode() + data.read_bytes()).hexdigest()[:16]


def write(figure: Figure, picture: Path, pdf: bool, stamp: str) -> list[Path]:
    """Writes the figure as PNG, with a stamp in its text chunk `Source`, and optionally as PDF beside it.

    Returns:
        The files.
    """
    files = [picture, picture.with_suffix(".pdf")] if pdf else [picture]
    with matplotlib.rc_context(RC):
        for file in files:
            metadata = {"CreationDate": None} if file.suffix == ".pdf" else {"Source": stamp}
            with whole(file) as unfinished:  # the same figure gives the same file
                figure.savefig(unfinished, metadata=metadata)
    return files
