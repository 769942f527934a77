"""Trained primitives that come with this project, in a checkout and in an installed package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from mlsh_mpi.errors import UserError, nearest


def paper_folder() -> Path:
    """The folder with the paper's figures: launch/paper of a checkout, or the same as package data."""
    checkout = Path(__file__).parents[2] / "launch" / "paper"
    return checkout if checkout.is_dir() else Path(str(files("mlsh_mpi") / "paper"))


def shipped_primitives(name: str) -> Path:
    """The file of trained primitives with a name, such as ant-twowalk.

    Raises:
        UserError: there are none of that name.
    """
    known = {path.stem: path for path in sorted((paper_folder() / "primitives").glob("*.pt"))}
    if name not in known:
        raise UserError(
            f"there is no run folder and no phi.pt {name!r}, and no shipped primitives of that name"
            f"{nearest(name, list(known))}: there are {', '.join(known)}"
        )
    return known[name]
