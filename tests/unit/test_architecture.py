"""Who may import whom, and how long things may be: read from the sources, nothing is run."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = {
    f"{package}/{path.relative_to(folder).as_posix()}": path
    for package, folder in (("mlsh_mpi", ROOT / "mlsh_mpi"), ("mlsh_envs", ROOT / "envs/mlsh_envs"))
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


LAYERS = [
    {"__main__", "train", "api"},
    {"commands"},
    {"figures"},
    {"reporting"},
    {"baselines"},
    {"adaptation"},
    {"algorithm"},
    {"tracking", "policies"},
    {"sampling"},
    {"networks"},
    {"config", "mpi"},
    {"files"},
    {"errors"},
    {"output"},
]
"""From top to bottom. A folder or module imports its own and those of lower layers."""


def layer_of(name):
    """The number of the layer that a module of the trainer belongs to, and the folder or module that stands there."""
    part = name.split("/")[1].removesuffix(".py")
    return next(number for number, layer in enumerate(LAYERS) if part in layer), part


def test_the_walk_sees_imports():
    assert "mlsh_mpi/networks/actor_critic.py" in arrows("mlsh_mpi/algorithm/ppo.py")
    assert {"mpi4py", "cloudpickle", "mlsh_mpi"} <= top_level("mlsh_mpi/mpi/library.py")
    assert "mlsh_envs/point_world.py" in arrows("mlsh_envs/moving_bandits.py")


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environments_know_neither_the_trainer_nor_what_it_is_built_on(name):
    assert not top_level(name) & {"torch", "mpi4py", "mlsh_mpi"}


def test_one_module_imports_mpi4py():
    assert [name for name in MODULES if "mpi4py" in top_level(name)] == ["mlsh_mpi/mpi/library.py"]


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("mlsh_mpi/") and name != "mlsh_mpi/__init__.py"])
def test_imports_go_down(name):
    own, part = layer_of(name)
    for target in arrows(name) - set(ENVIRONMENTS):
        other, of_target = layer_of(target)
        assert other > own or of_target == part, target


def test_policies_act_without_trainer_and_mpi():
    """In a fresh interpreter, as a robot's would be."""
    modules = ", ".join(name.removesuffix(".py").replace("/", ".") for name in MODULES if "/policies/" in name)
    loaded = "sorted({name for name in sys.modules if name.split('.')[0] == 'mpi4py' or name.startswith('mlsh_mpi.')})"
    code = f"import sys, {modules}; mlsh_mpi.load, mlsh_mpi.Hierarchy; print(*{loaded})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "mlsh_mpi.policies.phi_file" in found
    parts = {name.split(".")[1] for name in found if name.startswith("mlsh_mpi.")}
    assert "mpi4py" not in found
    assert not parts & {"algorithm", "adaptation", "baselines", "tracking", "commands", "mpi"}


def test_no_modules_import_each_other_in_a_circle():
    left = {name: arrows(name) - {name} for name in MODULES}
    while ends := {name for name, targets in left.items() if not targets & left.keys()}:
        left = {name: targets for name, targets in left.items() if name not in ends}
    assert not left


@pytest.mark.parametrize("name", ["schedule", "advantage"])
def test_the_arithmetic_of_the_algorithm_imports_nothing_of_the_trainer(name):
    assert not arrows(f"mlsh_mpi/algorithm/{name}.py")


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
def test_modules_have_at_most_300_lines_and_functions_50(name):
    """Docstrings of functions, blank lines and comments are not counted in functions."""
    text = MODULES[name].read_text(encoding="utf-8")
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert len(text.splitlines()) <= 300
    assert not {node.name: length for node in functions if (length := code_lines(node, text)) > 50}


def code_lines(function, text):
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    head = text.splitlines()[function.lineno - 1 : function.body[0].lineno - 1]
    lines = [*head, *text.splitlines()[body[0].lineno - 1 : function.end_lineno]] if body else head
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in lines)
