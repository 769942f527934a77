"""Mazes as text: a path or a map, and its translation into cells, walls and positions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

CELL = 16.0
"""Side of a cell in metres."""
STEP = {"n": (-1, 0), "s": (1, 0), "e": (0, 1), "w": (0, -1)}
"""Row and column of the neighbour in each direction; rows go south, columns east."""
PAPER_ROWS, PAPER_COLUMNS, PAPER_START = 3, 3, (1, 0)

Cell = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """A maze on the ground. The start cell's centre is (CELL / 2, 0); +x is east, +y north."""

    rows: int
    columns: int
    start: Cell
    open_cells: frozenset[Cell]
    goal: tuple[float, float]
    """x, y in metres."""

    def centre(self, cell: Cell) -> tuple[float, float]:
        """x, y of the middle of a cell, in metres."""
        return CELL * (cell[1] - self.start[1] + 0.5), CELL * (self.start[0] - cell[0])

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, east, south and north, in metres."""
        west, north = self.centre((0, 0))
        east, south = self.centre((self.rows - 1, self.columns - 1))
        half = CELL / 2
        return west - half, east + half, south - half, north + half

    @property
    def blocks(self) -> list[Cell]:
        """Cells that are walls."""
        every = [(row, column) for row in range(self.rows) for column in range(self.columns)]
        return [cell for cell in every if cell not in self.open_cells]


@lru_cache(maxsize=64)
def layout(maze: str) -> Layout:
    """The layout of a maze.

    Args:
        maze: a path in the paper's grid, such as ``"enn"``: its 3x3 cells, from the middle of the western column one cell
            east and one north, with the goal on the north face of the last cell; cells off the path are walls. Or a map of
            any size, its rows joined by line ends or ``/``, within a frame of walls: ``#`` wall, ``.`` open, ``S`` the start,
            and either ``G``, the goal on the face of this wall (or this part of the frame) towards its open neighbour, or
            ``g``, the goal in the middle of this open cell.

    Raises:
        ValueError: it is neither a path nor a map, or the goal cannot be reached.
    """
    if maze and set(maze) <= STEP.keys():
        return _from_path(maze)
    return _from_map(maze)


def _from_path(maze: str) -> Layout:
    cell, path = PAPER_START, [PAPER_START]
    for direction in maze[:-1]:
        cell = _next(cell, direction)
        if not (0 <= cell[0] < PAPER_ROWS and 0 <= cell[1] < PAPER_COLUMNS):
            raise ValueError(f"the path {maze!r} leaves the grid of {PAPER_ROWS} x {PAPER_COLUMNS} cells before its last letter")
        path.append(cell)
    if _next(cell, maze[-1]) in path:
        raise ValueError(f"the path {maze!r} must end at a wall, but its last letter leads back to an open cell")
    return _laid_out(PAPER_ROWS, PAPER_COLUMNS, PAPER_START, frozenset(path), cell, maze[-1])


def _from_map(maze: str) -> Layout:
    lines = [line for line in map(str.strip, maze.replace("/", "\n").split("\n")) if line]
    wrong = sorted(set("".join(lines)) - set("#.SGg"))
    if wrong:
        raise ValueError(f"a maze is a path of the letters nsew or a map of the signs #.SGg, but {maze!r} has {''.join(wrong)!r}")
    if len({len(line) for line in lines}) != 1 or len(lines) < 3 or len(lines[0]) < 3:
        raise ValueError(f"a map has rows of one length, three or more of each, but {maze!r} has {[len(line) for line in lines]}")
    signs = {(r, c): sign for r, line in enumerate(lines) for c, sign in enumerate(line)}
    frame = [cell for cell in signs if cell[0] in (0, len(lines) - 1) or cell[1] in (0, len(lines[0]) - 1)]
    if any(signs[cell] not in "#G" for cell in frame):
        raise ValueError(f"a map needs a frame of # (or one G), but {maze!r} is open at its edge")
    starts = [cell for cell, sign in signs.items() if sign == "S"]
    goals = [cell for cell, sign in signs.items() if sign in "Gg"]
    if len(starts) != 1 or len(goals) != 1:
        raise ValueError(f"a map has one S and one goal, G or g, but {maze!r} has {len(starts)} and {len(goals)}")
    inner = {cell for cell, sign in signs.items() if sign in ".Sg"}
    reached = _reached(starts[0], inner)
    (goal,) = goals
    towards = ""
    if signs[goal] == "G":
        beside = [direction for direction in STEP if _next(goal, direction) in reached]
        if len(beside) != 1:
            raise ValueError(
                f"G must have exactly one open neighbour that can be reached from S, but in {maze!r} it has {len(beside)}"
            )
        goal, towards = _next(goal, beside[0]), {"n": "s", "s": "n", "e": "w", "w": "e"}[beside[0]]
    elif goal not in reached:
        raise ValueError(f"the goal of {maze!r} cannot be reached from S")
    cells = frozenset((row - 1, column - 1) for row, column in inner)
    start, last = ((row - 1, column - 1) for row, column in (starts[0], goal))
    return _laid_out(len(lines) - 2, len(lines[0]) - 2, start, cells, last, towards)


def _laid_out(rows: int, columns: int, start: Cell, cells: frozenset[Cell], last: Cell, towards: str) -> Layout:
    """The layout whose goal is in the middle of the last cell, or on one of its faces."""
    plain = Layout(rows, columns, start, cells, (0.0, 0.0))
    x, y = plain.centre(last)
    down, right = STEP[towards] if towards else (0, 0)
    return Layout(rows, columns, start, cells, (x + CELL / 2 * right, y - CELL / 2 * down))


def _reached(start: Cell, cells: set[Cell]) -> set[Cell]:
    reached, edge = {start}, [start]
    while edge:
        cell = edge.pop()
        new = {_next(cell, direction) for direction in STEP} & cells - reached
        reached |= new
        edge += new
    return reached


def _next(cell: Cell, direction: str) -> Cell:
    down, right = STEP[direction]
    return cell[0] + down, cell[1] + right
