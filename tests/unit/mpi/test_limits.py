"""A limit of open files that is too low is raised, or said at the start and not in the last plot."""

import resource

import pytest

from mlsh_mpi.errors import UserError
from mlsh_mpi.mpi.limits import FILES, allow_open_files


@pytest.mark.parametrize(
    ("soft", "hard", "wanted"),
    [(1024, 4096, None), (resource.RLIM_INFINITY,) * 2 + (None,), (40, 4096, FILES + 8), (40, resource.RLIM_INFINITY, FILES + 8)],
)
def test_a_low_limit_is_raised_as_far_as_needed(monkeypatch, soft, hard, wanted):
    asked = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    allow_open_files(8)
    assert asked == ([] if wanted is None else [(wanted, hard)])


def test_one_that_may_not_be_raised_is_refused(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (40, 40))
    with pytest.raises(UserError, match=r"up to 100 files, but may open 40: .*ulimit -n 100"):
        allow_open_files(0)
