import socket
import time

import pytest

from mlsh_mpi.mpi import failure


@pytest.mark.parametrize(("host", "prints"), [(socket.gethostname(), False), ("elsewhere", True)])
def test_a_rank_waits_for_the_words_of_the_one_that_failed_first(tmp_path, monkeypatch, capsys, host, prints):
    report = tmp_path / "traceback.txt"
    report.touch()
    monkeypatch.setattr(time, "sleep", lambda _: report.write_text(f"rank 1 of 2 on {host} failed\nTraceback\n"))
    failure.report_failure("failed\nTraceback\n", tmp_path, is_lowest_on_host=True)
    assert ("rank 0 of 1" in capsys.readouterr().err) == prints
    assert report.read_text().startswith("rank 1")
