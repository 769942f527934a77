"""The test of the method under mpirun: the same on any number of ranks, continued where it was cut, and told clearly."""

import json
import re

import numpy as np
import PIL.Image
import pytest

from mlsh_mpi.cli import asked_to_adapt
from mlsh_mpi.errors import UserError
from mpi.conftest import but_for_time
from mpi.launcher import PROGRAMS, mpirun, python

pytestmark = pytest.mark.mpi
ADAPT = ("-m", "mlsh_mpi.adapt")
SMALL = "--steps 250 --updates 3 --test-masters 5 --test-episodes 2".split()
TRAIN = "--groups 2 --steps 100 --iterations 2 --warmup 1 --forming-iterations 0 --test-masters 2 --test-episodes 2".split()
BRIEF = "--primitive.epochs 1 --primitive.minibatches 2 --master.epochs 1".split()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs of a hierarchy, a shared policy, RL² and MAML, all brief."""
    cwd = tmp_path_factory.mktemp("trained")
    for preset, more in (
        ("moving-bandits", []),
        ("moving-bandits-shared", []),
        ("moving-bandits-rl2", ["--trial", "2", "--steps", "200"]),
        ("moving-bandits-maml", ["--inner-rate", "0.3"]),
    ):
        rest = TRAIN if preset == "moving-bandits" else [o for o in TRAIN if o not in ("--forming-iterations", "0")]
        mpirun(2, "-m", "mlsh_mpi.train", preset, *rest, *BRIEF, *more, "--folder", preset, cwd=cwd).succeeded()
    return cwd


def curves(folder):
    found = json.loads((folder / "adaptation.json").read_text())
    return {name: np.array(found[name], float) for name in ("returns", "unexplored", "entropy", "usage")}


def rows(folder):
    return [but_for_time(json.loads(line)) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def on_one_rank(trained):
    result = mpirun(1, *ADAPT, "moving-bandits", *SMALL, "--folder", "one", cwd=trained).succeeded()
    return result, trained / "one"


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_learners_fare_the_same_on_any_number_of_ranks(trained, on_one_rank, ranks):
    mpirun(ranks, *ADAPT, "moving-bandits", *SMALL, "--folder", f"on{ranks}", cwd=trained).succeeded()
    for name, values in curves(on_one_rank[1]).items():
        np.testing.assert_allclose(curves(trained / f"on{ranks}")[name], values, rtol=1e-3, atol=1e-3, err_msg=name)


def test_it_says_what_it_tests_and_shows_curve_and_tables(on_one_rank):
    result, folder = on_one_rank
    for part in (
        "fresh masters over the frozen primitives; moving-bandits, seed 0, on mlsh/MovingBandits-v0",
        "6 learners on 2 tasks: goal=0, goal=1",
        "K = 2, N = 10",
        "95 % band",
        "exploration off",
        "Each primitive alone on each task",
        "divergence of primitives where they went",
        "what the choice of a primitive tells of the task",
    ):
        assert part in result.stdout, part
    assert re.findall(r"^adapting (\d)/4 ", result.stdout, re.MULTILINE) == list("1234")
    assert result.stderr == ""
    names = {path.name for path in folder.iterdir() if not path.name.startswith("events")}
    files = {
        "adaptation.json",
        "checkpoints",
        "config.json",
        "lock",
        "metrics.jsonl",
        "picture.png",
        "summary.json",
        "summary.txt",
        "jobs.jsonl",
    }
    assert names == files
    with PIL.Image.open(folder / "picture.png") as picture:
        assert picture.size[0] > 600
    found = json.loads((folder / "adaptation.json").read_text())
    assert np.array(found["returns"]).shape == np.array(found["unexplored"]).shape == (4, 6)
    assert np.array(found["usage"]).shape == (4, 6, 2)
    assert found["steps"] == 250


def test_a_band_holds_the_mean_of_its_learners(on_one_rank):
    summary = json.loads((on_one_rank[1] / "summary.json").read_text())
    returns = curves(on_one_rank[1])["returns"]
    for mean, (low, high), values in zip(summary["curve"], summary["band"], returns, strict=True):
        assert mean == pytest.approx(values.mean(), abs=1e-3)
        assert values.min() - 1e-3 <= low <= mean <= high <= values.max() + 1e-3


def test_one_cut_short_continues_as_if_nothing_had_been(trained, on_one_rank):
    """Left by its time limit after the first update, then on another number of ranks to the end."""
    options = ("moving-bandits", *SMALL, "--folder", "cut")
    left = mpirun(2, *ADAPT, *options, "--time-limit", "0.0001", cwd=trained)
    assert left.code == 75
    result = mpirun(2, *ADAPT, *options, cwd=trained).succeeded()
    assert "from the checkpoint after 0 updates" in result.stdout
    np.testing.assert_allclose(curves(trained / "cut")["returns"], curves(on_one_rank[1])["returns"], rtol=1e-3, atol=1e-3)
    assert [row["updates"] for row in rows(trained / "cut")] == [0, 1, 2, 3]
    again = mpirun(2, *ADAPT, *options, cwd=trained).succeeded()
    assert "holds this run, finished" in again.stdout


def test_more_updates_extend_a_finished_one(trained, on_one_rank):
    options = ("moving-bandits", *SMALL, "--folder", "extended")
    mpirun(2, *ADAPT, *options, "--updates", "1", cwd=trained).succeeded()
    mpirun(2, *ADAPT, *options, cwd=trained).succeeded()
    np.testing.assert_allclose(curves(trained / "extended")["returns"], curves(on_one_rank[1])["returns"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("source", "options", "method"),
    [
        ("moving-bandits-shared", [], "fine-tune"),
        ("moving-bandits-rl2", [], "rl2"),
        ("moving-bandits-maml", [], "maml"),
        ("moving-bandits", ["--method", "scratch", "--env", "mlsh/Allwalk-v0"], "scratch"),
        ("four-rooms", ["--method", "option-critic", "--held-out"], "option-critic"),
        ("four-rooms", ["--method", "scratch", "--task", "goal=103", "--task", "goal=70"], "scratch"),
        ("ant-twowalk", ["--method", "scratch", "--steps", "1000", "--updates", "1", "--test-masters", "2"], "scratch"),
    ],
)
def test_every_baseline_learns_single_tasks_and_can_be_continued(trained, source, options, method):
    """Filters, memories and tables are in the checkpoint: cut after the first update, it ends as one that was not."""
    cwd = trained if method in ("fine-tune", "rl2", "maml") else trained / "empty"  # where no folder is named like a preset
    cwd.mkdir(exist_ok=True)
    folder = f"{source}-{len(options)}-learned"
    given = (source, "--test-masters", "2", "--steps", "250", "--updates", "2", *BRIEF, *options)
    whole = mpirun(2, *ADAPT, *given, "--folder", folder, cwd=cwd).succeeded()
    assert re.search(r"adapting +1/", whole.stdout)
    assert "NOT WELL" not in whole.stdout
    assert all(f"goal={n}" in whole.stdout for n in (103, 70) if f"goal={n}" in options)
    left = mpirun(2, *ADAPT, *given, "--folder", f"{folder}-cut", "--time-limit", "0.0001", cwd=cwd)
    assert left.code == 75
    mpirun(2, *ADAPT, *given, "--folder", f"{folder}-cut", cwd=cwd).succeeded()
    assert rows(cwd / folder) == rows(cwd / f"{folder}-cut")


@pytest.mark.parametrize("preset", ["moving-bandits-rl2", "moving-bandits-maml"])
def test_other_algorithms_are_the_same_on_two_ranks_and_continue_bit_for_bit(tmp_path, preset):
    options = [preset, *"--groups 4 --steps 200 --trial 2 --test-masters 2 --iterations 3".split(), *BRIEF]
    for ranks in (1, 2):
        mpirun(ranks, "-m", "mlsh_mpi.train", *options, "--folder", f"on{ranks}", cwd=tmp_path).succeeded()
    cut = ("-m", "mlsh_mpi.train", *options, "--folder", "cut")
    assert mpirun(2, *cut, "--time-limit", "0.0001", cwd=tmp_path).code == 75
    mpirun(2, *cut, cwd=tmp_path).succeeded()
    assert rows(tmp_path / "cut") == rows(tmp_path / "on2")
    for one, two in zip(rows(tmp_path / "on1"), rows(tmp_path / "on2"), strict=True):
        assert one["return/mean"] == pytest.approx(two["return/mean"], abs=0.3)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], ["name a run folder or its phi.pt"]),
        (["nowhere/phi.pt"], ["nowhere/phi.pt cannot be read"]),
        (["moving-bandit"], ["there is no preset 'moving-bandit'", "moving-bandits"]),
        (["four-rooms"], ["four-rooms is a preset, with nothing trained", "--method scratch"]),
        (["moving-bandits", "--groups", "3"], ["--groups is a matter of training", "--test-masters"]),
        (["moving-bandits", "--held-out", "--task", "goal=1"], ["--held-out and --task both say"]),
        (["moving-bandits", "--updates", "0"], ["--updates must be greater than 0"]),
        (["moving-bandits", "--primitive-columns", "0", "1"], ["--primitive-columns is a matter of training"]),
        (["moving-bandits", "--updats", "3"], ["no option --updats", "--updates"]),
    ],
)
def test_a_mistake_on_the_command_line_is_named(trained, monkeypatch, arguments, told):
    monkeypatch.chdir(trained)
    with pytest.raises(UserError) as error:
        asked_to_adapt(arguments)
    for part in told:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["moving-bandits", "--task", "goal=7"], ["no --task 'goal=7'", "goal=0, goal=1"]),
        (["moving-bandits", "--held-out"], ["no tasks in split 'held-out'"]),
        (["moving-bandits", "--env", "mlsh/FourRooms-v0"], ["do not fit mlsh/FourRooms-v0", "6 numbers", "104 numbers"]),
        (["moving-bandits", "--method", "fine-tune"], ["2 primitives were trained here", "-shared"]),
        (["moving-bandits", "--updats", "3"], ["no option --updats", "--updates"]),
        (["moving-bandits-rl2", "--env", "mlsh/KeyDoor-v0"], ["recurrent policy does not fit"]),
    ],
)
def test_a_mistake_is_one_sentence_from_one_rank(trained, arguments, told):
    result = mpirun(2, *ADAPT, *arguments, cwd=trained)
    assert result.code == 2
    assert len(result.told) == 1, result.stderr
    for part in told:
        assert part in result.told[0]


def test_a_phi_that_changed_is_not_taken_for_the_one_before(trained, tmp_path):
    (tmp_path / "moving-bandits").mkdir()
    (tmp_path / "moving-bandits/phi.pt").write_bytes((trained / "moving-bandits/phi.pt").read_bytes())
    mpirun(1, *ADAPT, "moving-bandits", *SMALL, "--folder", "test", cwd=tmp_path).succeeded()
    mpirun(1, "-m", "mlsh_mpi.train", *TRAIN, *BRIEF, "--seed", "5", "--folder", "other", cwd=tmp_path).succeeded()
    (tmp_path / "moving-bandits/phi.pt").write_bytes((tmp_path / "other/phi.pt").read_bytes())
    result = mpirun(1, *ADAPT, "moving-bandits", *SMALL, "--seed", "0", "--folder", "test", cwd=tmp_path)
    assert result.code == 2
    assert "phi was" in result.stderr


def test_an_environment_without_pictures_cannot_be_filmed():
    lengths = ("--episode-length", "5", "--macro-length", "5", "--updates", "1", "--steps", "50")
    options = ("--env", "small_envs:Arms", "--method", "scratch", *lengths)
    result = python("-m", "mlsh_mpi.replay", "moving-bandits", *options, *BRIEF, cwd=PROGRAMS)
    assert result.code == 2
    assert 'render_mode="rgb_array"' in result.stderr


def test_a_film_shows_each_task_before_and_after(trained):
    import imageio.v2 as imageio

    options = ("moving-bandits", "--steps", "250", "--updates", "2", *BRIEF)
    result = python("-m", "mlsh_mpi.replay", *options, "--video", "film.mp4", cwd=trained).succeeded()
    assert "goal=1, before" in result.stdout
    assert "goal=1, after 2 updates" in result.stdout
    with imageio.get_reader(trained / "film.mp4") as film:
        assert film.count_frames() == 2 * 50
        assert film.get_data(0).shape == (346, 616, 3)
    python("-m", "mlsh_mpi.replay", *options, "--task", "goal=1", "--video", "film.gif", cwd=trained).succeeded()
    with PIL.Image.open(trained / "film.gif") as film:
        assert film.n_frames > 30
    alone = python("-m", "mlsh_mpi.replay", *options, "--force-primitive", "1", "--video", "k.mp4", cwd=trained).succeeded()
    assert "goal=0, alone" in alone.stdout


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--force-primitive", "2"], "--force-primitive 2 is not one of the primitives of this run (0 to 1)"),
        (["--video", "film.avi"], "must end in .mp4, .gif, .png"),
        (["--video", "/proc/film.mp4"], "cannot be written"),
        (["--paths", "paths.png"], "mlsh/MovingBandits-v0 has no ground to be seen from above"),
    ],
)
def test_a_film_that_cannot_be_made_is_refused_in_a_sentence(trained, options, told):
    result = python("-m", "mlsh_mpi.replay", "moving-bandits", "--steps", "250", "--updates", "1", *BRIEF, *options, cwd=trained)
    assert result.code == 2
    assert told in result.stderr
    assert "Traceback" not in result.stderr


def test_a_film_of_a_memory_shows_its_first_and_its_last_episode(trained):
    options = ("moving-bandits-rl2", "--steps", "200", "--updates", "2", "--video", "memory.mp4")
    result = python("-m", "mlsh_mpi.replay", *options, cwd=trained).succeeded()
    assert "goal=0, after 2 updates" in result.stdout


def test_what_is_no_number_ends_the_job_and_names_the_learner(trained):
    result = mpirun(1, *ADAPT, "moving-bandits", *SMALL, "--master.learning-rate", "1e38", "--folder", "nan", cwd=trained)
    assert result.code == 1
    assert re.search(r"after update 1, parameters of learner \d is NaN or infinite", result.stderr)


def test_another_name_of_the_same_phi_continues(trained):
    options = (*SMALL, "--folder", "named")
    mpirun(1, *ADAPT, "moving-bandits", *options, cwd=trained).succeeded()
    again = mpirun(1, *ADAPT, "./moving-bandits/phi.pt", *options, cwd=trained).succeeded()
    assert "holds this run, finished" in again.stdout
    fewer = mpirun(1, *ADAPT, "moving-bandits", *options, "--updates", "1", cwd=trained)
    assert "ask for --updates" in fewer.stderr


def test_a_film_is_refused_on_several_ranks(trained):
    result = mpirun(2, "-m", "mlsh_mpi.replay", "moving-bandits", cwd=trained)
    assert result.code == 2
    assert "made by one process" in result.told[0]


def test_an_ants_primitives_go_to_another_world_with_their_filter(tmp_path):
    small = "--workers 1 --iterations 2 --warmup 1 --joint 1 --steps 1000 --test-masters 2 --test-episodes 1".split()
    mpirun(
        2, "-m", "mlsh_mpi.train", "ant-twowalk-paper", "--groups", "2", *small, *BRIEF, "--folder", "ant", cwd=tmp_path
    ).succeeded()
    elsewhere = ("--env", "mlsh/AntMovement-v0", "--macro-length", "100", "--updates", "1", "--steps", "600", *BRIEF)
    result = mpirun(2, *ADAPT, "ant", *elsewhere, cwd=tmp_path).succeeded()
    assert "on mlsh/AntMovement-v0" in result.stdout
    assert np.isfinite(curves(tmp_path / "ant/adapt/master-on-AntMovement-v0-seed0")["returns"]).all()
    paths = ("-m", "mlsh_mpi.replay", "ant", "--updates", "1", "--steps", "1000", "--paths", "seen/paths.png")
    assert "the paths are in seen/paths.png" in python(*paths, cwd=tmp_path).succeeded().stdout
    with PIL.Image.open(tmp_path / "seen/paths.png") as picture:
        assert picture.width > picture.height > 300
