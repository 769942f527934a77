"""The pages that are made from docstrings, and the site of all pages."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlsh_mpi.mpi.early_interrupt import INTERRUPTED
from mlsh_mpi.mpi.job import CONTINUE
from mlsh_mpi.tracking.explained import EXIT_CODES

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "launch" / "docs"


def program(name):
    """A program of launch/docs as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MADE = program("reference").pages()


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_made_pages_are_up_to_date(path):
    assert path.read_text(encoding="utf-8") == MADE[path], "run: python launch/docs/reference.py"


def test_every_option_and_every_public_name_is_on_its_page():
    options, names = MADE[DOCS / "options.md"], MADE[DOCS / "python.md"]
    for option in ("--groups", "--master.learning-rate", "--held-out", "--force-primitive", "--make", "--picture"):
        assert f"| `{option}` |" in options
    for name in ("## run", "## Primitives", "### Hierarchy.load", "## UserError"):
        assert f"\n{name}\n" in names


def test_the_exit_codes_are_those_of_the_code():
    assert {"0", "1", "2", str(CONTINUE), str(INTERRUPTED), "other"} == set(EXIT_CODES)


def build(checkout, out):
    command = [sys.executable, checkout / "launch/docs/site.py", "--out", out]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_the_site_is_built_without_a_warning(tmp_path):
    result = build(ROOT, tmp_path / "site")
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr
    for page in ("index.html", "envs/pages/AntMaze.html", "launch/paper/index.html", "search/search_index.json"):
        assert (tmp_path / "site" / page).exists()
    assert (tmp_path / "site/launch/paper/fig4a/fig4a.png").exists()


@pytest.mark.parametrize(
    ("page", "text"), [("CONTRIBUTING.md", "[x](nowhere.md)"), ("CONTRIBUTING.md", "[x](README.md#no)"), ("envs/new.md", "# New")]
)
def test_a_dead_link_and_a_page_in_no_menu_fail(tmp_path, page, text):
    shutil.copytree(ROOT, tmp_path / "checkout", ignore=lambda _, names: list(filter(_is_left_out, names)))
    with (tmp_path / "checkout" / page).open("a", encoding="utf-8") as file:
        file.write(f"\n{text}\n")
    result = build(tmp_path / "checkout", tmp_path / "site")
    assert result.returncode == 1
    assert "WARNING" in result.stderr


def _is_left_out(name):
    return name.startswith(".") or name in ("runs", "build", "__pycache__") or name.endswith((".egg-info", ".pt"))
