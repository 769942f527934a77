"""What keeps a run folder from being opened is one sentence."""

import errno
import os

import pytest

from mlsh_mpi import files
from mlsh_mpi.config.settings import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.tracking.opening import Kind, OpenRun

IDENTITY = {"environment": {"name": "Here"}, "software": {}}
KIND = Kind("--iterations", (), lambda _: None)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "(No space left on device): make room there"),
        (errno.EIO, "(Input/output error): check the disk"),
        (errno.EMFILE, "(Too many open files): allow more open files"),
    ],
)
def test_a_disk_that_is_full_at_the_start_is_a_sentence(tmp_path, monkeypatch, number, says):
    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files, "save_bytes", full)
    with pytest.raises(UserError) as told:
        OpenRun.in_folder(tmp_path / "run", Config(), IDENTITY, False, KIND)
    assert f"the run folder {tmp_path}/run cannot be written {says}" in str(told.value)
    monkeypatch.undo()
    opened = OpenRun.in_folder(tmp_path / "run", Config(), IDENTITY, False, KIND)  # nobody holds its lock
    assert (opened.saved, opened.tables) == (None, None)
    opened.folder.close()


def test_a_folder_that_is_a_file_is_a_sentence(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(UserError, match=r"run cannot be written \(File exists\): choose another with --folder"):
        OpenRun.in_folder(tmp_path / "run", Config(), IDENTITY, False, KIND)
