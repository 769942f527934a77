"""launch/METRICS.md as the tests read it: which logged metric has which row."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "launch" / "METRICS.md"
STANDS_FOR = {"TASK": ".+", "NAME": "[^/]+", r"_k\b": r"_\\d+"}


def rows():
    """Every metric that the page names, as it stands there."""
    first_cells = re.findall(r"^\| (`.*?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [name for cell in first_cells for name in re.findall(r"`(.+?)`", cell)]


def matches(row, name):
    """Whether a row means a logged metric."""
    pattern = re.escape(row)
    for placeholder, meaning in STANDS_FOR.items():
        pattern = re.sub(placeholder, meaning, pattern)
    return re.fullmatch(pattern, name) is not None


def unexplained(names):
    """The logged metrics without a row. A line's checksum is none."""
    return sorted(name for name in set(names) - {"check"} if not any(matches(row, name) for row in rows()))
