"""Files written whole or not at all, and one sentence on why a file cannot be written."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

from mlsh_mpi.errors import UserError

UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}\.tmp(\..+)?")
"""The names under which files are written; a writer that was killed leaves one behind."""
MOST_PARTS, DEEPEST = 1_000_000, 30
"""Numbers, strings and tensors that a file may hold, each counted as often as it is referred to; and how deeply nested."""
REMEDIES = {
    "make room there": {errno.ENOSPC, errno.EDQUOT, errno.EFBIG},
    "allow more open files (ulimit -n)": {errno.EMFILE, errno.ENFILE},
    "put the folder back": {errno.ENOENT, errno.ENOTDIR, errno.ESTALE},
    "make it writable": {errno.EACCES, errno.EPERM, errno.EROFS},
    "check the disk": {errno.EIO, errno.ENXIO, errno.ENODEV},
    "take a shorter name": {errno.ENAMETOOLONG},
    "name a file": {errno.EISDIR},
}
"""The remedy for each error of the operating system."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yields another name to write to, in the same folder and with the same suffix. Afterwards the file is flushed to disk and
    renamed, so that `path` holds the whole new file or stays as it was, whatever fails in between.

    A device such as /dev/null is written to directly.

    Raises:
        OSError: the file cannot be written.
    """
    path = path.resolve() if path.is_symlink() else path
    if path.exists() and not path.is_file():
        yield path
        return
    unfinished = path.with_name(f".{path.stem[:50]}.{uuid.uuid4().hex[:8]}.tmp{path.suffix[:10]}")
    try:
        yield unfinished
        _sync(unfinished)
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def save_bytes(path: Path, data: bytes) -> None:
    """Writes a file, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    with whole(path) as unfinished:
        unfinished.write_bytes(data)


def save_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    save_bytes(path, text.encode())


def save_tensors(path: Path, value: Any) -> None:
    """Writes tensors and plain values in a form that ``torch.load(path, weights_only=True)`` reads, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    import torch  # the command line writes no tensors and starts without it

    archive = BytesIO()  # torch reports a full disk as a RuntimeError
    torch.save(value, archive)
    save_bytes(path, archive.getvalue())


def load_tensors(path: Path) -> Any:
    """Reads a file of :func:`save_tensors`, which may come from anybody.

    No code in the file is run, and the result takes no more memory than the file: tensors are plain and no larger than their
    data in the file, and the number of dictionaries and lists is limited.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds something else.
    """
    import torch

    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for ever
        raise ValueError("not a regular file")
    with zipfile.ZipFile(path) as archive:
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
            raise ValueError("compressed")
    value = torch.load(path, weights_only=True, map_location="cpu")

    left = [(value, 0)]
    for _ in range(MOST_PARTS):
        if not left:
            return value
        part, depth = left.pop()
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
        if isinstance(part, torch.Tensor):
            _check_known_files(part)
        elif isinstance(part, (dict, list, tuple)):
            left += [(item, depth + 1) for item in (part.values() if isinstance(part, dict) else part)]
    raise ValueError("too many parts")


def _check_known_files(tensor: Any) -> None:
    """Refuses a tensor that is not plain numbers in memory, or is larger than its data in the file."""
    import torch

    plain = type(tensor) is torch.Tensor and tensor.layout is torch.strided and tensor.device.type == "cpu"
    if not plain or tensor.requires_grad or tensor.is_quantized or tensor.is_complex():
        raise ValueError("a tensor of an unusual kind")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError("a tensor larger than the file")


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, or not a regular file.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a regular file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def remove_unfinished(folder: Path) -> None:
    """Removes unfinished files of killed writers from a folder that nobody else writes to."""
    for path in folder.glob(".*.tmp*"):
        if UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextmanager
def writing(what: object) -> Iterator[None]:
    """Turns an OSError in the body into a UserError: `what` cannot be written, why, and the remedy.

    Raises:
        UserError: there was an OSError.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"{what} cannot be written ({reason(error)}): {remedy(error)}, or choose another place") from None


def reason(error: OSError) -> str:
    """Why something cannot be written, in a few words."""
    return error.strerror or (str(error).splitlines() or [type(error).__name__])[0]


def remedy(error: OSError) -> str:
    """What to do about it."""
    return next((words for words, numbers in REMEDIES.items() if error.errno in numbers), "fix that")


def _sync(path: Path) -> None:
    """Makes a file's contents, or a rename in a folder, survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
