"""The gradient of phi that ranks agree on is the gradient of their pooled data, derived here in one process."""

import numpy as np
import pytest
import textbook
import torch

from mpi.launcher import PROGRAMS, mpirun

pytestmark = pytest.mark.mpi
POLICIES = {"discrete": textbook.categorical, "box": textbook.gaussian}


RANKS = [1, 2, 3, 4]


@pytest.fixture(scope="module")
def every_record(tmp_path_factory):
    """For each number of ranks: a record for each (kind of action, way to deal workers to ranks)."""
    found = {}
    for ranks in RANKS:
        folder = tmp_path_factory.mktemp("gradient")
        mpirun(ranks, PROGRAMS / "gradient.py", "out.pt", cwd=folder).succeeded()
        found[ranks] = torch.load(folder / "out.pt", weights_only=False)
    return found


@pytest.fixture(params=RANKS, ids="{} ranks".format)
def records(request, every_record):
    return every_record[request.param]


def test_it_equals_the_gradient_of_the_pooled_data(records):
    for (kind, _), record in records.items():
        for minibatch in record["minibatches"]:
            for k, samples in enumerate(minibatch["samples"]):
                data = {name: values[samples] for name, values in record["data"].items()}
                expected = textbook.gradient(
                    textbook.row_of(record["phi"], k),
                    POLICIES[kind],
                    **(data | {"log_prob_then": data.pop("log_prob")}),
                    clip=record["clip"],
                    value_coefficient=record["value_coefficient"],
                )
                assert minibatch["counts"][k] == len(samples)
                scale = max(1.0, expected.abs().max().item())
                torch.testing.assert_close(minibatch["gradient"][k].double(), expected.double(), rtol=0, atol=1e-5 * scale)


def test_the_data_are_hard_enough(records):
    """Clipped and free samples, very uneven usage, a primitive that nobody used, left-out samples."""
    for record in records.values():
        usage = np.bincount(record["rows"] + 1, minlength=5)
        assert usage[0] > 0
        assert usage[1] > 15 * usage[2]
        assert 0 < usage[3] < 10
        assert usage[4] == 0
        first = record["minibatches"][0]
        assert first["counts"][3] == 0
        assert not first["gradient"][3].any()
        assert all(first["gradient"][k].abs().max() > 1e-3 for k in range(3))


def test_every_rank_has_the_same_bits(records):
    assert all(minibatch["same"] for record in records.values() for minibatch in record["minibatches"])


def test_the_pooled_minibatches_hold_every_used_sample_once(records):
    for record in records.values():
        for k in range(4):
            seen = [sample for minibatch in record["minibatches"] for sample in minibatch["samples"][k]]
            assert sorted(seen) == np.flatnonzero(record["rows"] == k).tolist()


def test_which_samples_meet_does_not_depend_on_the_ranks(every_record):
    for kind in POLICIES:
        meetings = [
            [[sorted(samples) for samples in minibatch["samples"]] for minibatch in record["minibatches"]]
            for records in every_record.values()
            for (name, _), record in records.items()
            if name == kind
        ]
        assert len(meetings) >= len(RANKS)
        assert all(meeting == meetings[0] for meeting in meetings)
