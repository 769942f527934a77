"""A script that completes the command ``mlsh`` in a shell: its commands, presets, runs, options and their values.

The script is static, so that a shell need not start Python: it only looks up the runs below runs/, when they are completed.
"""

from __future__ import annotations

import itertools
import shlex
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from mlsh_mpi import __version__
from mlsh_mpi.commands.cli import options_of_commands
from mlsh_mpi.commands.start import COMMANDS
from mlsh_mpi.config.methods import BASELINES
from mlsh_mpi.config.parsing import Option, choices, options_of
from mlsh_mpi.config.presets import PRESETS
from mlsh_mpi.errors import UserError, exit_on_user_error, nearest
from mlsh_mpi.output import say
from mlsh_mpi.policies.pretrained import all_pretrained, paper_folder
from mlsh_mpi.sampling.environment_maker import known_environments

SHELLS = ("bash", "zsh")
OF_FUNCTIONS = {"export": "export", "figures": "figures", "publish": "publish", "report": "report", "seeds": "seeds"}
"""Commands whose options are the arguments of a function of this name in their module."""
WITH_RUNS = ("adapt", "replay", "export", "publish", "report", "seeds")
"""Commands that take the name of a run."""
WITH_MANY = ("figures", "publish", "report", "seeds")
"""Commands that take several words without an option."""
FILES = 'compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$word")); return'
"""Offers file names."""
BEFORE = {
    "bash": "",
    "zsh": "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n",
}
"""What a shell needs first."""
SCRIPT = """# Completes the command mlsh ({version}), as `mlsh completion {shell}` has printed it.
{before}_mlsh() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} words='' options='' runs='' many=''
    COMPREPLY=()

    # A shell may split --option=value.
    if [[ $word == = ]]; then
        word=''
    elif [[ $previous == = ]]; then
        previous=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi

    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W {commands} -- "$word"))
        return
    fi
    case $previous in
{values}
    esac
    case ${{COMP_WORDS[1]}} in
{arguments}
    esac

    # Positional arguments come first, and only some commands take more than one.
    if [[ $word == -* || ! $many && $COMP_CWORD -gt 2 ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
        return
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    [[ $runs ]] || return 0

    local IFS=$'\\n' # names of folders may have spaces
    compopt -o filenames 2>/dev/null
    if [[ $word == runs/* ]]; then
        COMPREPLY+=($(compgen -d -- "$word"))
    elif [[ runs/ == "$word"* ]]; then
        COMPREPLY+=($(compgen -d -- runs/))
    fi
    [[ ${{COMPREPLY[*]-}} ]] || COMPREPLY=($(compgen -d -- "$word"))
    COMPREPLY+=($(compgen -f -X '!*.pt' -- "$word"))
}}
complete -F _mlsh mlsh
"""


def main() -> None:
    """Entry point of ``mlsh completion``."""
    with exit_on_user_error():
        shell = sys.argv[1] if len(sys.argv) > 1 else ""
        if shell in ("-h", "--help"):
            return say("mlsh completion bash > FILE: a script for your shell to read; zsh in place of bash")
        if shell not in SHELLS:
            raise UserError(f"name your shell{nearest(shell, SHELLS)}: mlsh completion {' or '.join(SHELLS)}")
        return say(script(shell))


def script(shell: str) -> str:
    """The script for a shell."""
    options = dict(_options())
    values: dict[str, list[str]] = {}
    for option in itertools.chain(*options.values()):
        names = values.setdefault(_of_value(option), [])
        names += [option.name] if not option.is_flag and option.name not in names else []
    return SCRIPT.format(
        version=__version__,
        shell=shell,
        before=BEFORE[shell],
        commands=_listed([*COMMANDS, "--help", "--version"]),
        values="\n".join(f"        {'|'.join(names)}) {what} ;;" for what, names in values.items() if names),
        arguments="\n".join(_of_command(name, options.get(name, [])) for name in COMMANDS),
    ).rstrip()


def _options() -> Iterator[tuple[str, list[Option]]]:
    """Every command that has options, with its options."""
    yield from options_of_commands().items()
    for name, function in OF_FUNCTIONS.items():
        yield name, list(options_of(getattr(import_module(COMMANDS[name][0]), function)))


def _of_value(option: Option) -> str:
    """What to do after an option: offer its values or files, or nothing."""
    if option.name == "--env":
        named: Iterable[str] = known_environments()
    elif option.annotation in (Path, Path | None, tuple[Path, ...]) or option.name == "--folder":
        return FILES
    else:
        named = map(str, choices(option.annotation))
    return f'COMPREPLY=($(compgen -W {_listed(named)} -- "$word")); return'


def _of_command(name: str, options: list[Option]) -> str:
    """What may follow a command."""
    named = [word for option in options for word in option.words]
    takes = " runs=yes" * (name in WITH_RUNS) + " many=yes" * (name in WITH_MANY)
    return f"        {name}) words={_listed(_first(name))} options={_listed([*named, '--help'])}{takes} ;;"


def _first(name: str) -> list[str]:
    """What the first argument of a command may be, apart from runs."""
    firsts: dict[str, Any] = {
        "train": [*PRESETS, *(f"{preset}-{baseline}" for preset in PRESETS for baseline in BASELINES)],
        "adapt": all_pretrained(),
        "replay": all_pretrained(),
        "export": all_pretrained(),
        "figures": [*sorted(file.parent.name for file in paper_folder().glob("*/curves.csv")), "all"],
        "completion": SHELLS,
    }
    return list(firsts.get(name, ()))


def _listed(words: Iterable[str]) -> str:
    """Words, quoted as one word for a shell."""
    return shlex.quote(" ".join(words))
