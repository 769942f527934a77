"""python figures.py HOME [arguments]: the command, with a figure of its own in place of the paper's."""

import sys
from pathlib import Path

from mlsh_mpi.commands import figures as command
from mlsh_mpi.figures.paper import PaperFigure, Series

command.HOME = Path(sys.argv.pop(1))
series = (Series("small/run", "trained", "MLSH"), Series("small/test", "tested"))
command.FIGURES = {"fig0": PaperFigure("A small figure", "fig0", "iterations", 100.0, series, "Small.")}
command.main()
