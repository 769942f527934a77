"""Writes the reference pages from docstrings: options, Python, a page for each environment; metrics, files, exit codes.

    python launch/docs/reference.py           # after a docstring or an option has changed; a test compares

Needs griffelib, which the extras `docs` and `test` install.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import griffe

import mlsh_envs
import mlsh_mpi
from mlsh_mpi.commands.cli import AdaptCommandLine, CommandLine, ReplayCommandLine, options_of_commands
from mlsh_mpi.commands.completion import OF_FUNCTIONS
from mlsh_mpi.commands.start import COMMANDS
from mlsh_mpi.config.adaptation import AdaptConfig
from mlsh_mpi.config.parsing import Option, options_of, takes
from mlsh_mpi.config.presets import PRESETS
from mlsh_mpi.config.settings import PREFIXED
from mlsh_mpi.tracking.explained import EXIT_CODES, FILES, METRICS

ROOT = Path(__file__).resolve().parents[2]
MADE = "<!-- made by launch/docs/reference.py: change the docstrings instead -->"
TITLES = {"primitive": "PPO of primitives", "master": "PPO of masters"}
"""Headings of groups of options where they are not the name of the settings."""
SECTION = {griffe.DocstringSectionKind.parameters: "Arguments", griffe.DocstringSectionKind.raises: "Raises"}


def pages() -> dict[Path, str]:
    """Every generated page by its path."""
    found = {
        ROOT / "launch/docs/options.md": options_page(),
        ROOT / "launch/docs/python.md": python_page(),
    }
    found |= {ROOT / f"envs/pages/{name}.md": environment_page(name) for name in mlsh_envs.FAMILIES}
    return found | {ROOT / name: with_tables(ROOT / name, tables) for name, tables in explained_tables().items()}


# Options


def options_page() -> str:
    """All options of all commands."""
    lines = [
        "# Options",
        MADE,
        "`mlsh train -h` shows the options that most users need, `--help` all of them, with the defaults of the preset that you "
        "name. The defaults below are those of `moving-bandits`. In Python they are arguments with underscores: "
        "`mlsh_mpi.run(macro_length=5, primitive_learning_rate=1e-3)`. A flag is switched off by `--no-` before its name "
        "(`--master.no-standardise-values`).",
    ]
    commands = options_of_commands()
    seen = set[str]()
    for name, (module, summary, first) in COMMANDS.items():
        lines.append(f"## mlsh {name} {first}".rstrip())
        lines.append(f"{summary[0].upper()}{summary[1:]}.")
        if name in OF_FUNCTIONS:
            function = getattr(import_module(module), OF_FUNCTIONS[name])
            lines.append(table(options_of(function), lambda option, f=function: argument_of(f, option)))
        elif name in commands:
            own = [option for option in commands[name] if option.name not in seen]
            if name != "train":
                others = [option.name for option in commands[name] if option.name in seen]
                lines.append(
                    f"{len(others)} options of `mlsh train` mean the same here; `mlsh {name} RUN --help` lists them. Its own:"
                )
            lines += grouped(name, own)
            seen |= {option.name for option in own}
    return paragraphs(lines)


def grouped(command: str, options: Sequence[Option]) -> Iterator[str]:
    """A table for each group of options, under the heading of its dataclass."""
    settings = PRESETS["moving-bandits"].config
    after = AdaptConfig(**vars(settings))
    line = {"train": CommandLine(settings), "adapt": AdaptCommandLine(after), "replay": ReplayCommandLine(after)}[command]

    sections = {"": line, **vars(line.settings), **{name: value for name, value in vars(line).items() if name != "settings"}}
    for name, values in sections.items():
        if not dataclasses.is_dataclass(values):
            continue
        prefix = f"{name}." if name in PREFIXED else ""
        names = {"--" + (prefix + field.name).replace("_", "-"): field.name for field in dataclasses.fields(values)}
        own = [option for option in options if option.name in names]
        if not own:
            continue
        if name:
            yield f"### {TITLES.get(name, name.capitalize())}"
            yield one_line(inspect.getdoc(type(values)) or "")
        yield table(own, lambda option, n=names, v=values: field_of(v, n[option.name]))


def table(options: Any, describe: Any) -> str:
    """Rows of options: name, what it takes, default, meaning."""
    rows = ["| option | takes | default | |", "|---|---|---|---|"]
    for option in options:
        default, text = describe(option)
        rows.append(f"| `{option.name}` | {cell(takes(option.annotation))} | {cell(default)} | {cell(text)} |")
    return "\n".join(rows)


def field_of(values: Any, name: str) -> tuple[str, str]:
    """Default and docstring of a dataclass's field."""
    hint = get_type_hints(type(values), include_extras=True)[name]
    helps = [mark.help for mark in getattr(hint, "__metadata__", ()) if getattr(mark, "help", None)]
    return shown(getattr(values, name)), helps[0] if helps else docstring_of(type(values), name)


def argument_of(function: Any, option: Option) -> tuple[str, str]:
    """Default and description of a function's argument."""
    name = option.name.removeprefix("--").replace("-", "_")
    default = inspect.signature(function).parameters[name].default
    described = {one.name: one.description for one in sections_of(function)[griffe.DocstringSectionKind.parameters]}
    return shown(default), described[name]


def docstring_of(kind: type, name: str) -> str:
    """The string below a field of a dataclass, wherever in its bases that is."""
    for base in kind.__mro__:
        if base.__module__.startswith("mlsh"):
            member = module_of(base.__module__)[base.__name__].members.get(name)
            if member is not None and member.docstring is not None:
                return member.docstring.value
    raise SystemExit(f"{kind.__name__}.{name} has no docstring")


# Python


def python_page() -> str:
    """Every public function and class of mlsh_mpi."""
    lines = [
        "# Python",
        MADE,
        "Everything that `import mlsh_mpi` offers. `run` and `adapt` train; the rest acts with what was trained and needs "
        "neither MPI nor the environment of the training. [The environments](../../envs/README.md#environments) have pages of "
        "their own.",
    ]
    for name in sorted(mlsh_mpi.__all__, key=lambda name: (not name.islower(), name)):
        lines += described(getattr(mlsh_mpi, name))
    return paragraphs(lines)


def described(value: Any) -> Iterator[str]:
    """A function, or a class with its public methods and attributes."""
    found = module_of(value.__module__)[value.__name__]
    yield f"## {value.__name__}"
    if inspect.isfunction(value):
        yield from body(found, signature_of(found))
        return

    fields = [m for m in found.members.values() if m.is_attribute and not m.name.startswith("_") and m.docstring]
    init = found.members.get("__init__")
    yield from body(found, signature_of(init).replace("__init__", value.__name__, 1) if init is not None else "")
    if fields:
        rows = [
            f"| `{m.name}` | {cell(code(m.annotation)) if m.annotation else ''} | {cell(m.docstring.value)} |" for m in fields
        ]
        yield "\n".join(["| attribute | type | |", "|---|---|---|", *rows])
    for member in found.members.values():
        if member.is_function and not member.name.startswith("_") and member.docstring is not None:
            yield f"### {value.__name__}.{member.name}"
            yield from body(member, signature_of(member))


def body(member: Any, signature: str) -> Iterator[str]:
    """Signature, text, arguments, result and errors."""
    if signature:
        yield f"```python\n{signature}\n```"
    for section in member.docstring.parse("google", warnings=False):
        if section.kind is griffe.DocstringSectionKind.text:
            yield prose(section.value)
        elif section.kind is griffe.DocstringSectionKind.returns:
            yield "Returns: " + one_line(prose(" ".join(part.description for part in section.value)))
        elif section.kind in SECTION:
            rows = []
            for part in section.value:
                name = getattr(part, "name", None) or str(part.annotation)
                rows.append(f"- `{name}`: {one_line(prose(part.description))}")
            yield f"{SECTION[section.kind]}:"
            yield "\n".join(rows)


def signature_of(function: Any) -> str:
    """The signature, an argument a line if it is long; without self."""
    parameters = [p for p in function.parameters if p.name not in ("self", "cls")]
    parts, starred = [], False
    for parameter in parameters:
        if parameter.kind is griffe.ParameterKind.keyword_only and not starred:
            parts.append("*")
            starred = True
        star = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}.get(parameter.kind, "")
        text = f"{star}{parameter.name}" + (f": {parameter.annotation}" if parameter.annotation is not None else "")
        parts.append(text + (f" = {parameter.default}" if parameter.default is not None and not star else ""))
    result = f" -> {function.returns}" if function.returns is not None and function.name != "__init__" else ""
    one = f"{function.name}({', '.join(parts)}){result}"
    return one if len(one) <= 100 else f"{function.name}(\n    " + ",\n    ".join(parts) + f",\n){result}"


# Environments


def environment_page(name: str) -> str:
    """The docstring of an environment's class, with its picture and how to make it."""
    class_ = getattr(mlsh_envs, name)
    text = inspect.getdoc(class_) or ""
    made = f'```python\nimport gymnasium as gym, mlsh_envs\n\nenv = gym.make("mlsh/{name}-v0")\n```'
    presets = [preset for preset, one in PRESETS.items() if one.config.environment.env == f"mlsh/{name}-v0"]
    trained = (
        f"Presets that train in it: {', '.join(f'`{preset}`' for preset in presets)}." if presets else "No preset trains in it."
    )
    return paragraphs([f"# {name}", MADE, f"![{name}](../pictures/{name}.png)", made, trained, prose(text)])


# Metrics, files, exit codes: tables on pages that are otherwise written by hand


def explained_tables() -> dict[str, dict[str, str]]:
    """The tables that belong on a page, by their marks."""
    metrics = {}
    for section, rows in METRICS.items():
        lines = [f"| {names_of(names)} | {unit}{unit and ' '}| {pipes(text)} |" for names, (unit, text) in rows.items()]
        metrics[section.lower().replace(" ", "-")] = "\n".join(["| metric | unit | meaning |", "|---|---|---|", *lines])
    files = [f"| {names_of(names)} | {text} |" for names, text in FILES.items()]
    codes = [f"| {code} | {text} |" for code, text in EXIT_CODES.items()]
    return {
        "launch/METRICS.md": metrics,
        "launch/run-folder.md": {"files": "\n".join(["| file | content |", "|---|---|", *files])},
        "launch/resume.md": {"exit codes": "\n".join(["| code | meaning |", "|---|---|", *codes])},
    }


def with_tables(page: Path, tables: Mapping[str, str]) -> str:
    """The text of a page with its tables between their marks."""
    text = page.read_text(encoding="utf-8")
    for name, rows in tables.items():
        mark = f"<!-- {name}: made by launch/docs/reference.py -->"
        before, begin, rest = text.partition(mark)
        _, end, after = rest.partition("<!-- end -->")
        if not (begin and end):
            raise SystemExit(f"{page} has no place for the table {name!r}: write {mark} and <!-- end --> there")
        text = f"{before}{begin}\n\n{rows}\n\n{end}{after}"
    return text


def names_of(names: str) -> str:
    """Several names as code."""
    return ", ".join(f"`{name}`" for name in names.split(", "))


def pipes(text: str) -> str:
    """A text whose pipes do not end a cell."""
    return text.replace("|", "\\|")


# Text


@cache
def module_of(name: str) -> Any:
    """A module as griffe reads it."""
    return griffe.load(name, try_relative_path=False)


def sections_of(function: Any) -> Mapping[Any, Any]:
    """The sections of a function's docstring by their kind."""
    found = module_of(function.__module__)[function.__name__]
    return {section.kind: section.value for section in found.docstring.parse("google", warnings=False)}


def prose(text: str) -> str:
    """A docstring as Markdown: roles and double backquotes become code."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return re.sub(r"``([^`]+)``", r"`\1`", text).replace("::\n", ":\n")


def one_line(text: str) -> str:
    """A text without line breaks."""
    return " ".join(text.split())


def cell(text: str) -> str:
    """A text in a table's cell."""
    return pipes(one_line(prose(text)))


def code(annotation: Any) -> str:
    """An annotation as code."""
    return f"`{annotation}`"


def shown(value: Any) -> str:
    """A default as a user would type it."""
    if value in (None, (), ""):
        return ""
    if isinstance(value, (tuple, list)):
        return f"`{' '.join(map(str, value))}`"
    return f"`{value}`" if not isinstance(value, bool) else ("on" if value else "off")


def paragraphs(lines: Sequence[str]) -> str:
    """Lines as a page."""
    return "\n\n".join(line for line in lines if line) + "\n"


def main() -> None:
    """Writes all pages."""
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    sys.exit(main())
