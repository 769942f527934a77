"""Writes trained policies as files that act without this package: ONNX, TorchScript, or NumPy alone."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mlsh_mpi import files
from mlsh_mpi.errors import UserError
from mlsh_mpi.policies import numpy_policy
from mlsh_mpi.policies.computation import Computation
from mlsh_mpi.policies.torch_policy import example_inputs, module

DESCRIPTION = "description"
"""The entry of a file with names, shapes, types and units of inputs and outputs, as JSON."""
OPSET = 17
"""Version of ONNX's operators, which runtimes have known since 2022."""


def export(policy: Computation, path: Path) -> None:
    """Writes a policy, in the format of the file's suffix: .onnx, .ts (TorchScript) or .npz (NumPy).

    Beside an .npz lies afterwards ``numpy_policy.py``, which reads it and needs only NumPy.

    Raises:
        UserError: the suffix is another, the format needs a package that is missing, a file of another kind lies where
            ``numpy_policy.py`` belongs, or the file cannot be written; an earlier one stays as it was.
    """
    if path.suffix not in WRITERS:
        raise UserError(f"{path} has none of the suffixes {', '.join(WRITERS)}: it says which format to write")
    reader = path.with_name("numpy_policy.py")
    if path.suffix == ".npz" and reader.exists() and b"class NumpyPolicy" not in reader.read_bytes():
        raise UserError(f"{reader} is not the module that reads an .npz, and would be overwritten: export to another folder")
    written = WRITERS[path.suffix](policy)
    with files.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.save_bytes(path, written)
        if path.suffix == ".npz":
            files.save_bytes(reader, Path(numpy_policy.__file__).read_bytes())


def _numpy(policy: Computation) -> bytes:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {**policy.arrays, DESCRIPTION: np.array(policy.as_json)}
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _torchscript(policy: Computation) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, but what deployment tools load
        traced = torch.jit.trace(module(policy), example_inputs(policy))
        torch.jit.save(traced, buffer, _extra_files={f"{DESCRIPTION}.json": policy.as_json})
    return buffer.getvalue()


def _onnx(policy: Computation) -> bytes:
    if find_spec("onnx") is None:
        raise UserError("the format onnx needs the package onnx: pip install 'mlsh_mpi[onnx]'")
    import onnx

    names = {kind: list(policy.description[kind]) for kind in ("inputs", "outputs")}
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of this exporter's age: the newer one needs a further package, and ten times as long
        torch.onnx.export(
            module(policy),
            example_inputs(policy),
            buffer,  # type: ignore[arg-type]
            input_names=names["inputs"],
            output_names=names["outputs"],
            dynamic_axes={name: {0: "batch"} for name in {*names["inputs"], *names["outputs"]}},
            opset_version=OPSET,
            dynamo=False,
        )

    model = onnx.load_model_from_string(buffer.getvalue())
    onnx.helper.set_model_props(model, {DESCRIPTION: policy.as_json})
    return bytes(model.SerializeToString())


WRITERS: dict[str, Callable[[Computation], bytes]] = {".onnx": _onnx, ".ts": _torchscript, ".npz": _numpy}
"""What writes a file, by its suffix."""
FORMATS = {"onnx": ".onnx", "torchscript": ".ts", "numpy": ".npz"}
"""Names of the formats, with their suffixes."""
