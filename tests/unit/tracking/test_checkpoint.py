"""A checkpoint is on disk whole or not at all, and nothing that is not whole is ever taken for one."""

import os
import random
import signal
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsh_mpi.errors import UserError
from mlsh_mpi.tracking import checkpoint

# A worker of pytest-xdist has a thread that listens to the controller; a child that only writes files does not need it.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
STATE = {"groups": 3, "primitives": {"mean": torch.arange(300.0).view(3, 100)}, "config": {"run": {"seed": 0, "folder": None}}}


def equal(saved, iteration=1):
    return (
        saved["iteration"] == iteration
        and torch.equal(saved["primitives"]["mean"], STATE["primitives"]["mean"])
        and (saved["groups"], saved["config"]) == (STATE["groups"], STATE["config"])
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a checkpoint, and where one may be put."""
    folder = tmp_path_factory.mktemp("whole")
    return checkpoint.save(folder, 1, STATE).read_bytes(), folder / "iteration-00000001.pt"


def test_what_is_saved_comes_back_and_torch_reads_it_too(tmp_path):
    path = checkpoint.save(tmp_path / "checkpoints", 7, STATE)
    assert equal(checkpoint.newest(tmp_path / "checkpoints", pytest.fail), 7)
    assert equal(torch.load(path, weights_only=True), 7)


def test_the_newest_few_are_kept(tmp_path):
    for iteration in (1, 2, 10, 9, 100):
        checkpoint.save(tmp_path, iteration, STATE)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"iteration-{i:08}.pt" for i in (9, 10, 100)]


def test_nothing_there_is_nothing(tmp_path):
    assert checkpoint.newest(tmp_path / "none", pytest.fail) is None
    (tmp_path / ".iteration-00000001.pt.tmp").write_bytes(b"unfinished")
    (tmp_path / "notes.pt").write_bytes(b"somebody's")
    assert checkpoint.newest(tmp_path, pytest.fail) is None


@settings(max_examples=300, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_unless_it_changes_nothing(whole, place, bit):
    data, path = whole
    changed = bytearray(data)
    changed[int(place * len(data))] ^= 1 << bit
    path.write_bytes(changed)
    try:
        saved = checkpoint.load(path)
    except UserError:
        return
    assert equal(saved)


@settings(max_examples=100, deadline=None)
@given(length=st.floats(0, 1, exclude_max=True))
def test_a_file_that_was_cut_short_is_refused(whole, length):
    data, path = whole
    path.write_bytes(data[: int(length * len(data))])
    with pytest.raises(UserError, match="cut short, damaged or no checkpoint"):
        checkpoint.load(path)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
def test_foreign_bytes_are_refused(whole, data):
    _, path = whole
    path.write_bytes(data)
    with pytest.raises(UserError):
        checkpoint.load(path)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (
            {"format": checkpoint.FORMAT, "version": checkpoint.VERSION + 1},
            "format 2, and this version .* reads up to 1",
        ),
        ({"format": checkpoint.FORMAT}, "format None"),
        ({"format": "another"}, "not a checkpoint of mlsh_mpi"),
        ([1, 2], "not a checkpoint of mlsh_mpi"),
    ],
)
def test_other_files_of_torch_are_refused(tmp_path, value, says):
    torch.save(value, tmp_path / "x.pt")
    with pytest.raises(UserError, match=says):
        checkpoint.load(tmp_path / "x.pt")


def test_damaged_ones_are_named_and_passed_over(tmp_path):
    for iteration in (1, 2, 3):
        path = checkpoint.save(tmp_path, iteration, STATE)
    path.write_bytes(path.read_bytes()[:-50])
    (tmp_path / "iteration-00000002.pt").rename(tmp_path / "iteration-00000009.pt")
    told = []
    assert equal(checkpoint.newest(tmp_path, told.append), 1)
    assert [name in said for name, said in zip(("00000009", "00000003"), told, strict=True)] == [True, True]
    assert "it holds iteration 2" in told[0]
    (tmp_path / "iteration-00000001.pt").write_bytes(b"")
    with pytest.raises(UserError, match=r"no checkpoint in .* can be used"):
        checkpoint.newest(tmp_path, told.append)


def test_a_full_disk_is_an_os_error_and_leaves_what_was_there(tmp_path):
    """In a child, whose files may not grow beyond what the second checkpoint needs."""
    import resource

    checkpoint.save(tmp_path, 1, STATE)
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            checkpoint.save(tmp_path, 2, STATE | {"more": torch.zeros(100_000)})
        except OSError as error:
            os._exit(0 if error.strerror == "File too large" else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["iteration-00000001.pt"]
    assert equal(checkpoint.newest(tmp_path, pytest.fail))


def test_whoever_is_killed_in_the_middle_of_a_write_leaves_a_whole_checkpoint(tmp_path):
    """A hundred writers are killed at random moments, more where they are slow; each goes on from what the one before it left."""
    chance, last, killed = random.Random(0), 0, 0
    while killed < 100 or last <= 5:
        killed += 1
        child = os.fork()
        if child == 0:
            for iteration in range(last + 1, last + 1000):
                checkpoint.save(tmp_path, iteration, STATE | {"more": torch.zeros(200_000)})
            os._exit(0)
        time.sleep(chance.uniform(0, 0.02) * (1 + killed // 100))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        saved = checkpoint.newest(tmp_path, pytest.fail)
        if saved is not None:
            assert saved["iteration"] >= last
            last = saved["iteration"]
            assert equal(saved, last)
    checkpoint.save(tmp_path, last + 1, STATE)
    assert len(list(tmp_path.iterdir())) == checkpoint.MAX_CHECKPOINTS
