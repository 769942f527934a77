"""Writes trained policies for use without this package: ``mlsh export RUN_OR_PHI [--format onnx]``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mlsh_mpi.config.parsing import parsed
from mlsh_mpi.errors import UserError, exit_on_user_error
from mlsh_mpi.output import say
from mlsh_mpi.policies.export import FORMATS
from mlsh_mpi.policies.hierarchy import Hierarchy, read_hierarchy
from mlsh_mpi.policies.primitives import load, source_path


def export(
    source: Annotated[str, tyro.conf.Positional],
    format: Literal["onnx", "torchscript", "numpy"] = "onnx",
    primitive: int | None = None,
    master: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    output: Path | None = None,
) -> None:
    """Writes trained primitives, a master or a whole hierarchy as a file that acts without this package.

    The policy takes the most likely actions, in the environment's units, for observations as the environment returns them. Names,
    shapes and units of inputs and outputs are in the file, under "description".

    Args:
        source: a run folder, a phi.pt, primitives that come with this project by their name, or a hierarchy that adapt has kept.
        format: onnx; torchscript, for torch.jit.load; or numpy, an .npz with a module that reads it and needs only NumPy.
        primitive: only this primitive; by default all, whose number is an input.
        master: of a hierarchy its master alone, which maps observations to numbers of primitives.
        output: file to write; by default the name of the source in the current folder.
    """
    path = source_path(source)
    suffix = FORMATS[format]
    written = output or Path(f"{path.stem if path.suffix == '.pt' and path.stem not in ('phi', 'best') else _run(path)}{suffix}")
    if master and primitive is not None:
        raise UserError("--master and --primitive exclude each other: a file holds the master or a primitive")
    if written.suffix != suffix:
        raise UserError(f"--output {written} must end in {suffix}, the suffix of the format {format}")
    if written.exists() and path.exists() and written.samefile(path):
        raise UserError(f"--output {written} is the source itself: name another file")

    hierarchy = read_hierarchy(path) if path.is_file() else None
    if hierarchy is None:
        if master:
            raise UserError(f"{path} holds primitives, not a hierarchy: --master needs one that adapt has kept")
        primitives = load(path)
        primitives.export(written, primitive)
        what = f"primitive {primitive}" if primitive is not None else f"{len(primitives)} primitives"
    else:
        whole = Hierarchy.from_contents(hierarchy, str(path))
        if primitive is not None:
            whole.primitives.export(written, primitive)
            what = f"primitive {primitive}"
        else:
            whole.export(written, master_only=master)
            what = "the master" if master else "the hierarchy"

    beside = f"; {written.with_name('numpy_policy.py')} reads it" if suffix == ".npz" else ""
    say(f"{what} of {path} as {format} in {written}{beside}")


def _run(path: Path) -> str:
    """The name of the run folder that a phi.pt is in, or that is named itself."""
    return (path if path.is_dir() else path.parent).resolve().name


def main() -> None:
    """Entry point of ``mlsh export``."""
    with exit_on_user_error():
        parsed(export, sys.argv[1:], prog="mlsh export")
