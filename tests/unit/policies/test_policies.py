"""Primitives and hierarchies from files: they act as they did in training, and as another library's actions."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch

import mlsh_envs
import mlsh_mpi
from mlsh_mpi.config.presets import preset_config
from mlsh_mpi.errors import UserError
from mlsh_mpi.networks.actor_critic import Network, StackedActorCritic
from mlsh_mpi.networks.distributions import head_for
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.networks.observation_filter import Moments, ObservationFilter
from mlsh_mpi.policies.hierarchy import Hierarchy
from mlsh_mpi.policies.phi_file import save_phi
from mlsh_mpi.policies.primitives import Primitives, load
from mlsh_mpi.policies.smdp import PrimitiveActions
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.interface import Interface
from mlsh_mpi.sampling.task_family import TaskFamily

BANDITS = "moving-bandits"


@pytest.fixture(scope="module")
def walks():
    return load("ant-twowalk")


def made(tmp_path, env="mlsh/HumanoidWalkCrawl-v0", preset="humanoid-walk-crawl-paper"):
    """Random primitives with a filter, saved and loaded again; and what they were saved from."""
    family, config = TaskFamily.from_maker(EnvironmentMaker(env, None)), preset_config(preset)
    head = head_for(family.action_space, 0.5)
    stack = StackedActorCritic(2, Network(len(family.primitive_columns), head, config.network.hidden))
    for row in range(2):
        stack.initialise(row, np.random.default_rng(row))
    seen = ObservationFilter(family.observation_size)
    seen.merge(Moments.from_batch(np.random.default_rng(3).normal(size=(50, 1, family.observation_size)).astype(np.float32)))
    policies = PrimitivePolicies(stack, family.primitive_columns, seen)
    save_phi(tmp_path / "phi.pt", policies, config, family)
    return load(tmp_path), policies, family


@pytest.mark.parametrize(
    "space", [gym.spaces.Box(-0.4, 0.4, (3,), np.float32), gym.spaces.Box(0, 9, (2,), np.int64), gym.spaces.Discrete(4)]
)
def test_an_interface_comes_back_from_plain_values(space):
    class Acts(gym.Wrapper):
        def __init__(self):
            super().__init__(gym.make("mlsh/MovingBandits-v0"))
            self.action_space = space

    family = TaskFamily.from_maker(EnvironmentMaker(Acts, 50))
    again = Interface.from_dict(family.as_dict())
    assert (again.action_space, again.observation_size, again.name) == (space, 6, family.name)
    assert again.primitive_columns.tolist() == family.primitive_columns.tolist()
    assert again.actions.unclipped == family.actions.unclipped


def test_loaded_primitives_act_as_in_training(tmp_path):
    primitives, policies, family = made(tmp_path)
    raw = np.random.default_rng(0).normal(size=(5, family.observation_size)).astype(np.float32)
    rows = np.array([0, 1, 1, 0, 1])
    noise = policies.head.noise(np.random.default_rng(7), (5,))
    expected = family.actions(policies.acting(rows)(policies.primitive_view(policies.observe(raw)), noise))
    np.testing.assert_array_equal(primitives.act(raw, rows, rng=np.random.default_rng(7)), expected)
    one = primitives.act(raw[1], 1, deterministic=True)
    assert one.shape == (17,)
    assert primitives.action_space.contains(one)
    np.testing.assert_array_equal(one, primitives.act(raw[1], 1, deterministic=True))


def test_the_likeliest_action_is_the_one_sampled_most():
    primitives = load(BANDITS)
    observation = np.random.default_rng(1).normal(size=6)
    sampled = primitives.act(np.tile(observation, (4000, 1)), 1, rng=np.random.default_rng(0))
    assert np.bincount(sampled, minlength=5).argmax() == primitives.act(observation, 1, deterministic=True)


def test_what_does_not_fit_is_said(walks, tmp_path):
    with pytest.raises(UserError, match=r"29 numbers, one row for each environment, but its shape is \(3,\)"):
        walks.act(np.zeros(3))
    with pytest.raises(UserError, match="primitives are numbered 0 to 1, but primitive is 2"):
        walks.act(np.zeros(29), 2)
    with pytest.raises(UserError, match=r"no pretrained primitives of that name \(did you mean ant-twowalk\?\)"):
        load("ant-twowalks")
    with pytest.raises(UserError, match="use an environment with the same body"):
        PrimitiveActions(gym.make("mlsh/MovingBandits-v0"), walks, 200)
    with pytest.raises(UserError, match="macro_length is 0"):
        PrimitiveActions(gym.make("mlsh/AntTwowalk-v0"), walks, 0)
    (tmp_path / "some.pt").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="is not a hierarchy"):
        Hierarchy.load(tmp_path / "some.pt")


@pytest.mark.parametrize("damage", [{"master": None}, {"macro_length": 0}, {"task": 3}, {"master": torch.zeros(5)}, {"phi": {}}])
def test_a_damaged_hierarchy_gets_one_sentence(tmp_path, damage):
    hierarchy().save(tmp_path / "h.pt")
    torch.save(torch.load(tmp_path / "h.pt", weights_only=True) | damage, tmp_path / "h.pt")
    with pytest.raises(UserError, match=r"damaged|does not fit|is not a phi\.pt"):
        Hierarchy.load(tmp_path / "h.pt")


def hierarchy(seed=0, macro_length=4):
    primitives = load(BANDITS)
    sized = StackedActorCritic(1, Network(6, head_for(gym.spaces.Discrete(2)), primitives.phi.config.network.hidden))
    sized.initialise(0, np.random.default_rng(seed))
    sized.flat *= 3
    return Hierarchy(primitives, sized.flat[0], macro_length, "goal=1")


def test_a_hierarchy_keeps_its_macro_actions_and_begins_anew_at_a_reset():
    acting, rng = hierarchy(macro_length=4), np.random.default_rng(0)
    chosen, asked = [], []
    acting.choose = lambda *_, **__: asked.append(len(chosen)) or len(asked) % 2
    for step in range(10):
        if step == 6:
            acting.reset()
        acting.act(rng.normal(size=6), rng=rng)
        chosen.append(acting.primitive)
    assert asked == [0, 4, 6]
    assert chosen == [1, 1, 1, 1, 0, 0, 1, 1, 1, 1]


def test_a_hierarchy_is_saved_and_loaded(tmp_path):
    before = hierarchy(seed=5)
    before.save(tmp_path / "h.pt")
    after = mlsh_mpi.Hierarchy.load(tmp_path / "h.pt")
    assert (after.task, after.macro_length, len(after.primitives)) == ("goal=1", 4, 2)
    torch.testing.assert_close(after.master.flat, before.master.flat, rtol=0, atol=0)
    observations = np.random.default_rng(2).normal(size=(30, 6))
    for one in (before, after):
        one.reset()
    taken = [[one.act(o, rng=rng) for o in observations] for one, rng in ((b, np.random.default_rng(4)) for b in (before, after))]
    assert taken[0] == taken[1]
    assert torch.load(tmp_path / "h.pt", weights_only=True)["task"] == "goal=1"


def test_a_master_chooses_by_its_own_probabilities():
    acting = hierarchy(seed=3)
    observation, rng = np.random.default_rng(6).normal(size=6), np.random.default_rng(0)
    expected = torch.softmax(acting.master.policy(torch.tensor(observation, dtype=torch.float32)[None, None]), -1)[0, 0].numpy()
    share = np.bincount([acting.choose(observation, rng=rng) for _ in range(4000)], minlength=2) / 4000
    np.testing.assert_allclose(share, expected, atol=0.03)
    assert acting.choose(observation, deterministic=True) == expected.argmax()


def test_primitives_as_actions_are_steps_summed():
    primitives = load(BANDITS)
    env, plain = (gym.make("mlsh/MovingBandits-v0") for _ in range(2))
    wrapped = PrimitiveActions(env, primitives, 20, task=mlsh_envs.MovingBanditsTask(1), seed=3)
    observation, _ = wrapped.reset(seed=11)
    mine, rng = plain.reset(seed=11, options={"task": mlsh_envs.MovingBanditsTask(1)})[0], np.random.default_rng(3)
    np.testing.assert_array_equal(observation, mine)
    for choice, length in ((1, 20), (0, 20), (1, 10)):
        observation, reward, terminated, truncated, info = wrapped.step(choice)
        total = 0.0
        for _ in range(length):
            mine, r, *ends, _ = plain.step(primitives.act(mine, choice, rng=rng))
            total += r
        assert (reward, info["steps"], [terminated, truncated]) == (total, length, ends)
        np.testing.assert_array_equal(observation, mine)
    assert truncated


def test_a_recurrent_policy_is_refused():
    phi = load(BANDITS).phi
    recurrent = dataclasses.replace(phi.config, algorithm=dataclasses.replace(phi.config.algorithm, algorithm="rl2"))
    with pytest.raises(UserError, match="use adapt or replay"):
        Primitives(dataclasses.replace(phi, config=recurrent))
