"""Parses command lines with tyro, and reports a mistake in one sentence: the option, its rule and the value given."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from mlsh_mpi.config.settings import PREFIXED
from mlsh_mpi.errors import UserError, nearest
from mlsh_mpi.output import discard

T = TypeVar("T")
HELP_FLAGS = {"-h", "--help"}
"""Arguments that ask for help."""
WORDS: dict[Any, tuple[str, str]] = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a word", "words"),
    Path: ("a path", "paths"),
}
"""What an option of a type takes, in the singular and the plural."""
HIDDEN: Any = tyro.conf.Suppress[str].__metadata__[0]  # type: ignore[attr-defined]
"""Marks an option that help does not show."""
COUNTS = ("no", "one", "two", "three", "four")


def parsed(kind: Callable[..., T], arguments: Sequence[str], **others: Any) -> T:
    """Parses a command line into a dataclass, or calls a function with it.

    Args:
        kind: the dataclass that is filled, or the function that is called.
        arguments: the words of the command line.
        others: other arguments of ``tyro.cli``.

    Raises:
        UserError: an option or a value is unknown.
    """
    # A function is called only after parsing, so that its own output is not taken for tyro's.
    filled: Any = kind
    if not isinstance(kind, type):
        filled = functools.wraps(kind)(functools.partial(functools.partial, kind))
        others = {"description": inspect.cleandoc(kind.__doc__ or "").partition("\n\nArgs:")[0], **others}

    stderr = io.StringIO()
    try:
        with contextlib.nullcontext() if HELP_FLAGS & set(arguments) else contextlib.redirect_stderr(stderr):
            result: Any = tyro.cli(filled, args=arguments, **others)
    except BrokenPipeError:  # whoever read the help has seen enough
        discard(sys.stdout)
        sys.exit()
    except SystemExit:
        if not stderr.getvalue():
            raise
        options = {word: option.annotation for option in options_of(kind) for word in option.words}
        raise UserError(_one_line_error(stderr.getvalue(), arguments, options)) from None
    return result() if isinstance(result, functools.partial) else result


@dataclass(frozen=True)
class Option:
    """An option of a command."""

    name: str
    """With its dashes: --master.learning-rate."""
    annotation: Any
    """Type of its value."""
    has_opposite: bool
    """Whether a flag also has a form with no-: --no-stratify-tasks, --master.no-standardise-values."""

    @property
    def is_flag(self) -> bool:
        """Whether it takes no value."""
        return self.annotation is bool

    @property
    def words(self) -> list[str]:
        """The forms in which it may be written."""
        prefix, dot, last = self.name.removeprefix("--").rpartition(".")
        return [self.name, f"--{prefix}{dot}no-{last}"] if self.is_flag and self.has_opposite else [self.name]


def options_of(kind: Any, prefix: str = "") -> Iterator[Option]:
    """Every option of a dataclass or function that is shown in its help."""
    plain = get_type_hints(kind)
    for name, hint in get_type_hints(kind, include_extras=True).items():
        marks, annotation = getattr(hint, "__metadata__", ()), plain[name]
        if name == "return" or HIDDEN in marks or tyro.conf.Positional in marks:
            continue
        if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
            yield from options_of(annotation, f"{name}." if name in PREFIXED else "")
        else:
            option = "--" + (prefix + name).replace("_", "-")
            yield Option(option, annotation, tyro.conf.FlagCreatePairsOff not in marks)


def takes(annotation: Any) -> str:
    """What an option of this type takes, in words."""
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return " or ".join("None" if kind is NoneType else _takes_one(kind) for kind in kinds)


def _takes_one(kind: Any) -> str:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin is tuple:
        plural = WORDS.get(parts[0], ("", "values"))[1]
        return plural if parts[-1] is Ellipsis else f"{COUNTS[len(parts)]} {plural}"
    return "no value" if kind is bool else WORDS.get(kind, ("a value", ""))[0]


def _one_line_error(box: str, arguments: Sequence[str], options: Mapping[str, Any]) -> str:
    """Tyro's boxed message as one sentence of our own, with the nearest option if one is mistyped."""
    unknown = _unknown_option(arguments, options)
    if unknown:
        return unknown

    text = _text_of(box)
    match = re.search(r"--[\w.-]*\w", text)
    option = match[0].lower() if match else ""
    if text.lower().startswith("unrecognized"):
        return _unrecognized(text.partition(":")[2].strip(), arguments, options)
    if option not in options:
        return f"{text[0].lower()}{text[1:]}: --help lists options and values"

    values, expected = _values_of(option, arguments), takes(options[option])
    if not values:
        return f"missing value for {option}, which takes {expected}"
    hint = nearest(values[0], [str(choice) for choice in choices(options[option])])
    return f"{option} takes {expected}, not {' '.join(map(repr, values))}{hint}"


def _unknown_option(arguments: Sequence[str], options: Mapping[str, Any]) -> str:
    for argument in arguments:
        word = argument.split("=")[0]
        if word.startswith("--") and _plain(word) not in options:
            return f"there is no option {word}{nearest(word, list(options))}: --help lists them all"
    return ""


def _unrecognized(words: str, arguments: Sequence[str], options: Mapping[str, Any]) -> str:
    """The mistake in words that belong to no option."""
    if words.startswith("--"):
        return f"there is no option {words}: --help lists them all"
    first = words.split()[0] if words else ""
    place = list(arguments).index(first) if first in arguments else 0
    before = next((word for word in reversed(arguments[:place]) if word.startswith("--")), "")
    expected = f"; {before} takes {takes(options[_plain(before)])}" if _plain(before) in options else ""
    return f"unrecognized: {words}{expected}. Options begin with --, and arguments without an option come first"


def _text_of(box: str) -> str:
    """The message in tyro's box, as one line."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)  # a launcher may give its ranks a terminal, where tyro uses colours
    lines = [line.strip("│ ") for line in plain.splitlines() if line.startswith("│")]
    end = next((i for i, line in enumerate(lines) if line.startswith("──")), len(lines))
    return " ".join(lines[:end]).rstrip(".") or " ".join(plain.split())


def _values_of(option: str, arguments: Sequence[str]) -> list[str]:
    """The words after the last mention of an option."""
    values: list[str] = []
    for place, argument in enumerate(arguments):
        word, given, value = argument.partition("=")
        if _plain(word) == option:
            rest = arguments[place + 1 :]
            end = next((i for i, word in enumerate(rest) if word.startswith("--")), len(rest))
            values = [value] if given else list(rest[:end])
    return values


def choices(annotation: Any) -> Iterator[Any]:
    """The values that a type lists, such as a Literal."""
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    else:
        for part in get_args(annotation):
            yield from choices(part)


def _plain(word: str) -> str:
    """An option as it is listed: with dashes, in lower case."""
    return word.replace("_", "-").lower()
