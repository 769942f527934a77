"""Published primitives: which seed, what its card says, and that they can be loaded."""

import hashlib
import json
import re
import shutil

import pytest

from mlsh_mpi.commands.publish import publish
from mlsh_mpi.config.overrides import read_config
from mlsh_mpi.errors import UserError
from mlsh_mpi.policies.pretrained import all_pretrained
from mlsh_mpi.policies.primitives import load
from unit.reporting.test_report import SUMMARY, run_in


def trained(folder, seed, score, **changed):
    """A finished run."""
    summary = SUMMARY | {"without_exploration": score, "environment_steps": 12_000, "steps_per_update": 2000}
    run_in(folder, summary, **changed)
    config = json.loads((folder / "config.json").read_text())
    config["run"] |= {"seed": seed, "folder": "/home/somebody/runs"}
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copyfile(all_pretrained()["moving-bandits"], folder / "phi.pt")
    return folder


@pytest.fixture
def runs(tmp_path):
    return [trained(tmp_path / f"bandits-seed{seed}", seed, score) for seed, score in enumerate((40.0, 20.0, 30.0))]


def test_the_median_seed_is_published_with_all_in_its_card(runs, tmp_path, capsys):
    (runs[2] / "replay.gif").write_bytes(b"GIF89a")
    publish(tuple(runs), output=tmp_path / "new/bandits", licence="mit")
    folder = tmp_path / "new/bandits"
    card = (folder / "README.md").read_text()
    assert "seed 2, the median of 3 seeds" in capsys.readouterr().out
    for row in ("| 0 | 40.00 |", "| 1 | 20.00 |", "| 2, published | 30.00 |", "| goal=1 | 3.00 | 42.00 |"):
        assert row in card
    assert hashlib.sha256((folder / "phi.pt").read_bytes()).hexdigest() in card
    assert card.startswith("---\nlibrary_name: mlsh_mpi\nlicense: mit\n")
    assert "(film.gif)" in card
    assert {path.name for path in folder.iterdir()} == {"README.md", "phi.pt", "config.json", "film.gif"}


def test_it_can_be_loaded_and_trained_again_and_tells_nothing_of_this_machine(runs, tmp_path):
    publish((runs[0],), output=tmp_path / "one")
    assert len(load(tmp_path / "one")) == 2
    assert read_config(tmp_path / "one/config.json").run.seed == 0
    assert not [path for path in (tmp_path / "one").iterdir() if b"somebody" in path.read_bytes()]
    card = (tmp_path / "one/README.md").read_text()
    assert "the only seed" in card
    assert "icen" not in card  # which is the user's to give


def test_text_of_users_cannot_change_the_card(runs, tmp_path):
    publish((runs[0],), output=tmp_path / "one")
    assert "<script" not in (tmp_path / "one/README.md").read_text()


def test_links_out_of_the_folder_are_not_published(runs, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (runs[0] / "plot.png").symlink_to(tmp_path / "secret")
    publish((runs[0],), output=tmp_path / "one")
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"README.md", "phi.pt", "config.json"}
    assert "plot.png" not in (tmp_path / "one/README.md").read_text()
    (runs[1] / "phi.pt").unlink()
    (runs[1] / "phi.pt").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match="is not a finished training run"):
        publish((runs[1],), output=tmp_path / "two")


@pytest.mark.parametrize("missing", ["band", "tasks", "environment_steps"])
def test_a_damaged_summary_is_a_sentence(runs, tmp_path, missing):
    path = runs[0] / "summary.json"
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != missing}))
    with pytest.raises(UserError, match="is damaged"):
        publish((runs[0],), output=tmp_path / "one")
    assert not (tmp_path / "one").exists()


def test_runs_of_other_lengths_are_not_seeds_of_one(runs, tmp_path):
    config = json.loads((runs[1] / "config.json").read_text())
    for changed, wrong in (({"time_limit": 60.0}, False), ({"iterations": 7}, True)):
        (runs[1] / "config.json").write_text(json.dumps(config | {"run": config["run"] | changed}))
        if wrong:
            with pytest.raises(UserError, match="has other settings"):
                publish(tuple(runs), output=tmp_path / "wrong")
        else:
            publish(tuple(runs), output=tmp_path / "right")


def test_tables_are_whole(runs, tmp_path):
    publish(tuple(runs), output=tmp_path / "one")
    tables = re.findall(r"(?:^\|.*\n)+", (tmp_path / "one/README.md").read_text(), re.MULTILINE)
    assert len(tables) == 3
    for table in tables:
        assert len({row.rstrip().rstrip("|").count("|") for row in table.splitlines()}) == 1


def test_mistakes_are_a_sentence(runs, tmp_path):
    other = trained(tmp_path / "other-seed0", 0, 1.0, preset="another")
    unfinished = run_in(tmp_path / "unfinished", summary=None)
    for wrong, sentence in (
        ((), "name finished training runs"),
        ((runs[0], other), "has other settings"),
        ((unfinished,), "is not a finished training run"),
        ((tmp_path / "nothing",), "holds no run"),
    ):
        with pytest.raises(UserError, match=sentence):
            publish(wrong, output=tmp_path / "new")
    with pytest.raises(UserError, match="exists already"):
        publish((runs[0],), output=runs[1])
    assert not (tmp_path / "new").exists()
