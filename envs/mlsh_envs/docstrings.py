"""Docstrings as pages: parts that several environments share are written once and inserted."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

Class = TypeVar("Class", bound=type)


def page(**parts: str) -> Callable[[Class], Class]:
    """Fills the docstring of a class: a line ``{NAME}`` is replaced by the part of that name.

    Args:
        parts: text by name, of one line or more.
    """

    def fill(class_: Class) -> Class:
        text = inspect.cleandoc(class_.__doc__ or "")
        for name, part in parts.items():
            text = text.replace(f"{{{name}}}", inspect.cleandoc(part))
        class_.__doc__ = text
        return class_

    return fill
