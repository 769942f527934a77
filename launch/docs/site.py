"""Builds a site of all pages, with search; fails if a link leads nowhere or a page is in no menu.

    pip install -e .[docs]
    python launch/docs/site.py            # into site/: open site/README.html
    python launch/docs/site.py --serve    # at http://127.0.0.1:8000

The pages stay in the folders that they are about. mkdocs wants them in one, so they are copied with what they link to.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("envs", "launch", "mlsh_mpi", "tests")
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s#]+)(#[^)\s]*)?\)")


def pages() -> list[Path]:
    """All pages, relative to the top folder."""
    found = [*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in ROOT.joinpath(folder).rglob("*.md"))]
    return sorted(page.relative_to(ROOT) for page in found)


def copy_pages(docs: Path) -> None:
    """Copies the pages and the files that they link to. A link to a folder becomes one to its page, or plain text."""
    for page in pages():
        (docs / page).parent.mkdir(parents=True, exist_ok=True)
        text = LINK.sub(lambda match, page=page: _link(match, page, docs), (ROOT / page).read_text(encoding="utf-8"))
        (docs / page).write_text(text, encoding="utf-8")


def _link(match: re.Match[str], page: Path, docs: Path) -> str:
    label, target, anchor = match.groups()
    if re.match(r"\w+:", target):
        return match[0]

    path = (ROOT / page.parent / target).resolve()
    if path.is_dir():
        if (path / "README.md").exists():
            return f"{label}({target.rstrip('/')}/README.md{anchor or ''})"
        return label.strip("![]")

    if path.is_file() and path.suffix != ".md":
        copy = docs / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return match[0]


def main() -> int:
    """Builds or serves the site."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", action="store_true", help="serve it at http://127.0.0.1:8000 instead")
    parser.add_argument("--out", type=Path, default=Path("site"), help="folder to write (default: site)")
    given = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        copy_pages(source / "docs")
        shutil.copyfile(Path(__file__).with_name("mkdocs.yml"), source / "mkdocs.yml")
        what = ["serve"] if given.serve else ["build", "--strict", "--site-dir", str(given.out.resolve())]
        environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
        return subprocess.run([sys.executable, "-m", "mkdocs", *what], cwd=source, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
