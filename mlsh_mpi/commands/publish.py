"""Makes a folder of trained primitives with a card, as model hubs want it: ``mlsh publish RUN...``."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated

import tyro

from mlsh_mpi import files
from mlsh_mpi.config.parsing import parsed
from mlsh_mpi.errors import UserError, exit_on_user_error
from mlsh_mpi.output import say
from mlsh_mpi.policies.phi_file import PHI
from mlsh_mpi.reporting.card import candidates, card, films, median
from mlsh_mpi.reporting.curves import series_of
from mlsh_mpi.reporting.report import is_own_file
from mlsh_mpi.tracking.session import PICTURE


def publish(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional], output: Path | None = None, licence: str | None = None
) -> None:
    """Writes the primitives of a run into a folder with a card: README.md, phi.pt, config.json, plot.png, and a film if any.

    Of several seeds the median one is published, not the best; the card lists them all. Nothing is sent anywhere: give the folder
    to a hub, or to mlsh_mpi.load.

    Args:
        runs: finished training runs that differ only in their seed.
        output: the folder to write, which must not exist; by default published/NAME.
        licence: of the primitives, for the card, such as mit; by default it says nothing.
    """
    if not runs:
        raise UserError("name finished training runs, such as runs/ant-twowalk-seed*")

    tried = candidates(runs)
    chosen = median(tried)
    source = chosen.files.folder
    name = series_of(chosen.files.name)[0] or chosen.files.name
    folder = output or Path("published", name)
    if folder.exists():
        raise UserError(f"{folder} exists already: remove it, or name another with --output")

    film = next(iter(films(source)), None)
    with files.writing(folder):
        text = card(chosen, tried, folder.name, film.name if film else None, licence)
        folder.mkdir(parents=True)
        for each in (PHI, PICTURE):
            if is_own_file(source / each):
                shutil.copyfile(source / each, folder / each)
        config = {**chosen.files.config, "run": {**chosen.files.config["run"], "folder": None}}  # no path of this machine
        files.save_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
        if film:
            shutil.copyfile(film, folder / f"film{film.suffix}")
        files.save_text(folder / "README.md", text)
    of_seeds = f", the median of {len(tried)} seeds" if len(tried) > 1 else ""
    say(f"seed {chosen.seed}{of_seeds}, is in {folder}: README.md, {PHI}, config.json")


def main() -> None:
    """Entry point of ``mlsh publish``."""
    with exit_on_user_error():
        parsed(publish, sys.argv[1:], prog="mlsh publish")
