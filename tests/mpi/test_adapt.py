"""The test of the method under mpirun: the same on any number of ranks, continued where it was cut, and told clearly."""

import json
import re

import numpy as np
import PIL.Image
import pytest

from mlsh_mpi.commands.cli import parse_adapt_args
from mlsh_mpi.errors import UserError
from mpi.conftest import but_for_time
from mpi.launcher import PROGRAMS, mpirun, mpirun_each, python

pytestmark = pytest.mark.mpi
ADAPT = ("-m", "mlsh_mpi", "adapt")
REPLAY = ("-m", "mlsh_mpi", "replay")
SMALL = "--steps 250 --updates 3 --test-masters 5 --test-episodes 2 --master.memory 3".split()
TRAIN = "--groups 2 --steps 100 --iterations 2 --warmup 1 --whole-episode-iterations 0 --test-masters 2 --test-episodes 2".split()
BRIEF = "--primitive.epochs 1 --primitive.minibatches 2 --master.epochs 1".split()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs of a hierarchy, a shared policy, RL² and MAML, all brief."""
    cwd, commands = tmp_path_factory.mktemp("trained"), []
    for preset, more in (
        ("moving-bandits", []),
        ("moving-bandits-shared", []),
        ("moving-bandits-rl2", ["--trial", "2", "--steps", "200"]),
        ("moving-bandits-maml", ["--inner-rate", "0.3"]),
    ):
        rest = TRAIN if preset == "moving-bandits" else [o for o in TRAIN if o not in ("--whole-episode-iterations", "0")]
        commands.append(("-m", "mlsh_mpi.train", preset, *rest, *BRIEF, *more, "--folder", preset))
    for result in mpirun_each(2, *commands, cwd=cwd):
        result.succeeded()
    return cwd


def curves(folder):
    found = json.loads((folder / "adaptation.json").read_text())
    return {name: np.array(found[name], float) for name in ("returns", "returns_without_exploration", "entropy", "usage")}


def rows(folder):
    return [but_for_time(json.loads(line)) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def on_one_rank(trained):
    result = mpirun(1, *ADAPT, "moving-bandits", *SMALL, "--folder", "one", cwd=trained).succeeded()
    return result, trained / "one"


@pytest.fixture(scope="module")
def on_two_ranks(trained):
    """Results of three that start in one job, one of them whole, one cut, one with fewer updates; and of their continuations."""
    small = (*ADAPT, "moving-bandits", *SMALL, "--folder")
    starts = (*small, "on2"), (*small, "cut", "--time-limit", "0.0001"), (*small, "extended", "--updates", "1")
    whole, cut, fewer = mpirun_each(2, *starts, cwd=trained)
    continued, again, extended = mpirun_each(2, (*small, "cut"), (*small, "cut"), (*small, "extended"), cwd=trained)
    return {"whole": whole, "cut": cut, "fewer": fewer, "continued": continued, "again": again, "extended": extended}


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_learners_fare_the_same_on_any_number_of_ranks(trained, on_one_rank, ranks, request):
    if ranks == 2:
        request.getfixturevalue("on_two_ranks")["whole"].succeeded()
    else:
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
        "without exploration",
        "Each primitive alone on each task",
        "divergence of primitives in visited states",
        "information about the task in the choice of a primitive",
    ):
        assert part in result.stdout, part
    assert re.findall(r"^adapting (\d)/4 ", result.stdout, re.MULTILINE) == list("1234")
    assert result.stderr == ""
    names = {path.name for path in folder.iterdir() if not path.name.startswith("events")}
    files = {
        "adaptation.json",
        "checkpoints",
        "config.json",
        "hierarchies",
        "lock",
        "metrics.jsonl",
        "plot.png",
        "report.html",
        "summary.json",
        "summary.txt",
        "jobs.jsonl",
    }
    assert names == files
    assert {path.name for path in (folder / "hierarchies").iterdir()} == {"goal=0.pt", "goal=1.pt"}
    with PIL.Image.open(folder / "plot.png") as picture:
        assert picture.size[0] > 600
    found = json.loads((folder / "adaptation.json").read_text())
    assert np.array(found["returns"]).shape == np.array(found["returns_without_exploration"]).shape == (4, 6)
    assert np.array(found["usage"]).shape == (4, 6, 2)
    assert found["steps"] == 250


def test_a_band_holds_the_mean_of_its_learners(on_one_rank):
    summary = json.loads((on_one_rank[1] / "summary.json").read_text())
    returns = curves(on_one_rank[1])["returns"]
    for mean, (low, high), values in zip(summary["curve"], summary["band"], returns, strict=True):
        assert mean == pytest.approx(values.mean(), abs=1e-3)
        assert values.min() - 1e-3 <= low <= mean <= high <= values.max() + 1e-3


def test_one_cut_short_continues_as_if_nothing_had_been(trained, on_one_rank, on_two_ranks):
    """Left by its time limit after the first update, then on another number of ranks to the end."""
    assert on_two_ranks["cut"].code == 75
    assert "from the checkpoint after 0 updates" in on_two_ranks["continued"].succeeded().stdout
    np.testing.assert_allclose(curves(trained / "cut")["returns"], curves(on_one_rank[1])["returns"], rtol=1e-3, atol=1e-3)
    assert [row["updates"] for row in rows(trained / "cut")] == [0, 1, 2, 3]
    assert "holds this run, finished" in on_two_ranks["again"].succeeded().stdout


def test_more_updates_extend_a_finished_one(trained, on_one_rank, on_two_ranks):
    for job in ("fewer", "extended"):
        on_two_ranks[job].succeeded()
    np.testing.assert_allclose(curves(trained / "extended")["returns"], curves(on_one_rank[1])["returns"], rtol=1e-3, atol=1e-3)


BASELINES = [
    ("moving-bandits-shared", [], "fine-tune"),
    ("moving-bandits-rl2", [], "rl2"),
    ("moving-bandits-maml", [], "maml"),
    ("moving-bandits", ["--method", "scratch", "--env", "mlsh/Allwalk-v0"], "scratch"),
    ("four-rooms", ["--method", "option-critic", "--held-out"], "option-critic"),
    ("four-rooms", ["--method", "scratch", "--task", "goal=103", "--task", "goal=70"], "scratch"),
    ("ant-twowalk", ["--method", "scratch", "--steps", "1000", "--updates", "1", "--test-masters", "2"], "scratch"),
]


@pytest.fixture(scope="module")
def learned_alone(trained):
    """For each of the baselines what it said in one go, when cut after its first update, and in a later job that goes on."""
    cwd = trained / "empty"  # where no folder is named like a preset
    cwd.mkdir()
    whole, cut = [], []
    for number, (source, options, method) in enumerate(BASELINES):
        place = source if method in ("scratch", "option-critic") else f"../{source}"
        given = (*ADAPT, place, "--test-masters", "2", "--steps", "250", "--updates", "2", *BRIEF, *options)
        whole.append((*given, "--folder", f"whole{number}"))
        cut.append((*given, "--folder", f"cut{number}"))
    first = mpirun_each(2, *whole, *((*command, "--time-limit", "0.0001") for command in cut), cwd=cwd)
    results = zip(first[: len(whole)], first[len(whole) :], mpirun_each(2, *cut, cwd=cwd), strict=True)
    return cwd, list(results)


@pytest.mark.parametrize("number", range(len(BASELINES)), ids=["-".join((source, method)) for source, _, method in BASELINES])
def test_every_baseline_learns_single_tasks_and_can_be_continued(learned_alone, number):
    """Filters, memories and tables are in the checkpoint: cut after the first update, it ends as one that was not."""
    cwd, results = learned_alone
    whole, left, continued = results[number]
    options = BASELINES[number][1]
    whole.succeeded()
    assert re.search(r"adapting +1/", whole.stdout)
    assert "WARNING" not in whole.stdout
    assert all(f"goal={n}" in whole.stdout for n in (103, 70) if f"goal={n}" in options)
    assert left.code == 75
    continued.succeeded()
    assert rows(cwd / f"whole{number}") == rows(cwd / f"cut{number}")


ALGORITHMS = ["moving-bandits-rl2", "moving-bandits-maml"]


@pytest.fixture(scope="module")
def other_algorithms(tmp_path_factory):
    """Runs of them on one rank, on two, and on two but cut and continued; the folder and the results of the cut."""
    cwd = tmp_path_factory.mktemp("algorithms")
    brief = [*"--groups 4 --steps 200 --trial 2 --test-masters 2 --iterations 3".split(), *BRIEF]
    one, two, cut = (
        [("-m", "mlsh_mpi.train", preset, *brief, "--folder", f"{preset}-{kind}") for preset in ALGORITHMS]
        for kind in ("on1", "on2", "cut")
    )
    on_two = mpirun_each(2, *two, *((*command, "--time-limit", "0.0001") for command in cut), cwd=cwd)
    for result in (*mpirun_each(1, *one, cwd=cwd), *on_two[: len(two)], *mpirun_each(2, *cut, cwd=cwd)):
        result.succeeded()
    return cwd, dict(zip(ALGORITHMS, on_two[len(two) :], strict=True))


@pytest.mark.parametrize("preset", ALGORITHMS)
def test_other_algorithms_are_the_same_on_two_ranks_and_continue_bit_for_bit(other_algorithms, preset):
    cwd, left = other_algorithms
    assert left[preset].code == 75
    assert rows(cwd / f"{preset}-cut") == rows(cwd / f"{preset}-on2")
    for one, two in zip(rows(cwd / f"{preset}-on1"), rows(cwd / f"{preset}-on2"), strict=True):
        assert one["return/mean"] == pytest.approx(two["return/mean"], abs=0.3)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], ["name a run folder or its phi.pt"]),
        (["nowhere/phi.pt"], ["there is no run folder and no phi.pt 'nowhere/phi.pt'"]),
        (["moving-bandit"], ["there is no run folder and no phi.pt 'moving-bandit'", "did you mean moving-bandits?"]),
        (
            ["four-rooms-blind"],
            ["four-rooms-blind is a preset, with nothing trained", "pretrained primitives (", "--method scratch"],
        ),
        (["moving-bandits", "--groups", "3"], ["--groups only affects training", "--test-masters"]),
        (["moving-bandits", "--held-out", "--task", "goal=1"], ["--held-out and --task both say"]),
        (["moving-bandits", "--updates", "0"], ["--updates must be greater than 0"]),
        (["moving-bandits", "--primitive-columns", "0", "1"], ["--primitive-columns only affects training"]),
        (["moving-bandits", "--updats", "3"], ["no option --updats", "--updates"]),
    ],
)
def test_a_mistake_on_the_command_line_is_named(trained, monkeypatch, arguments, told):
    monkeypatch.chdir(trained)
    with pytest.raises(UserError) as error:
        parse_adapt_args(arguments)
    for part in told:
        assert part in str(error.value)


MISTAKES = [
    (["moving-bandits", "--task", "goal=7"], ["no --task 'goal=7'", "goal=0, goal=1"]),
    (["moving-bandits", "--held-out"], ["no tasks in split 'held-out'"]),
    (["moving-bandits", "--env", "mlsh/FourRooms-v0"], ["do not fit mlsh/FourRooms-v0", "6 numbers", "104 numbers"]),
    (["moving-bandits", "--method", "fine-tune"], ["2 primitives were trained here", "-shared"]),
    (["moving-bandits", "--updats", "3"], ["no option --updats", "--updates"]),
    (["moving-bandits-rl2", "--env", "mlsh/KeyDoor-v0"], ["recurrent policy does not fit"]),
]


@pytest.fixture(scope="module")
def mistaken(trained):
    return mpirun_each(2, *((*ADAPT, *arguments) for arguments, _ in MISTAKES), cwd=trained)


@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=[" ".join(arguments) for arguments, _ in MISTAKES])
def test_a_mistake_is_one_sentence_from_one_rank(mistaken, number):
    result = mistaken[number]
    assert result.code == 2
    assert len(result.told) == 1, result.stderr
    for part in MISTAKES[number][1]:
        assert part in result.told[0]


def test_a_phi_that_changed_is_not_taken_for_the_one_before(trained, tmp_path):
    (tmp_path / "moving-bandits").mkdir()
    (tmp_path / "moving-bandits/phi.pt").write_bytes((trained / "moving-bandits/phi.pt").read_bytes())
    tested = (*ADAPT, "moving-bandits", *SMALL, "--folder", "test")
    trained_again = ("-m", "mlsh_mpi.train", *TRAIN, *BRIEF, "--seed", "5", "--folder", "other")
    for result in mpirun_each(1, tested, trained_again, cwd=tmp_path):
        result.succeeded()
    (tmp_path / "moving-bandits/phi.pt").write_bytes((tmp_path / "other/phi.pt").read_bytes())
    result = mpirun(1, *ADAPT, "moving-bandits", *SMALL, "--seed", "0", "--folder", "test", cwd=tmp_path)
    assert result.code == 2
    assert "phi was" in result.stderr


def test_an_environment_without_pictures_cannot_be_filmed():
    lengths = ("--episode-length", "5", "--macro-length", "5", "--updates", "1", "--steps", "50")
    options = ("--env", "small_envs:Arms", "--method", "scratch", *lengths)
    result = python("-m", "mlsh_mpi", "replay", "moving-bandits", *options, *BRIEF, cwd=PROGRAMS)
    assert result.code == 2
    assert 'render_mode="rgb_array"' in result.stderr


REFUSED_FILMS = [
    (["--force-primitive", "2"], "--force-primitive 2 is not one of the primitives of this run (0 to 1)"),
    (["--video", "film.avi"], "must end in .mp4, .gif, .png"),
    (["--video", "/proc/film.mp4"], "cannot be written"),
    (["--video", "film.gif"], "--video film.gif exists already: remove it, or name another file"),
    (["--paths", "paths.png"], "mlsh/MovingBandits-v0 has no ground to show from above"),
]


@pytest.fixture(scope="module")
def films(trained):
    """What was said of films by name, and of those that cannot be made."""
    usual = (*REPLAY, "moving-bandits", "--steps", "250", "--updates", "2", *BRIEF)
    made = {
        "film.mp4": usual,
        "film.gif": (*usual, "--task", "goal=1"),
        "alone.mp4": (*usual, "--force-primitive", "1"),
        "unnamed": (*usual, "--force-primitive", "1", "--fps", "10"),
        "memory.mp4": (*REPLAY, "moving-bandits-rl2", "--steps", "200", "--updates", "2"),
    }
    refused = [(*REPLAY, "moving-bandits", "--steps", "250", "--updates", "1", *BRIEF, *options) for options, _ in REFUSED_FILMS]
    (trained / "moving-bandits/replay.mp4").touch()
    named = [(*command, *(() if name == "unnamed" else ("--video", name))) for name, command in made.items()]
    commands = [*named, *refused]
    results = mpirun_each(1, *commands, cwd=trained)
    return dict(zip([*made, *range(len(refused))], results, strict=True))


def test_a_film_shows_each_task_before_and_after(trained, films):
    import imageio.v2 as imageio

    result = films["film.mp4"].succeeded()
    assert "goal=1, before" in result.stdout
    assert "goal=1, after 2 updates" in result.stdout
    with imageio.get_reader(trained / "film.mp4") as film:
        assert film.count_frames() == 2 * 50
        assert film.get_data(0).shape == (346, 616, 3)
    films["film.gif"].succeeded()
    with PIL.Image.open(trained / "film.gif") as film:
        assert film.n_frames > 30
    assert "goal=0, alone" in films["alone.mp4"].succeeded().stdout


def test_a_film_without_a_name_is_in_the_runs_folder_and_leaves_earlier_ones(trained, films):
    assert "the film is moving-bandits/replay-2.mp4" in films["unnamed"].succeeded().stdout
    assert (trained / "moving-bandits/replay.mp4").stat().st_size == 0


@pytest.mark.parametrize("number", range(len(REFUSED_FILMS)), ids=[" ".join(options) for options, _ in REFUSED_FILMS])
def test_a_film_that_cannot_be_made_is_refused_in_a_sentence(films, number):
    result = films[number]
    assert result.code == 2
    assert REFUSED_FILMS[number][1] in result.stderr
    assert "Traceback" not in result.stderr


def test_a_film_of_a_memory_shows_its_first_and_its_last_episode(films):
    assert "goal=0, after 2 updates" in films["memory.mp4"].succeeded().stdout


def test_what_is_no_number_ends_the_job_and_names_the_learner(trained):
    result = mpirun(1, *ADAPT, "moving-bandits", *SMALL, "--master.learning-rate", "1e38", "--folder", "nan", cwd=trained)
    assert result.code == 1
    assert re.search(r"after update 1, parameters of learner \d is NaN or infinite", result.stderr)


def test_another_name_of_the_same_phi_continues(trained):
    options = (*SMALL, "--folder", "named")
    by_folder = (*ADAPT, "moving-bandits", *options)
    commands = (by_folder, (*ADAPT, "./moving-bandits/phi.pt", *options), (*by_folder, "--updates", "1"))
    whole, again, fewer = mpirun_each(1, *commands, cwd=trained)
    whole.succeeded()
    assert "holds this run, finished" in again.succeeded().stdout
    assert "use --updates" in fewer.stderr


def test_a_film_is_refused_on_several_ranks(trained):
    result = mpirun(2, "-m", "mlsh_mpi", "replay", "moving-bandits", cwd=trained)
    assert result.code == 2
    assert "made by one process" in result.told[0]


def test_an_ants_primitives_go_to_another_world_with_their_filter(tmp_path):
    small = "--workers 1 --iterations 2 --warmup 1 --joint 1 --steps 1000 --test-masters 2 --test-episodes 1".split()
    here = ("-m", "mlsh_mpi.train", "ant-twowalk-paper", "--groups", "2", *small, *BRIEF, "--folder", "ant")
    elsewhere = ("--env", "mlsh/AntMovement-v0", "--macro-length", "100", "--updates", "1", "--steps", "600", *BRIEF)
    trained, adapted = mpirun_each(2, here, (*ADAPT, "ant", *elsewhere), cwd=tmp_path)
    trained.succeeded()
    assert "on mlsh/AntMovement-v0" in adapted.succeeded().stdout
    assert np.isfinite(curves(tmp_path / "ant/adapt/master-on-AntMovement-v0-seed0")["returns"]).all()
    paths = (*REPLAY, "ant", "--updates", "1", "--steps", "1000", "--paths", "seen/paths.png")
    assert "the paths are in seen/paths.png" in python(*paths, cwd=tmp_path).succeeded().stdout
    with PIL.Image.open(tmp_path / "seen/paths.png") as picture:
        assert picture.width > picture.height > 300
