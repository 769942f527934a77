"""phi's file: what is read is what was written, and what does not fit is refused with both layouts."""

import dataclasses

import numpy as np
import pytest
import torch

from mlsh_mpi.config.presets import preset_config
from mlsh_mpi.config.settings import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.networks.actor_critic import Network, StackedActorCritic
from mlsh_mpi.networks.distributions import head_for
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.networks.observation_filter import Moments, ObservationFilter
from mlsh_mpi.policies.phi_file import load_phi, save_phi
from mlsh_mpi.policies.primitives import load
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.task_family import TaskFamily

TWOWALK, COURSE, BANDITS = (
    TaskFamily.from_maker(EnvironmentMaker(f"mlsh/{name}-v0", None))
    for name in ("AntTwowalk", "AntObstacleCourse", "MovingBandits")
)
CONFIG = preset_config("ant-twowalk")


def trained(family=TWOWALK, config=CONFIG, critic_size=0):
    """Skills with parameters and a filter that have been somewhere."""
    seen, head = len(family.primitive_columns), head_for(family.action_space)
    stack = StackedActorCritic(2, Network(seen, head, config.network.hidden, critic_size=critic_size))
    stack.flat.normal_(generator=torch.Generator().manual_seed(0))
    observation_filter = ObservationFilter(family.observation_size) if config.network.filter_observations else None
    if observation_filter:
        observation_filter.merge(Moments.from_batch(np.random.default_rng(0).normal(3, 2, size=(50, family.observation_size))))
    return PrimitivePolicies(stack, family.primitive_columns, observation_filter)


@pytest.fixture
def phi(tmp_path):
    policies = trained()
    save_phi(tmp_path / "phi.pt", policies, CONFIG, TWOWALK)
    return tmp_path, policies


@pytest.mark.parametrize("name", ["", "phi.pt"])
def test_what_is_read_is_what_was_written(phi, name):
    folder, policies = phi
    found = load_phi(folder / name)
    again = found.policies(TWOWALK)
    assert found.config == CONFIG
    assert found.environment == TWOWALK.name
    assert torch.equal(again.primitives.flat, policies.primitives.flat)
    raw = np.random.default_rng(1).normal(size=(4, TWOWALK.observation_size))
    np.testing.assert_array_equal(again.observe(raw), policies.observe(raw))


def test_a_test_decides_whether_they_sample(phi):
    saved, noise = load_phi(phi[0]), np.random.default_rng(0).normal(size=(3, 2, 8)).astype(np.float32)
    seen = np.random.default_rng(1).normal(size=(2, len(TWOWALK.primitive_columns))).astype(np.float32)
    for deterministic in (True, False):
        config = dataclasses.replace(
            CONFIG, hierarchy=dataclasses.replace(CONFIG.hierarchy, deterministic_primitives=deterministic)
        )
        act = saved.tested_by(config).policies(TWOWALK).acting(np.array([0, 1]))
        once, again, most_likely = act(seen, noise[0]), act(seen, noise[1]), act(seen, 0 * noise[2])
        assert np.array_equal(once, again) == deterministic
        assert np.array_equal(once, most_likely) == deterministic


def test_another_environment_of_the_same_body_takes_them(phi):
    there, seen = load_phi(phi[0]).policies(COURSE), np.zeros((1, 29))
    assert there.primitive_view(seen).shape == phi[1].primitive_view(seen).shape


def test_another_body_is_refused_with_both_layouts(phi):
    with pytest.raises(UserError) as refused:
        load_phi(phi[0]).policies(BANDITS)
    for part in (
        "mlsh/MovingBandits-v0",
        "trained in mlsh/AntTwowalk-v0 they see 27 numbers of the 29 filtered ones and give 8 continuous actions",
        "see 6 numbers of the 6 filtered ones and choose one of 5 actions",
    ):
        assert part in str(refused.value)


def test_a_run_that_is_not_over_has_none(tmp_path):
    with pytest.raises(UserError, match=r"holds no phi\.pt"):
        load_phi(tmp_path)


@pytest.mark.parametrize("kept", ["critic", "policy"])
def test_value_networks_that_see_more_are_not_needed_to_act(tmp_path, kept):
    """They may see what training knows and an environment does not; a file may also lack them."""
    policies = trained(critic_size=3)
    save_phi(tmp_path / "phi.pt", policies, CONFIG, TWOWALK)
    if kept == "policy":
        saved = torch.load(tmp_path / "phi.pt", weights_only=True)
        saved["primitives"] = {name: values for name, values in saved["primitives"].items() if not name.startswith("value.")}
        torch.save(saved, tmp_path / "phi.pt")
    again = load_phi(tmp_path / "phi.pt").policies(COURSE)
    seen, noise = (np.random.default_rng(seed).normal(size=(2, size)).astype(np.float32) for seed, size in ((0, 27), (1, 8)))
    found, expected = (which.acting(np.array([0, 1]))(seen, noise) for which in (again, policies))
    np.testing.assert_array_equal(found, expected)
    assert torch.equal(again.primitives.flat, policies.primitives.flat) == (kept == "critic")


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_file_that_is_no_phi_is_refused(tmp_path, content):
    path = tmp_path / "some.pt"
    if content is None:
        torch.save({"format": "another"}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"is not a phi\.pt"):
        load_phi(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.pt cannot be read"):
        load_phi(tmp_path / "nowhere.pt")


def test_a_newer_format_is_refused(phi):
    saved = torch.load(phi[0] / "phi.pt", weights_only=True) | {"format": 99}
    torch.save(saved, phi[0] / "phi.pt")
    with pytest.raises(UserError, match="format 99"):
        load_phi(phi[0])


@pytest.mark.parametrize(
    ("part", "damage", "said"),
    [
        ("primitives", {"policy.0.weight": None}, "damaged"),
        (
            "primitives",
            {"policy.1.bias": torch.zeros(2, 7)},
            r"must be of shape \(2, 64\), but is of shape \(2, 7\)",
        ),
        ("primitives", {"value.0.bias": 3.0}, "is not a phi.pt"),
        ("interface", {"primitive_columns": [0, 500]}, "its observations and actions cannot be used"),
        ("interface", {"action_space": {"dtype": "O", "low": [0], "high": [1]}}, "its observations and actions cannot be used"),
        ("interface", {"action_space": {"n": -1, "start": 0}}, "its observations and actions cannot be used"),
        ("config", {"network": {"hidden": (0,)}}, "hidden layers need at least one unit"),
        ("config", {"primitive": {"learning_rate": float("inf")}}, "learning-rate must be greater than 0 and finite"),
    ],
)
def test_a_damaged_file_gets_one_sentence(phi, part, damage, said):
    saved = torch.load(phi[0] / "phi.pt", weights_only=True)
    saved[part] = {name: value for name, value in (saved[part] | damage).items() if value is not None}
    torch.save(saved, phi[0] / "phi.pt")
    with pytest.raises(UserError, match=said):
        load(phi[0])


def test_settings_that_came_later_have_their_defaults(phi):
    saved = torch.load(phi[0] / "phi.pt", weights_only=True)
    del saved["config"]["algorithm"]
    torch.save(saved, phi[0] / "phi.pt")
    assert load_phi(phi[0]).config == dataclasses.replace(CONFIG, algorithm=Config().algorithm)


def test_primitives_of_format_1_act_as_they_did_though_actions_are_now_drawn_in_units_of_the_half_width(tmp_path):
    """A humanoid's motors take +-0.4."""
    config = preset_config("humanoid-walk-crawl-paper")
    family = TaskFamily.from_maker(EnvironmentMaker.from_config(config.environment))
    policies = trained(family, config)
    save_phi(tmp_path / "phi.pt", policies, config, family)
    saved = torch.load(tmp_path / "phi.pt", weights_only=True)
    of_then = {name.replace("log_std", "free"): values for name, values in saved["primitives"].items()}
    torch.save(saved | {"format": 1, "primitives": of_then}, tmp_path / "old.pt")
    found = load_phi(tmp_path / "old.pt").policies(family)
    rng = np.random.default_rng(2)
    seen, noise = rng.normal(size=(6, len(family.primitive_columns))), rng.normal(size=(6, 17))
    primitive = np.array([0, 1, 0, 1, 0, 1])
    before = policies.acting(primitive)(seen.astype(np.float32), noise.astype(np.float32))
    now = found.acting(primitive)(seen.astype(np.float32), noise.astype(np.float32))
    np.testing.assert_allclose(family.actions(now), before, rtol=1e-4, atol=1e-4)  # the humanoid itself cuts them off
    assert (np.abs(before) > 0.4).any()
    assert (np.abs(before) < 0.4).any()
