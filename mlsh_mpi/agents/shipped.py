"""Trained primitives that come with this project, in a checkout and in an installed package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from mlsh_mpi.errors import UserError, nearest

CHECKOUT = Path(__file__).resolve().parents[2] / "launch" / "paper"


def is_checkout() -> bool:
    """Whether this package is part of a checkout of the repository."""
    return CHECKOUT.is_dir()


def paper_folder() -> Path:
    """The folder with the paper's curves and trained primitives: launch/paper in a checkout, or its copy in the package data."""
    return CHECKOUT if is_checkout() else Path(str(files("mlsh_mpi") / "paper"))


def all_shipped() -> dict[str, Path]:
    """The files of all shipped primitives by name."""
    return {path.stem: path for path in sorted((paper_folder() / "primitives").glob("*.pt"))}


def shipped_primitives(name: str) -> Path:
    """The file of the shipped primitives of a name, such as ant-twowalk.

    Raises:
        UserError: there are none of that name.
    """
    known = all_shipped()
    if name not in known:
        raise UserError(
            f"there is no run folder and no phi.pt {name!r}, and no shipped primitives of that name"
            f"{nearest(name, list(known))}: there are {', '.join(known)}"
        )
    return known[name]
