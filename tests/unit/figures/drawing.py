"""Drawing of figures that a test names, in a folder of its own."""

import sys

from mlsh_mpi.commands import figures as command


def home_of(tmp_path, monkeypatch, figures, curves):
    """A folder in place of launch/paper, with these figures and these curves of the paper."""
    folder = tmp_path / "paper"
    folder.mkdir()
    (folder / "paper-curves.csv").write_text(curves)
    monkeypatch.setattr(command, "HOME", folder)
    monkeypatch.setattr(command, "FIGURES", figures)
    monkeypatch.chdir(tmp_path)
    return folder


def drawn(monkeypatch, *arguments):
    """Runs `mlsh figures` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["figures", *map(str, arguments)])
    command.main()
