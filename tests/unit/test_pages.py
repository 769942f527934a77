"""The pages for people: links lead somewhere, commands name what is there, and the first page stays short."""

import re
from pathlib import Path

import pytest

from mlsh_mpi.config.presets import preset_config

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("envs", "launch", "mlsh_mpi", "tests")
FOUND = [*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in ROOT.joinpath(folder).rglob("*.md"))]
PAGES = {page.relative_to(ROOT).as_posix(): page for page in sorted(FOUND) if page.name != "CHANGELOG.md"}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OTHER_THAN_TRAINING = {"adapt", "replay", "figures", "doctor"}

every_page = pytest.mark.parametrize("name", PAGES)


def text_of(page):
    """What is not in a block of code."""
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def commands_of(name):
    """Lines of the page's shell blocks, those that go on joined, without comments."""
    blocks = [code for language, code in BLOCK.findall(PAGES[name].read_text(encoding="utf-8")) if language == "sh"]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [command for line in lines if (command := re.sub(r"(^|\s)#.*", "", line).strip())]


def anchors_of(page):
    """Of the page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)", text_of(page), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def presets_of(command):
    """What a command trains: the first word behind a starter and its own options, if it is a preset's name."""
    words = re.sub(r" (-np|--hosts|--hostfile|--interface) \S+", "", command)
    named = re.findall(r"(?:local\.sh|hosts\.sh|train\.sbatch|mlsh_mpi\.train) ([a-z]\S*)", words)
    return (set(named) | set(re.findall(r"seeds\.sh .* -- ([a-z]\S*)", words))) - OTHER_THAN_TRAINING


def test_every_page_is_here_and_what_is_read_of_it_is_right():
    assert {"README.md", "launch/README.md", "mlsh_mpi/README.md", "envs/README.md", "tests/bench/README.md"} <= set(PAGES)
    assert "./launch/local.sh" in commands_of("README.md")
    assert presets_of("./launch/local.sh -np 8 moving-bandits --seed 3") == {"moving-bandits"}
    assert presets_of("launch/hosts.sh --hosts a:32,b:32 adapt runs/some") == set()
    assert presets_of("launch/slurm/seeds.sh 0-9 --nodes=1 -- four-rooms") == {"four-rooms"}


@every_page
def test_links_and_pictures_lead_somewhere(name):
    page = PAGES[name]
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


@every_page
def test_commands_name_what_is_there(name):
    for command in commands_of(name):
        for path in re.findall(r"(?<![\w/])(?:\./)?((?:launch|tests)/[\w./-]*\w)", command):
            assert (ROOT / path).exists(), command
        for module in re.findall(r"-m (mlsh_mpi[\w.]*)", command):
            path = ROOT.joinpath(*module.split("."))
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), command
        for preset in presets_of(command):
            preset_config(preset)


@every_page
def test_files_that_are_named_are_there(name):
    """Scripts and modules in running text, from the top of the repository or from the page's own folder."""
    for path in re.findall(r"`(?:\./|python )?([\w./-]+/[\w.-]+\.(?:py|sh|sbatch))\b", text_of(PAGES[name])):
        assert (ROOT / path).exists() or (PAGES[name].parent / path).exists(), path


def test_the_first_page_leads_from_a_run_to_something_new_and_what_it_makes_is_ignored_by_git():
    """A test with the run's own seed and number of updates would repeat the run's final test to the digit."""
    tests = [command for command in commands_of("README.md") if " adapt runs/" in command]
    assert tests
    assert all(re.search(r" --(seed|updates|task|held-out|env)\b", command) for command in tests)

    text, ignored = PAGES["README.md"].read_text(encoding="utf-8"), (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    made = re.findall(r"--video (\S+)|\.save\(\"(.+?)\"\)", text)
    assert len(made) >= 3
    for film, hierarchy in made:
        assert f"/*{Path(film or hierarchy).suffix}" in ignored


def test_the_first_page_is_short():
    text = PAGES["README.md"].read_text(encoding="utf-8")
    assert len(text.split()) <= 1000
    assert len(text.splitlines()) <= 150


def test_what_the_page_of_troubles_quotes_is_said_somewhere():
    """The first words of each quotation, up to a number, a name or an ellipsis, stand in the sources."""
    sources = (
        path.read_text(encoding="utf-8") for folder in ("mlsh_mpi", "envs") for path in ROOT.joinpath(folder).rglob("*.py")
    )
    joined = re.sub(r'"\s*\n\s*f?"', "", "\n".join(sources))
    cells = re.findall(r"^\| `([^`]+)`", PAGES["launch/TROUBLESHOOTING.md"].read_text(encoding="utf-8"), re.MULTILINE)
    assert len(cells) > 20
    for quoted in cells:
        parts = re.split(r"runs/\S*|\d+|\.\.\.|'[^']*'|\[|\(|/|\bbeta\b|_k\b|phi\.pt|of memory, but|goal=|: ", quoted)
        longest = max((part.strip() for part in parts), key=len)
        assert longest in joined, (quoted, longest)
