"""Trained primitives by name: those that come with this project, and those of runs below runs/."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from mlsh_mpi.errors import UserError, nearest

RUNS = "runs"
"""The folder of all runs that do not name another."""
CHECKOUT = Path(__file__).resolve().parents[2] / "launch" / "paper"


def is_checkout() -> bool:
    """Whether this package is part of a checkout of the repository."""
    return CHECKOUT.is_dir()


def paper_folder() -> Path:
    """The folder with the paper's curves and trained primitives: launch/paper in a checkout, or its copy in the package data."""
    return CHECKOUT if is_checkout() else Path(str(files("mlsh_mpi") / "paper"))


def all_pretrained() -> dict[str, Path]:
    """The files of all pretrained primitives by name."""
    return {path.stem: path for path in sorted((paper_folder() / "primitives").glob("*.pt"))}


def runs_below(folder: Path) -> list[Path]:
    """The run folders in a folder that hold trained primitives."""
    return sorted(phi.parent for phi in folder.glob("*/phi.pt"))


def named_source(name: str) -> Path:
    """The pretrained primitives with a name such as ant-twowalk, or else the run folder of that name below runs/.

    Raises:
        UserError: there is neither.
    """
    known, folder = all_pretrained(), Path(name).parent if "/" in name else Path(RUNS)
    if name in known:
        return known[name]
    if "/" not in name and (folder / name).is_dir():
        return folder / name

    choices = [*map(str, runs_below(folder)), *([] if "/" in name else known)]
    hint = nearest(name, choices) or nearest(str(folder / name), choices)
    raise UserError(
        f"there is no run folder and no phi.pt {name!r}, and no pretrained primitives of that name{hint}: there are "
        f"{', '.join(known)}"
    )
