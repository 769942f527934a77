"""The common part of all plots of runs: users' text is shown literally, and files are written whole or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from mlsh_mpi import files

LITERAL: dict[Any, Any] = {"text.parse_math": False, "text.usetex": False}
"""Settings of matplotlib with which a task called $x_ keeps its name."""


@contextmanager
def figure_in(path: Path, *, width: float, height: float, dpi: int) -> Iterator[Figure]:
    """A figure for the body to draw, which is written afterwards.

    Args:
        path: file to write; its suffix gives the format, such as .png or .pdf.
        width: in inches.
        height: in inches.
        dpi: pixels per inch.

    Raises:
        OSError: the file cannot be written.
        ValueError: matplotlib does not know the format.
    """
    with matplotlib.rc_context(LITERAL), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # characters missing in the font become boxes
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        with files.whole(path) as unfinished:
            figure.savefig(unfinished, dpi=dpi)


def legend_label(text: str) -> str:
    """Text as a label for a legend, which would omit a label that begins with an underscore."""
    return f" {text}" if text.startswith("_") else text
