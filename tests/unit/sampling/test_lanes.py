"""What goes wrong when environments are closed is told, and ends nothing."""

import sys
from types import SimpleNamespace

import pytest

from mlsh_mpi.errors import Interrupted
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.experiment import Experiment
from mlsh_mpi.sampling.vector_env import fault_of_closing
from unit.sampling.test_environment_check import Line


class Closing(Line):
    """Notes that it was closed, and then fails as it is told to."""

    closed, fails = [], None

    def close(self):
        self.closed.append(self)
        if self.fails:
            self.fails()


def attribute_error():
    raise AttributeError("no viewer")


def interrupted():
    raise Interrupted


@pytest.fixture
def maker(request, monkeypatch):
    monkeypatch.setattr(Closing, "closed", [])
    monkeypatch.setattr(Closing, "fails", staticmethod(request.param) if request.param else None)
    return EnvironmentMaker(Closing, 10)


@pytest.mark.parametrize(
    ("maker", "says"),
    [(None, ""), (attribute_error, "raised AttributeError: no viewer"), (sys.exit, "raised SystemExit")],
    indirect=["maker"],
)
def test_all_lanes_are_closed_whatever_one_of_them_does(maker, says):
    found = maker.lanes(3).close()
    assert (bool(found), len(Closing.closed)) == (bool(says), 3)
    assert says in found


@pytest.mark.parametrize("maker", [interrupted], indirect=True)
def test_a_second_interrupt_is_none_of_the_environments_doing(maker):
    with pytest.raises(Interrupted):
        fault_of_closing(maker.single())


@pytest.mark.parametrize("maker", [attribute_error], indirect=True)
def test_what_went_wrong_on_any_rank_is_said_once(maker, capsys):
    """Rank 0 closes well what rank 1 does not."""
    watch = SimpleNamespace(enter=lambda _: None, leave=lambda: None)
    world = SimpleNamespace(rank=0, allgather=lambda fault: ["", fault])
    experiment = Experiment(None, SimpleNamespace(world=world, watch=watch), SimpleNamespace(maker=maker, name="Closing"))
    for _ in range(2):
        experiment.close(maker.lanes(2))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Closing raised AttributeError: no viewer" in said
