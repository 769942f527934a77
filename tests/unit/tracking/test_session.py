"""What happens after each iteration."""

import sys
from types import SimpleNamespace

import pytest

from mlsh_mpi.config.settings import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.tracking.session import IterationHook


def test_a_callback_that_ends_the_process_is_named_as_such():
    job = SimpleNamespace(world=SimpleNamespace(any=list))
    hook = IterationHook(Config(), job, None, 10, lambda *_: sys.exit(), watched=True)
    with pytest.raises(UserError, match=r"on_iteration must not end the process, .*SystemExit .*test_session.py.*return True"):
        hook({"iteration": 1}, None)
