"""metrics.jsonl: a flat JSON object for each iteration, whose last entry is a checksum of the others.

    {"iteration": 1, "environment_steps": 60000, ..., "return/mean": 12.5, "check": 2774389087}

The checksum is the CRC-32 of the line without it: of everything before ``, "check"``, and a closing brace.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from mlsh_mpi.output import warn

METRICS = "metrics.jsonl"
CHECK = "check"
"""Name of a line's checksum, which is not a metric."""
ALWAYS = ("iteration", "environment_steps")
"""Entries of every row."""
LARGEST = 1e300
"""Somewhat less than the largest float; an integer in a damaged line may be larger."""
_CHECKED = re.compile(rb'(.*), "check": (\d+)\}', re.DOTALL)


def line_of(row: Mapping[str, float]) -> str:
    """A row as a line of the file, with its checksum."""
    text = json.dumps(row)
    return f'{text[:-1]}, "{CHECK}": {zlib.crc32(text.encode())}}}\n'


def read_rows(path: Path, tell: Callable[[str], None] = lambda note: warn(f"mlsh_mpi: {note}")) -> list[dict[str, float]]:
    """The rows of a metrics.jsonl without their checksums; empty if there is no such file.

    Lines of earlier versions have no checksums. An unfinished last line, as a killed job leaves it, is left out.

    Args:
        path: the file.
        tell: called with a sentence if lines are damaged, which are left out too.
    """
    data = b""
    with suppress(OSError):
        data = path.read_bytes() if path.is_file() else b""

    *lines, _ = data.split(b"\n")
    checked = [_CHECKED.fullmatch(line) for line in lines]
    has_checksums = any(checked)

    rows, damaged = [], []
    for number, (line, match) in enumerate(zip(lines, checked, strict=True), 1):
        row = _checked_row(match) if has_checksums else _row(line)
        if row is None:
            damaged.append(str(number))
        else:
            rows.append(row)

    if damaged:
        few = ", ".join(damaged[:10]) + f" and {len(damaged) - 10} more" * (len(damaged) > 10)
        tell(f"{path}: {'lines' if len(damaged) > 1 else 'line'} {few} cannot be read and will be left out")
    return rows


def _checked_row(match: re.Match[bytes] | None) -> dict[str, float] | None:
    if match is None or zlib.crc32(match[1] + b"}") != int(match[2]):
        return None
    return _row(match[1] + b"}")


def _row(line: bytes) -> dict[str, float] | None:
    """A line's row; None if it is damaged."""
    with suppress(ValueError, RecursionError):
        row = json.loads(line)
        if (
            isinstance(row, dict)
            and all(isinstance(row.get(name), int) for name in ALWAYS)
            and all(map(_is_number, row.values()))
        ):
            return row
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not abs(value) > LARGEST
