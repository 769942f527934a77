"""A file is there whole or as it was before, and what keeps it from being written is one sentence that helps."""

import errno
import os
import resource
import signal

import pytest
import torch

from mlsh_mpi import files
from mlsh_mpi.errors import UserError

# A worker of pytest-xdist has a thread that listens to the controller; a child that only writes files does not need it.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def in_a_child(act):
    """The exit code of a child process in which no file may grow beyond 4 kB, as on a full disk."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            act()
        except OSError as error:
            os._exit(error.errno or 99)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_file_replaces_the_one_before_it_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "a.txt"
    for text in ("one", "zwölf"):
        files.save_text(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: files.save_tensors(path, {"x": torch.zeros(10_000)}),
        lambda path: files.save_text(path, "x" * 10_000),
    ],
    ids=["tensors", "text"],
)
def test_without_room_the_earlier_file_stays(tmp_path, write):
    path = tmp_path / "kept"
    path.write_text("earlier")
    assert in_a_child(lambda: write(path)) == errno.EFBIG
    assert [child.name for child in tmp_path.iterdir()] == ["kept"]
    assert path.read_text() == "earlier"


def test_a_failure_in_the_middle_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("earlier")

    def fail():
        with files.whole(path) as unfinished:
            assert (unfinished.parent, unfinished.suffix) == (tmp_path, ".png")
            unfinished.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_links_and_devices_stay_what_they_are(tmp_path):
    (tmp_path / "large").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "large" / "file")
    files.save_text(link, "text")
    assert link.is_symlink()
    assert (tmp_path / "large" / "file").read_text() == "text"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    files.save_text(tmp_path / "pipe", "text")
    assert os.read(reader, 9) == b"text"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


def test_what_killed_writers_left_is_removed(tmp_path):
    with files.whole(tmp_path / "a.pt") as unfinished:
        unfinished.write_text("x")
        os.link(unfinished, tmp_path / unfinished.name.replace("a", "b", 1))
    files.remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "No space left on device): make room there"),
        (errno.EDQUOT, "make room there"),
        (errno.EMFILE, "Too many open files): allow more open files (ulimit -n)"),
        (errno.EIO, "Input/output error): check the disk"),
        (errno.ENOENT, "put the folder back"),
        (errno.EROFS, "make it writable"),
        (errno.EBUSY, "fix that"),
    ],
)
def test_each_error_gets_its_own_advice(number, says):
    with pytest.raises(UserError) as told, files.writing("a.txt"):
        raise OSError(number, os.strerror(number))
    assert str(told.value).startswith("a.txt cannot be written (")
    assert says in str(told.value)
    assert ("make room" in str(told.value)) == ("make room" in says)


def test_an_error_without_a_number_is_told_by_its_first_line():
    with pytest.raises(UserError, match=r"^film cannot be written \(broken\): fix that"), files.writing("film"):
        raise OSError("broken\n\nCOMMAND: ffmpeg")
