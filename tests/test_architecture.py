"""Who may import whom, and how long things may be: read from the sources, nothing is run."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = {
    f"{package}/{path.relative_to(folder).as_posix()}": path
    for package, folder in (("mlsh_mpi", ROOT / "mlsh_mpi"), ("mlsh_envs", ROOT / "envs"))
    for path in sorted(folder.rglob("*.py"))
}
ENVIRONMENTS = [name for name in MODULES if name.startswith("mlsh_envs/")]


def imported(name):
    """Dotted names of everything a module imports, wherever in it: modules, and what is taken from them."""
    names = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = name.removesuffix(".py").split("/")[: -node.level] if node.level else []
            source = ".".join([*package, *([node.module] if node.module else [])])
            names |= {f"{source}.{alias.name}" for alias in node.names}
    return names


def top_level(name):
    return {dotted.split(".")[0] for dotted in imported(name)}


def arrows(name):
    """The package's own modules that a module imports, as names of MODULES."""
    found = set()
    for dotted in imported(name):
        parts = dotted.split(".")
        for end in range(len(parts), 0, -1):
            file = "/".join(parts[:end])
            if (target := next((t for t in (f"{file}.py", f"{file}/__init__.py") if t in MODULES), None)) is not None:
                found.add(target)
                break
    return found - {"mlsh_mpi/__init__.py"}


def test_the_walk_sees_imports():
    assert "mlsh_mpi/policies.py" in arrows("mlsh_mpi/ppo.py")
    assert {"mpi4py", "numpy", "mlsh_mpi"} <= top_level("mlsh_mpi/comm.py")
    assert "mlsh_envs/plane.py" in arrows("mlsh_envs/moving_bandits.py")


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environments_know_neither_the_trainer_nor_what_it_is_built_on(name):
    assert not top_level(name) & {"torch", "mpi4py", "mlsh_mpi"}


def test_one_module_imports_mpi4py():
    assert [name for name in MODULES if "mpi4py" in top_level(name)] == ["mlsh_mpi/comm.py"]


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        *(
            (f"mlsh_mpi/{leaf}.py", {"errors"})
            for leaf in "schedule seeding advantage hosting launchers output software crowd".split()
        ),
        ("mlsh_mpi/errors.py", {"output"}),
        ("mlsh_mpi/config.py", {"errors", "ranges"}),
        ("mlsh_mpi/ranges.py", {"errors"}),
        ("mlsh_mpi/returns.py", {"policies"}),
        ("mlsh_mpi/memory.py", {"advantage"}),
        ("mlsh_mpi/watch.py", {"launchers"}),
        ("mlsh_mpi/filters.py", set()),
        ("mlsh_mpi/actions.py", {"errors"}),
        ("mlsh_mpi/lanes.py", {"actions", "errors"}),
        ("mlsh_mpi/heads.py", {"errors"}),
        ("mlsh_mpi/presets.py", {"config", "errors"}),
        ("mlsh_mpi/policies.py", {"errors", "heads"}),
        ("mlsh_mpi/comm.py", {"crowd", "errors", "output", "software", "watch"}),
        ("mlsh_mpi/checkpoint.py", {"errors"}),
        ("mlsh_mpi/ppo.py", {"config", "gradients", "policies"}),
        ("mlsh_mpi/gradients.py", {"config", "policies"}),
    ],
)
def test_leaves_import_only_what_they_may(name, allowed):
    assert arrows(name) <= {f"mlsh_mpi/{module}.py" for module in allowed}


@pytest.mark.parametrize("name", MODULES)
def test_text_files_are_utf_8_whatever_the_language_of_the_system(name):
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            mode = next((arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)), "")
            if called in ("read_text", "write_text") or (called == "open" and "b" not in mode and not is_no_file(node)):
                assert "encoding" in {keyword.arg for keyword in node.keywords}, f"line {node.lineno}: {ast.unparse(node)}"


def is_no_file(call):
    """os.open gives a descriptor, and an archive or a job is no text."""
    return isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in ("os", "Image", "current", "webbrowser")


@pytest.mark.parametrize("name", MODULES)
def test_long_modules_and_functions_say_why_at_the_top(name):
    """At most 300 lines a module and 50 a function, docstrings not counted; else "long" stands in the first lines."""
    text = MODULES[name].read_text(encoding="utf-8")
    tree = ast.parse(text)
    lines = text.splitlines()
    too_long = [f"the module: {len(lines)}"] if len(lines) > 300 else []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (length := code_lines(node)) > 50:
            too_long.append(f"{node.name}: {length}")
    top = "\n".join(lines[: tree.body[0].end_lineno + 5]) if tree.body else ""
    assert not too_long or re.search(r"\blong\b", top), f"lines of {', '.join(too_long)}"


def code_lines(function):
    docstring = function.body[0] if ast.get_docstring(function, clean=False) is not None else None
    hidden = docstring.end_lineno - docstring.lineno + 1 if docstring else 0
    return function.end_lineno - function.lineno + 1 - hidden
