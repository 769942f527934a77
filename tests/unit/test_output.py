"""What people read must never be why a run fails."""

import io
import os

import pytest

from mlsh_mpi import output

TABLE = "┏━━━┳━━━┓\n┃ a ┃ b ┃\n┡━━━╇━━━┩\n│ 1 │ ² │\n└───┴───┘"


def said(monkeypatch, stream):
    monkeypatch.setattr("sys.stdout", stream)
    output.say(TABLE)


@pytest.mark.parametrize(("encoding", "last"), [("ascii", "| 1 | 2 |"), ("latin-1", "| 1 | 2 |"), ("utf-8", "│ 1 │ ² │")])
def test_a_table_is_drawn_with_the_letters_that_there_are(monkeypatch, encoding, last):
    raw = io.BytesIO()
    said(monkeypatch, io.TextIOWrapper(raw, encoding=encoding))
    lines = raw.getvalue().decode(encoding).splitlines()
    assert lines[3] == last
    assert len(lines) == 5
    assert encoding == "utf-8" or lines[0] == "+===+===+"


def test_a_reader_who_has_gone_is_not_asked_again(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        said(monkeypatch, stream)
        said(monkeypatch, stream)
        assert os.readlink(f"/proc/self/fd/{write}") == os.devnull


@pytest.mark.parametrize("kind", ["closed", "none"])
def test_a_stream_that_is_no_more_is_no_matter(monkeypatch, kind):
    stream = io.StringIO()
    stream.close()
    said(monkeypatch, stream if kind == "closed" else None)
