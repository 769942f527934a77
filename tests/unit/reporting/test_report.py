"""The page of a run: what it shows, from damaged files too, and how it looks in a browser."""

import json
import os
import re
import shutil
import subprocess

import numpy as np
import PIL.Image
import pytest

from mlsh_mpi.commands.report import report
from mlsh_mpi.config.presets import preset_config
from mlsh_mpi.config.settings import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.reporting.report import write_report
from mlsh_mpi.reporting.report_charts import MOST_POINTS, fewer

TASK = "<script>alert('$x_1$')</script>"
TIMES = {f"time/{name}": 0.25 for name in ("environment", "policy", "learning", "communication")}
COSTS = {f"communication/{name}": 2.0 for name in ("milliseconds", "calls", "bytes")}


def row(iteration):
    k = {f"primitive/{name}_{i}": 0.5 + 0.1 * i for i in range(2) for name in ("usage", "entropy")}
    values = {
        "return/mean": iteration / 2,
        "return/adapted": iteration,
        f"return/adapted/{TASK}": iteration,
        **k,
        **TIMES,
        **COSTS,
    }
    length = {"schedule/macro_length": 10 if iteration > 5 else 50}
    return {
        "iteration": iteration,
        "environment_steps": 1000 * iteration,
        "seconds": iteration,
        "master/entropy": 0.6,
        **values,
        **length,
    }


def task(forced):
    curve = {"updates": [0, 1], "mean": [1.0, 2.0], "band": [[0.5, 1.5], [1.5, 2.5]]}
    known = {
        "fresh": 1.0,
        "adapted": 2.0,
        "adapted_worst": 1.5,
        "without_exploration": None,
        "entropy": 0.1,
        "usage": [0.75, 0.25],
    }
    return known | {"curve": curve, "curve_without_exploration": curve, "forced": forced}


SUMMARY = {
    "adapted": 2.0,
    "without_exploration": None,
    "separated": 38.5,
    "updates": 1,
    "masters": 4,
    "method": "fresh masters",
    "curve": [1.0, 2.0],
    "band": [[0.5, 1.5], [1.5, 2.5]],
    "curve_without_exploration": {"updates": [1], "mean": [2.5], "band": [[2.0, 3.0]]},
    "tasks": {TASK: task([41.0, 2.0]), "goal=1": task([3.0, 42.0])},
    "diagnostics": {
        "verdict": ["primitives 0 & 1 do the same"],
        "divergence": [[0, 1], [1, 0]],
        "information": 0.1,
        "most_information": 0.7,
    },
}


def run_in(folder, summary=SUMMARY, rows=12, **changed):
    """A run folder."""
    import dataclasses

    folder.mkdir(parents=True)
    config = dataclasses.asdict(preset_config("moving-bandits"))
    config["run"]["seed"] = 7
    (folder / "config.json").write_text(json.dumps(config | changed))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row(i)) + "\n" for i in range(1, rows + 1)))
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture
def finished(tmp_path):
    return run_in(tmp_path / "bandits-seed7")


def test_a_page_shows_the_run_and_needs_nothing_else(finished):
    page = write_report(finished).read_text()
    for shown in (
        "bandits-seed7",
        "finished",
        "38.50",
        "41.00",
        "42.00",
        "primitives 0 &amp; 1 do the same",
        "12,000",
        "Entropy of the masters",
    ):
        assert shown in page
    assert page.count("<svg") == 6
    assert not re.search(r'(?:src|href)\s*=\s*"(?!data:|#)', page)
    assert "default-src 'none'" in page


def test_text_of_users_is_text(finished):
    page = write_report(finished).read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 4  # in the charts of curves and of the test, and in two tables


def test_settings_that_differ_are_listed_with_their_defaults(finished):
    page = write_report(finished).read_text()
    rows = re.findall(r"<tr><td>(\w+\.\w+)</td><td>(.*?)</td><td>(.*?)</td></tr>", page)
    known = {name: (here, usual) for name, here, usual in rows}
    assert known["run.seed"] == ("<b>7</b>", str(Config().run.seed))
    assert known["sampling.groups"] == ("30", str(Config().sampling.groups))
    assert "environment.env" not in known


def test_a_run_that_goes_on_has_a_page_too(tmp_path):
    page = write_report(run_in(tmp_path / "a", summary=None)).read_text()
    assert "iteration 12 of 100" in page
    assert "Diagnostics" not in page
    page = write_report(run_in(tmp_path / "b", summary=None, rows=0)).read_text()
    assert "Nothing has been logged yet" in page


def test_pictures_and_films_are_in_the_page_unless_they_are_large(finished, monkeypatch):
    PIL.Image.new("RGB", (4, 4)).save(finished / "paths.png")
    (finished / "film.mp4").write_bytes(b"0" * 300)
    monkeypatch.setattr("mlsh_mpi.reporting.report.LARGEST_MEDIUM", 200)
    page = write_report(finished).read_text()
    assert 'alt="paths.png" src="data:image/png;base64,' in page
    assert '<a href="film.mp4">film.mp4</a>, too large' in page
    (finished / "stolen.png").symlink_to("/etc/hostname")
    assert "stolen" not in write_report(finished).read_text()


def test_a_run_that_is_continued_is_not_finished(tmp_path):
    summary = SUMMARY | {"iterations": 10}
    assert "iteration 12 of 100" in write_report(run_in(tmp_path / "a", summary)).read_text()
    assert "iteration 10 of 100" not in write_report(run_in(tmp_path / "b", summary, rows=10)).read_text()


def test_a_page_that_is_a_link_overwrites_nothing(finished, tmp_path):
    (tmp_path / "notes").write_text("mine")
    (finished / "report.html").symlink_to(tmp_path / "notes")
    with pytest.raises(UserError, match="is a link out of"):
        write_report(finished)
    assert (tmp_path / "notes").read_text() == "mine"


def test_names_in_any_encoding_and_script(tmp_path, recwarn):
    summary = SUMMARY | {"tasks": {"\u4efb\u52a1": task([41.0, 2.0]), "goal=1": task([3.0, 42.0])}}
    folder = run_in(tmp_path / os.fsdecode(b"caf\xe9-seed1"), summary)
    page = write_report(folder).read_text(encoding="utf-8")
    assert "caf?-seed1" in page
    assert "\u4efb\u52a1" in page
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


@pytest.mark.parametrize("name", ["config.json", "summary.json"])
@pytest.mark.parametrize("text", ["", "null", "[1]", '{"run": {}}', '{"run": 3, "tasks": {"a": 1}}'])
def test_a_damaged_run_is_a_sentence(finished, name, text):
    (finished / name).write_text(text)
    with pytest.raises(UserError, match="is damaged"):
        write_report(finished)


def test_long_logs_are_drawn_with_few_points():
    points = np.arange(20_000.0).reshape(-1, 2)
    assert len(fewer(points)) == MOST_POINTS
    np.testing.assert_allclose(fewer(points).mean(0), points.mean(0))
    assert len(fewer(points[:10])) == 10


def test_the_command_writes_pages_and_one_of_all(tmp_path, capsys):
    folders = [run_in(tmp_path / f"<b>bandits-seed{seed}") for seed in (1, 2)]
    report((*folders, tmp_path / "nothing"), together=tmp_path / "new/all.html")
    page = (tmp_path / "new/all.html").read_text()
    assert "2 runs" in page
    assert "&lt;b&gt;bandits" in page
    assert "<b>bandits" not in page
    assert page.count("report.html") == 2
    assert "left out: " in capsys.readouterr().err

    (folders[0] / "metrics.jsonl").unlink()  # a run that has just begun is listed, and not drawn
    report(tuple(folders), together=tmp_path / "new/all.html")
    assert (tmp_path / "new/all.html").read_text().count("report.html") == 2
    assert "left out: the curve: " in capsys.readouterr().err

    for wrong in ((), (tmp_path / "nothing",)):
        with pytest.raises(UserError, match="run folders"):
            report(wrong)


@pytest.fixture(scope="session")
def chromium():
    """The browser; MLSH_TEST_PICTURES=required makes it a failure if there is none."""
    found = shutil.which("chromium")
    if found is None and os.environ.get("MLSH_TEST_PICTURES") != "required":
        pytest.skip("there is no chromium")
    return [str(found), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=2000"]


@pytest.mark.parametrize("width", [420, 1400])
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_page_in_a_browser(finished, tmp_path, chromium, width, scheme):
    """Background and text follow the screen, and nothing is wider than the window."""
    page = write_report(finished)
    look = [
        *chromium,
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",
    ]
    look += [f"--window-size={width},2400"]
    subprocess.run([*look, f"--screenshot={tmp_path / 'shot.png'}", page], check=True, capture_output=True, timeout=120)
    with PIL.Image.open(tmp_path / "shot.png") as shot:
        pixels = np.asarray(shot.convert("L"), int)
    assert (pixels[5, 5] > 128) == (scheme == "light")
    title = pixels[20:60, 15:200]
    assert np.ptp(title) > 150  # it can be read

    # The page itself runs no scripts: a copy without its policy measures its width.
    measured = tmp_path / "measured.html"
    text = re.sub(r"<meta http-equiv.*?>", "", page.read_text())
    measured.write_text(
        text.replace("</body>", "<script>document.title = 'w' + document.documentElement.scrollWidth</script></body>")
    )
    dumped = subprocess.run([*look, "--dump-dom", measured], check=True, capture_output=True, text=True, timeout=120).stdout
    assert int(re.search(r"<title>w(\d+)</title>", dumped)[1]) <= max(width, 500)  # headless windows are at least 500 wide
