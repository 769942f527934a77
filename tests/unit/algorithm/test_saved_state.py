"""What a job could not go on from is refused by name."""

import pytest
import torch

from mlsh_mpi.algorithm.saved_state import check_no_nan, check_tensors
from mlsh_mpi.errors import UserError
from mlsh_mpi.tracking.checkpoint import Checkpoint

FRESH = {"parameters": torch.zeros(2, 5), "steps": torch.zeros(2), "adapted": torch.ones(2), "count": torch.tensor(0.0)}
NAN = float("nan")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"steps": None}, "x.steps is missing in it"),
        ({"steps": torch.zeros(1)}, r"x.steps has the shape \(1,\) instead of \(2,\)"),
        ({"parameters": torch.zeros(5)}, r"x.parameters has the shape \(5,\) instead of \(2, 5\)"),
        ({"parameters": torch.full((2, 5), NAN)}, "x.parameters is NaN or infinite"),
        ({"parameters": torch.full((2, 5), float("inf"))}, "x.parameters is NaN or infinite"),
        ({"steps": torch.tensor([0, NAN])}, "x.steps is NaN"),
        ({"count": torch.zeros(1)}, r"x.count has the shape \(1,\) instead of \(\)"),
    ],
)
def test_what_lacks_has_another_shape_or_is_nan_is_refused(change, says):
    saved = {name: values for name, values in (FRESH | change).items() if values is not None}
    with pytest.raises(UserError, match=says):
        check_tensors(saved, FRESH, "x")


def test_what_fits_is_not_refused_nor_what_earlier_versions_did_not_keep():
    check_tensors(FRESH, FRESH, "x")
    check_tensors({name: values for name, values in FRESH.items() if name != "adapted"}, FRESH, "x")
    check_tensors({"parameters": torch.zeros(6, 5)}, {"parameters": FRESH["parameters"]}, "x", rows=6)


def test_nan_is_found_wherever_it_is():
    check_no_nan({"a": [torch.zeros(3), {"b": torch.arange(3)}], "c": 1}, "workers")
    with pytest.raises(UserError, match=r"workers.a.1.b is NaN"):
        check_no_nan({"a": [torch.zeros(3), {"b": torch.tensor([0, NAN])}]}, "workers")


@pytest.mark.parametrize("change", [{"config": None}, {"config": 3}, {"identity": None}, {"identity": {"environment": {}}}])
def test_a_checkpoint_says_of_what_it_is(change):
    values = {"iteration": 1, "config": {}, "identity": {"environment": {}, "software": {}}, "stopped_by": None}
    assert Checkpoint.from_dict(values | {"more": 1}).state == {"more": 1}
    with pytest.raises(UserError, match="it must hold the run's configuration and its environment and software"):
        Checkpoint.from_dict(values | change)
