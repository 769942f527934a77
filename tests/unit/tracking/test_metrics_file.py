"""A line of the log is read as it was written or left out, and what is left out is said."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsh_mpi.api import Run
from mlsh_mpi.tracking.metrics_file import CHECK, METRICS, line_of, read_rows

ROWS = [{"iteration": i, "environment_steps": 10 * i, "seconds": 0.5, "return/mean": 1 / i} for i in (1, 2, 3, 4)]
WHOLE = "".join(map(line_of, ROWS)).encode()


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("log") / METRICS


def read(path, data):
    """The rows of a file with these contents, and what is said of it."""
    path.write_bytes(data)
    told = []
    return read_rows(path, told.append), told


def test_what_is_written_is_read_and_a_line_stays_a_flat_object(log):
    assert read(log, WHOLE) == (ROWS, [])
    for line, row in zip(WHOLE.splitlines(), ROWS, strict=True):
        assert json.loads(line) == row | {CHECK: json.loads(line)[CHECK]}
        assert list(json.loads(line))[-1] == CHECK


def test_no_reader_takes_the_check_for_a_metric(log):
    log.write_bytes(WHOLE)
    curves = Run(log.parent).curves
    assert list(curves) == list(ROWS[0])
    np.testing.assert_array_equal(curves["iteration"], [1, 2, 3, 4])


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_costs_its_line_alone_and_is_said_once(log, place, bit):
    data = bytearray(WHOLE)
    data[int(place * len(data))] ^= 1 << bit
    rows, told = read(log, data)
    assert all(row in ROWS for row in rows)
    ends = data.count(b"\n")
    assert len(rows) >= (3 if ends >= 4 else 2)  # two lines without an end between them are one
    assert len(told) == (len(rows) < 4 and data.endswith(b"\n"))


@pytest.mark.parametrize(
    ("lines", "kept", "says"),
    [
        ([0, b"garbage\n", 1], [0, 1], "line 2 cannot be read"),
        ([b"garbage\n", 0, b'{"iteration": 9}\n', 1, b"[1]\n"], [0, 1], "lines 1, 3, 5 cannot be read"),
        ([0, b'{"iteration": 2, "environment_steps": 20}\n', 2], [0, 2], "line 2 cannot be read"),
        ([0, b"\xff\xfe\n", 1], [0, 1], "line 2 cannot be read"),
        ([], [], None),
        ([0, 1, WHOLE[:20]], [0, 1], None),
    ],
    ids=["middle", "three", "no check", "no text", "empty", "unfinished"],
)
def test_bad_lines_are_named_once_and_left_out(log, lines, kept, says):
    every = WHOLE.splitlines(keepends=True)
    rows, told = read(log, b"".join(line if isinstance(line, bytes) else every[line] for line in lines))
    assert rows == [ROWS[i] for i in kept]
    assert len(told) == (says is not None)
    assert says is None or says in told[0]


def test_lines_of_earlier_versions_have_no_check(log):
    plain = [json.dumps(row).encode() + b"\n" for row in ROWS]
    assert read(log, b"".join(plain)) == (ROWS, [])
    rows, told = read(log, plain[0] + b"{\n" + plain[1])
    assert (rows, len(told)) == (ROWS[:2], 1)


def test_without_a_file_there_are_no_rows(tmp_path):
    assert read_rows(tmp_path / METRICS, pytest.fail) == []
