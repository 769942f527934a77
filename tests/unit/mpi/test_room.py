"""Room in /dev/shm: too little is a sentence before MPI starts, and leftovers of killed jobs are named."""

import mmap
import os
from types import SimpleNamespace

import pytest

from mlsh_mpi.mpi import room

DOCKER = 64 * 2**20


def hydra(here, size=None, rank=0):
    return {"MPI_LOCALNRANKS": str(here), "PMI_SIZE": str(size or here), "PMI_RANK": str(rank), "MPI_LOCALRANKID": str(rank)}


def shared(monkeypatch, free, size=DOCKER):
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free, f_blocks=size, f_frsize=1))


@pytest.mark.parametrize(
    ("environment", "free", "fits"),
    [
        (hydra(16), DOCKER, True),
        (hydra(16), 16e6, False),
        (hydra(61), DOCKER, True),
        (hydra(64), DOCKER, False),
        (hydra(12, size=24), DOCKER, True),
        (hydra(16, size=32), DOCKER, False),
        (hydra(16) | {"UCX_TLS": "self,posix"}, DOCKER, False),
        ({}, 0, True),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "64"}, 0, True),
    ],
    ids=["16", "nearly full", "61", "64", "two hosts", "many on two hosts", "UCX's own", "no launcher", "Open MPI"],
)
def test_room_is_compared_with_ranks(tmp_path, monkeypatch, environment, free, fits):
    monkeypatch.delenv("UCX_TLS", raising=False)
    shared(monkeypatch, free)
    if "UCX_TLS" in environment:
        monkeypatch.setenv("UCX_TLS", environment["UCX_TLS"])
    assert (room.lack_of_room(environment, tmp_path) is None) == fits


def test_the_sentence_says_what_is_needed_and_what_to_do(tmp_path, monkeypatch):
    shared(monkeypatch, 4e6)
    for number in range(5):
        (tmp_path / f"mpich_shm_{number}_0").touch()
    said = room.lack_of_room(hydra(16), tmp_path)
    for part in ("MPI needs 17.0 MB", "for 16 ranks", "has 4.0 MB there", "--shm-size=1g", "fewer ranks"):
        assert part in said
    assert f"rm -r {tmp_path}/mpich_shm_0_0 {tmp_path}/mpich_shm_1_0 {tmp_path}/mpich_shm_2_0 (and 2 more)" in said


def test_what_another_rank_of_the_job_has_taken_is_not_missing(tmp_path, monkeypatch):
    (tmp_path / "mpich_shm_1_0").write_bytes(bytes(2 * 1_060_000))
    shared(monkeypatch, 1e6)
    assert room.lack_of_room(hydra(2, rank=1), tmp_path) is None
    assert room.lack_of_room(hydra(2, rank=0), tmp_path) is not None


def test_leftovers_are_what_nobody_uses(tmp_path):
    for name in ("mpich_shm_left_0", "mpich_shm_used_0", "of_another_program"):
        (tmp_path / name).write_bytes(bytes(8))
    (tmp_path / "mlsh_mpi-left").mkdir()
    with (tmp_path / "mpich_shm_used_0").open("r+b") as file, mmap.mmap(file.fileno(), 0):
        assert [path.name for path in room.leftovers(tmp_path)] == ["mlsh_mpi-left", "mpich_shm_left_0"]
    assert room.leftovers(tmp_path / "none") == []
