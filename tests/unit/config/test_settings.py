"""What a run may be: presets that fit, sentences for what does not, and the way to JSON and back."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlsh_envs  # noqa: F401 (registers the environments)
from mlsh_mpi.config.adaptation import AdaptConfig, Film
from mlsh_mpi.config.bounds import bounds_of
from mlsh_mpi.config.overrides import fitted, from_dict, with_options
from mlsh_mpi.config.ppo_settings import MasterPPO
from mlsh_mpi.config.presets import PRESETS, smoke
from mlsh_mpi.config.settings import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.task_family import TaskFamily

T = 50


def said(call):
    """The one sentence with which a call refuses."""
    with pytest.raises(UserError) as refusal:
        call()
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_fit_and_carry_their_name(name):
    preset = PRESETS[name]
    preset.config.check(gym.spec(preset.config.environment.env).max_episode_steps)
    assert preset.config.preset == name
    assert preset.summary


def test_the_papers_preset_is_the_papers():
    config = PRESETS["moving-bandits-paper"].config
    hierarchy, sampling = config.hierarchy, config.sampling
    assert (hierarchy.primitives, hierarchy.macro_length, hierarchy.warmup, hierarchy.joint) == (2, 10, 9, 1)
    assert (sampling.groups, sampling.workers, sampling.steps) == (10, 12, 2000)
    assert (config.master.learning_rate, config.primitive.learning_rate) == (0.01, 3e-4)
    assert (config.network.hidden, hierarchy.exploration, config.master.clip) == ((64, 64), 0.1, 0.2)
    assert (hierarchy.whole_episode_iterations, hierarchy.learn_from_explored, hierarchy.credit) == (0, True, "episode")


def test_the_figures_schedule_is_the_one_difference_from_the_text():
    text, figure = PRESETS["moving-bandits-paper"].config, PRESETS["moving-bandits-figure4a"].config
    assert replace(figure, preset=text.preset, hierarchy=replace(figure.hierarchy, warmup=9, joint=1)) == text
    assert (figure.hierarchy.warmup, figure.hierarchy.joint) == (20, 20)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ant-mazes", ("timestep=0.005",)),
        ("ant-obstacle-course", ("timestep=0.005",)),
        ("ant-twowalk", ()),
        ("humanoid-walk-crawl", ("end_interval=200",)),
        ("humanoid-combination", ("end_interval=200",)),
    ],
)
def test_the_papers_presets_have_the_released_clock_and_ends(name, settings):
    config = PRESETS[f"{name}-paper"].config
    assert config.environment.env_settings == settings
    TaskFamily.from_maker(EnvironmentMaker.from_config(config.environment))


def test_the_default_preset_ends_at_the_papers_macro_length():
    config = PRESETS["moving-bandits"].config
    assert config.hierarchy.macro_length == 10
    assert config.hierarchy.whole_episode_iterations < config.run.iterations


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (
            {"steps": 49, "algorithm": "maml", "primitives": 1},
            ["a whole episode", "--steps is 49", "50 steps", "--steps 50 or more"],
        ),
        (
            {"steps": 4, "warmup": 9, "joint": 1},
            ["must complete an episode", "10 iterations of --steps 4", "50 steps", "--steps 5 or more"],
        ),
        ({"macro_length": 51}, ["fit into an episode", "is 51", "50 steps", "--macro-length 50 or less"]),
        (
            {"whole_episode_iterations": 125, "iterations": 125},
            ["end at N", "--iterations 125", "--iterations 126 or more"],
        ),
        (
            {"whole_episode_iterations": 0, "random_master_iterations": 125, "iterations": 125},
            ["end with the choices of masters", "are --random-master-iterations (125)", "--iterations 126 or more"],
        ),
        ({"groups": 0}, ["--groups must be greater than 0", "is 0"]),
        ({"workers": -2}, ["--workers must be greater than 0", "is -2"]),
        ({"primitives": 0}, ["--primitives must be greater than 0", "is 0"]),
        ({"joint": 0}, ["--joint must be greater than 0", "is 0"]),
        ({"warmup": -1}, ["--warmup must not be negative", "is -1"]),
        ({"macro_length": 0}, ["--macro-length must be greater than 0", "is 0"]),
        ({"iterations": 0}, ["--iterations must be greater than 0", "is 0"]),
        ({"seed": -1}, ["--seed must not be negative", "is -1"]),
        ({"exploration": 1.5}, ["--exploration must be between 0 and 1", "is 1.5"]),
        ({"exploration": float("nan")}, ["--exploration must be between 0 and 1", "is nan"]),
        ({"master": MasterPPO(learning_rate=0)}, ["--master.learning-rate must be greater than 0", "is 0"]),
        ({"master": MasterPPO(learning_rate=float("inf"))}, ["--master.learning-rate must be greater than 0 and finite", "inf"]),
        ({"primitive_reward_shift": -float("inf")}, ["--primitive.reward-shift must be a finite number", "-inf"]),
        ({"time_limit": float("inf")}, ["--time-limit must be greater than 0 and finite", "inf"]),
        ({"minibatches": 0}, ["--primitive.minibatches must be greater than 0", "is 0"]),
        ({"minibatch_size": 0}, ["--master.minibatch-size must be greater than 0", "is 0"]),
        ({"hidden": (64, 0)}, ["at least one unit", "(64, 0)"]),
    ],
)
def test_refuses_what_does_not_fit_by_rule_value_and_remedy(options, parts):
    config = with_options(Config(), options)
    sentence = said(lambda: config.check(T))
    for part in parts:
        assert part in sentence


@pytest.mark.parametrize("options", [{"steps": T}, {"macro_length": T}, {"macro_length": 1}, {"warmup": 0}, {"exploration": 0}])
def test_accepts_what_just_fits(options):
    with_options(Config(), options).check(T)


def test_numbers_of_numpy_and_paths_are_taken_as_they_are_meant():
    options = {"seed": np.int64(3), "exploration": np.float32(0.5), "hidden": [np.int32(8)], "stratify_tasks": np.True_}
    config = with_options(Config(), options | {"folder": Path("runs/here")})
    assert (config.run.seed, config.hierarchy.exploration, config.network.hidden) == (3, 0.5, (8,))
    assert config.sampling.stratify_tasks is True
    assert config.run.folder == "runs/here"
    json.dumps(dataclasses.asdict(config))


def test_options_go_where_they_belong_and_leave_the_rest():
    base = PRESETS["moving-bandits"].config
    config = with_options(base, {"iterations": 7, "macro_length": 5, "minibatches": 3, "hidden": (8,), "env": "a:B"})
    assert (config.run.iterations, config.hierarchy.macro_length, config.primitive.minibatches) == (7, 5, 3)
    assert (config.network.hidden, config.environment.env) == ((8,), "a:B")
    back = {"iterations": base.run.iterations, "macro_length": 10, "minibatches": 15, "hidden": (64, 64)}
    assert with_options(config, back | {"env": base.environment.env}) == base
    assert with_options(base, {"master": MasterPPO(clip=0.3)}).master.clip == 0.3
    assert with_options(base, {}) == base


def test_settings_that_master_and_primitives_both_have_are_named_by_whose_they_are():
    config = with_options(Config(), {"master_memory": 4, "primitive": {"lam": 0.9, "epochs": 3}, "hidden": [8, 8]})
    assert (config.master.memory, config.primitive.lam, config.primitive.epochs) == (4, 0.9, 3)
    assert (config.master.lam, config.network.hidden) == (Config().master.lam, (8, 8))


def test_the_whole_episode_iterations_keep_their_share_of_fewer_iterations():
    bandits = PRESETS["moving-bandits"].config
    for asked, first in ((100, 72), (73, 72), (72, 51), (5, 3), (1, 0)):
        assert fitted(with_options(bandits, {"iterations": asked}), bandits).hierarchy.whole_episode_iterations == first
    own = with_options(bandits, {"iterations": 5, "whole_episode_iterations": 9})
    assert fitted(own, bandits) == own  # refused later, in words
    mazes = PRESETS["ant-mazes"].config
    assert fitted(with_options(mazes, {"iterations": 36}), mazes).hierarchy.random_master_iterations == 8


@pytest.mark.parametrize("name", PRESETS)
def test_a_smoke_run_of_every_preset_fits(name):
    small = smoke(PRESETS[name].config)
    small.check(gym.spec(small.environment.env).max_episode_steps)
    assert small.preset == f"{name}-smoke"


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"iteration": 3}, ["no option 'iteration'", "did you mean iterations?"]),
        ({"zzz": 3}, ["no option 'zzz'"]),
        ({"learning_rate": 0.1}, ["'learning_rate'", "primitive and master", "master_learning_rate=..."]),
        ({"primitive_learning_rte": 0.1}, ["no option 'primitive_learning_rte'", "did you mean learning_rate?"]),
        ({"master": {"memory": 1.5}}, ["'master.memory' is 1.5", "wrong type"]),
    ],
)
def test_refuses_options_that_do_not_exist(options, parts):
    sentence = said(lambda: with_options(Config(), options))
    for part in parts:
        assert part in sentence


configs = st.builds(
    lambda options, preset: dataclasses.replace(with_options(Config(), options), preset=preset),
    st.fixed_dictionaries(
        {},
        optional={
            "seed": st.integers(0, 2**40),
            "folder": st.none() | st.text(max_size=5),
            "hidden": st.lists(st.integers(1, 99), max_size=3).map(tuple),
            "exploration": st.floats(0, 1),
            "whole_episode_iterations": st.integers(0, 50),
            "credit": st.sampled_from(["macro-action", "episode"]),
            "learn_from_explored": st.booleans(),
            "master": st.builds(MasterPPO, learning_rate=st.floats(1e-6, 1), epochs=st.integers(1, 20)),
        },
    ),
    st.sampled_from(sorted(PRESETS)),
)


@given(configs)
def test_json_gives_back_every_configuration(config):
    assert from_dict(json.loads(json.dumps(dataclasses.asdict(config))), "file") == config


POSITIVE = "primitives macro_length joint groups workers steps iterations test_masters sync_interval patience".split()


@given(name=st.sampled_from(POSITIVE), value=st.integers(-1000, 0))
def test_sizes_that_are_not_positive_are_refused_by_name_and_value(name, value):
    value = float(value) if name == "patience" else value
    sentence = said(lambda: with_options(Config(), {name: value}).check(T))
    assert f"--{name.replace('_', '-')} must be greater than 0" in sentence
    assert f"is {value}" in sentence


def test_what_a_file_leaves_out_has_its_default():
    config = from_dict({"run": {"iterations": 7}}, "file")
    assert config == with_options(Config(), {"iterations": 7})


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ([1, 2], ["must hold an object", "[1, 2]"]),
        ("text", ["must hold an object", "text"]),
        ({"runs": {}}, ["'runs'", "not a setting"]),
        ({"run": {"iteration": 3}}, ["'run.iteration'", "not a setting"]),
        ({"check": 1}, ["'check'", "not a setting"]),
        ({"run": 5}, ["run"]),
        ({"run": {"iterations": "many"}}, ["iterations", "many"]),
        ({"network": {"hidden": 64}}, ["hidden", "64"]),
    ],
)
def test_refuses_files_that_hold_something_else(value, parts):
    sentence = said(lambda: from_dict(value, "my.json").check(T))
    for part in ["my.json", *parts]:
        assert part in sentence


def test_an_algorithm_for_one_policy_refuses_several():
    with pytest.raises(UserError, match="add -maml to"):
        with_options(Config(), {"algorithm": "maml"}).check(T)
    with_options(Config(), {"algorithm": "maml", "primitives": 1}).check(T)


@pytest.mark.parametrize(
    "concern",
    [type(concern) for concern in vars(AdaptConfig()).values() if dataclasses.is_dataclass(concern)] + [Film],
    ids=lambda concern: concern.__name__,
)
def test_every_number_has_a_bound(concern):
    assert [name for name, bound in bounds_of(concern) if bound is None] == []


def test_a_number_without_a_bound_is_found():
    @dataclasses.dataclass
    class Careless:
        rate: float = 1.0
        count: int | None = None
        name: str = ""

    assert dict(bounds_of(Careless)) == {"rate": None, "count": None}


def test_columns_of_primitives_are_no_setting_of_their_ppo():
    config = with_options(Config(), {"primitive_columns": (4, 28), "primitive_lam": 0.9})
    assert (config.environment.primitive_columns, config.primitive.lam) == ((4, 28), 0.9)
