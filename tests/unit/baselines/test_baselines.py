"""What the paper compares with: its arithmetic against other ways to the same numbers."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from mlsh_mpi.adaptation.loop import AdaptationSet
from mlsh_mpi.adaptation.method import make_method
from mlsh_mpi.baselines import maml, option_critic
from mlsh_mpi.baselines.rl2 import RecurrentNetwork, RecurrentPolicies, RL2Lanes, network_for, policies_of
from mlsh_mpi.baselines.single_policy import Filters
from mlsh_mpi.config import methods
from mlsh_mpi.config.methods import BASELINES
from mlsh_mpi.config.overrides import with_options
from mlsh_mpi.config.presets import PRESETS, preset_config
from mlsh_mpi.errors import UserError
from mlsh_mpi.mpi.watchdog import Watchdog
from mlsh_mpi.networks.actor_critic import Network, StackedActorCritic
from mlsh_mpi.networks.distributions import Categorical, Gaussian
from mlsh_mpi.networks.inference import PrimitivePolicies, outputs_of
from mlsh_mpi.networks.observation_filter import Moments, ObservationFilter
from mlsh_mpi.policies.phi_file import PhiCheckpoint
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.task_family import TaskFamily

B, T = 3, 7


class Alone:
    """A job of one rank."""

    rank, size, watch = 0, 1, Watchdog()

    @property
    def world(self):
        return self

    def split(self, colour):
        return self

    def allreduce(self, values):
        """Leaves the only rank's sum as it is."""


def adaptation_set(env, tasks, **options):
    """One learner a task, in this process."""
    family = TaskFamily.from_maker(EnvironmentMaker(env, None))
    chosen = tuple(family.known_tasks[i] for i in tasks)
    return AdaptationSet(with_options(PRESETS["moving-bandits"].config, options), Alone(), family, chosen)


def recurrent(head):
    stack = StackedActorCritic(1, RecurrentNetwork(4, head, (6,), T))
    torch.manual_seed(0)
    stack.flat.normal_(std=0.5)
    return stack


@pytest.mark.parametrize("head", [Categorical(3), Gaussian(2)])
def test_the_recurrent_network_is_torchs_gru_and_begins_each_trial_empty(head):
    stack = recurrent(head)
    into, back, into_bias, back_bias, weight, bias = (values[0] for values in stack.parameters[:6])
    gru = torch.nn.GRU(4, 6, batch_first=True)
    with torch.no_grad():
        for name, values in zip(gru._flat_weights_names, (into.T, back.T, into_bias, back_bias), strict=True):
            getattr(gru, name).copy_(values)
        seen = torch.randn(B, T, 4)
        expected = gru(seen)[0] @ weight + bias
    torch.testing.assert_close(stack.policy(seen.reshape(1, -1, 4))[0].view(B, T, -1), expected)


def test_acting_step_by_step_is_what_the_network_says_of_whole_trials():
    stack = recurrent(Gaussian(2))
    policies = RecurrentPolicies.empty(stack, B)
    seen = np.random.default_rng(0).normal(size=(T, B, 4)).astype(np.float32)
    act = policies.acting(np.zeros(B, np.int64))
    means = np.stack([act(seen[t], np.zeros((B, 2), np.float32)) for t in range(T)])
    expected = stack.policy(torch.from_numpy(seen.swapaxes(0, 1).reshape(1, -1, 4)))[0].view(B, T, 2)
    np.testing.assert_allclose(means.swapaxes(0, 1), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_remembering_lanes_show_the_last_action_reward_and_end_across_episodes():
    maker = EnvironmentMaker("mlsh/MovingBandits-v0", 2)
    family = TaskFamily.from_maker(maker)
    lanes = RL2Lanes(maker.lanes(2), Categorical(5))
    everyone = np.ones(2, np.bool_)
    first = lanes.reset(everyone, [1, 2], [family.tasks[0]] * 2)
    assert not first[:, 6:].any()
    after, reward, _ = lanes.step(np.array([3, 0]))
    np.testing.assert_array_equal(after[:, 6:11], np.eye(5)[[3, 0]])
    np.testing.assert_array_equal(after[:, 11], reward)
    _, _, end = lanes.step(np.array([1, 1]))
    assert end.all()
    following = lanes.reset(end, [3, 4], [family.tasks[0]] * 2)
    np.testing.assert_array_equal(following[:, 6:11], np.eye(5)[[1, 1]])
    assert (following[:, 12] == 1).all()


def maml_data(stack, seed):
    generator = torch.Generator().manual_seed(seed)
    data = object.__new__(maml.Data)
    data.observation = torch.randn(stack.n, 9, 3, generator=generator, dtype=torch.float64)
    data.action = torch.randint(4, (stack.n, 9), generator=generator)
    data.advantage = torch.randn(stack.n, 9, generator=generator, dtype=torch.float64)
    return data


def test_the_meta_gradient_goes_through_the_step():
    """Against finite differences of what comes after the step, as a function of what was before it."""
    network = Network(3, Categorical(4), (5,))
    stack = StackedActorCritic(2, network)
    torch.manual_seed(0)
    start = [torch.randn_like(values[:1], dtype=torch.float64) * 0.7 for values in stack.parameters]
    first, second = maml_data(stack, 1), maml_data(stack, 2)

    def after(parameters):
        rows = [values.expand(2, *values.shape[1:]) for values in parameters]
        there = maml.stepped(network, rows, first, 0.3, differentiable=True)
        return (network.log_prob(there, second.observation, second.action) * second.advantage).sum()

    leaves = [values.clone().requires_grad_() for values in start]
    gradients = torch.autograd.grad(after(leaves), leaves, allow_unused=True, materialize_grads=True)
    for number, at in ((0, (0, 1, 2)), (1, (0, 3)), (2, (0, 4, 1)), (3, (0, 2))):
        ends = []
        for sign in (1, -1):
            moved = [values.clone() for values in start]
            moved[number][at] += sign * 1e-5
            ends.append(float(after([values.requires_grad_() for values in moved]).detach()))
        assert float(gradients[number][at]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-7)


def test_a_step_of_maml_is_one_of_gradient_ascent_on_each_policys_own_data():
    network = Network(3, Categorical(4), (5,))
    stack = StackedActorCritic(2, network)
    stack.flat.normal_()
    parameters = [values.double() for values in stack.parameters]
    data = maml_data(stack, 1)
    found = maml.stepped(network, parameters, data, 0.3, differentiable=False)
    for row in range(2):
        leaves = [values[row : row + 1].clone().requires_grad_() for values in parameters]
        log_prob = network.log_prob(leaves, data.observation[row : row + 1], data.action[row : row + 1])
        own = torch.autograd.grad((log_prob * data.advantage[row]).mean(), leaves, allow_unused=True, materialize_grads=True)
        for values, gradient, new in zip(leaves, own, found, strict=True):
            torch.testing.assert_close(new[row : row + 1].detach(), (values + 0.3 * gradient).detach())


def test_own_filters_are_as_good_as_one_for_each_learner():
    rng = np.random.default_rng(0)
    filters, apart = Filters(2, 3), [ObservationFilter(3), ObservationFilter(3)]
    for _ in range(3):
        seen = rng.normal([1, 2, 3], 2, size=(5, 4, 3)) + np.repeat([0, 10], 2)[:, None]
        filters.update(seen)
        for row, own in enumerate(apart):
            own.merge(Moments.from_batch(seen[:, 2 * row : 2 * row + 2]))
        expected = np.concatenate([own(seen[0, 2 * row : 2 * row + 2]) for row, own in enumerate(apart)])
        np.testing.assert_allclose(filters(seen[0]), expected, rtol=1e-5, atol=1e-5)


def test_one_step_of_option_critic_by_hand():
    """Bacon et al. (2017), Algorithm 1: intra-option Q-learning, then the two policy gradients."""
    learner = option_critic.OptionCritics(adaptation_set("mlsh/FourRooms-v0", [0], steps=100), options=2)
    tables = {name: values.numpy() for name, values in learner.state_dict().items()}
    tables["option_value"][0, :, 8] = 1.0, 3.0
    tables["option_value"][0, :, 7] = 0.5, 0.0
    tables["action_value"][0, 0, 7, 2] = 0.7
    tables["termination"][0, 0, 8] = np.log(1 / 3)  # ends with probability 1/4
    one, no = np.array([1.0]), np.array([False])
    learner._learn(np.array([0]), np.array([7]), np.array([2]), one, no, np.array([8]))
    target = 1 + 0.99 * (0.75 * 1.0 + 0.25 * 3.0)
    assert tables["option_value"][0, 0, 7] == pytest.approx(0.5 + option_critic.CRITIC * (target - 0.5))
    assert tables["action_value"][0, 0, 7, 2] == pytest.approx(0.7 + option_critic.CRITIC * (target - 0.7))
    gradient = np.array([-0.25, -0.25, 0.75, -0.25])
    np.testing.assert_allclose(tables["preference"][0, 0, 7], option_critic.ACTOR * (0.7 - 0.5) * gradient)
    expected = np.log(1 / 3) - option_critic.TERMINATION * 0.25 * 0.75 * (1.0 - 3.0)
    assert tables["termination"][0, 0, 8] == pytest.approx(expected)
    assert np.count_nonzero(tables["preference"]) == 4


def test_option_critic_learns_nothing_from_what_comes_after_an_end():
    learner = option_critic.OptionCritics(adaptation_set("mlsh/FourRooms-v0", [0], steps=100), options=2)
    tables = {name: values.numpy() for name, values in learner.state_dict().items()}
    tables["option_value"][0, :, 8] = 50.0
    learner._learn(np.array([0]), np.array([7]), np.array([2]), np.array([1.0]), np.array([True]), np.array([8]))
    assert tables["option_value"][0, 0, 7] == pytest.approx(option_critic.CRITIC)
    assert not tables["termination"].any()


@pytest.mark.parametrize("options", [4, 1])
def test_option_critic_and_actor_critic_learn_four_rooms_for_one_goal(options):
    """The corner 103, where a perfect policy earns 94.5 and random actions 1.8."""
    learner = option_critic.OptionCritics(adaptation_set("mlsh/FourRooms-v0", [-1, -1, -1], steps=2000), options)
    returns = [learner.collect(update, explore=True).steps.reward.sum() / 60 for update in range(15)]
    assert returns[0] < 15
    assert returns[-1] > 85


def test_option_critic_refuses_what_has_no_table():
    with pytest.raises(UserError, match="continuous"):
        option_critic.OptionCritics(adaptation_set("mlsh/AntTwowalk-v0", [0]), 4)
    with pytest.raises(UserError, match="one-hot"):
        option_critic.OptionCritics(adaptation_set("mlsh/MovingBandits-v0", [0]), 4).collect(0, explore=True)


def test_trying_without_exploration_teaches_option_critic_nothing():
    learner = option_critic.OptionCritics(adaptation_set("mlsh/FourRooms-v0", [0], steps=100), options=2)
    learner.collect(0, explore=False)
    assert not any(values.any() for values in learner.state_dict().values())


@pytest.mark.parametrize(
    ("preset", "baseline"), list(itertools.product(["moving-bandits", "four-rooms", "ant-twowalk"], BASELINES))
)
def test_every_experiment_has_every_baseline(preset, baseline):
    config, of = preset_config(f"{preset}-{baseline}"), PRESETS[preset].config
    config.check({"moving-bandits": 50, "four-rooms": 100, "ant-twowalk": 1000}[preset])
    assert config.preset == f"{preset}-{baseline}"
    whole = baseline in ("rl2", "maml")
    assert config.sampling == (replace(of.sampling, steps=config.sampling.steps) if whole else of.sampling)
    assert config.sampling.steps >= of.sampling.steps
    assert config.environment == of.environment
    assert config.hierarchy.warmup + config.hierarchy.joint == of.hierarchy.warmup + of.hierarchy.joint
    if baseline != "no-warmup" and baseline != "n1":
        assert config.hierarchy.primitives == 1
    assert methods.default_updates(config) >= 1
    assert (
        methods.steps_of_a_worker(config, TaskFamily.from_maker(EnvironmentMaker(config.environment.env, None)).episode_length)
        >= config.sampling.steps // 2
    )


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("rival", ["rl2", "maml"])
def test_no_preset_refuses_its_own_rivals(preset, rival):
    config = preset_config(f"{preset}-{rival}")
    family = TaskFamily.from_maker(EnvironmentMaker(config.environment.env, None))
    config.check(family.episode_length)
    assert methods.steps_of_a_worker(config, family.episode_length) % family.episode_length == 0


def test_one_episode_teaches_maml_too():
    """Its own mean over time is then what a return is compared with."""
    stack = StackedActorCritic(1, Network(6, Categorical(5), (4,)))
    stack.initialise(0, np.random.default_rng(0))
    there = adaptation_set("mlsh/MovingBandits-v0", [0], steps=50)
    policies = PrimitivePolicies(stack, np.arange(6), None)
    rollout = maml.MAMLAdaptation(there, policies).collect(0, explore=True)
    rollout.steps.reward[10:] = 1
    assert maml.Data(rollout, 1, policies, 0.99).advantage.abs().max() > 0.5


def test_a_trial_that_d_does_not_hold_is_refused():
    config = with_options(preset_config("moving-bandits-rl2"), {"trial": 50})
    with pytest.raises(UserError, match=r"--trial 50 .* use --steps 2500"):
        methods.steps_of_a_worker(config, 50)


def test_methods_that_do_not_fit_what_was_trained_are_refused():
    two = PrimitivePolicies(StackedActorCritic(2, Network(6, Categorical(5), (4,))), np.arange(6), None)
    with pytest.raises(UserError, match=r"2 primitives .*-shared"):
        make_method("fine-tune", adaptation_set("mlsh/MovingBandits-v0", [0, 1]), two)
    with pytest.raises(UserError, match="--method rl2 cannot use what mlsh has trained"):
        make_method("rl2", adaptation_set("mlsh/MovingBandits-v0", [0, 1]), two)


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_single_policy_samples_where_it_learns_and_elsewhere_as_it_is_told(deterministic):
    there = adaptation_set("mlsh/MovingBandits-v0", [0], steps=100, deterministic_primitives=deterministic)
    learner = make_method("scratch", there, None)
    assert learner.explores == deterministic
    for explore in (True, False):
        steps = learner.collect(0, explore=explore).steps
        most_likely = outputs_of(learner._learner.stack, steps.observation.reshape(1, -1, 6))[0].argmax(-1)
        assert np.array_equal(steps.action.reshape(-1), most_likely) == (deterministic and not explore)


@pytest.mark.parametrize("critic_size", [0, 3])
def test_fine_tuning_begins_with_the_trained_policy_and_its_values_where_they_see_the_same(critic_size):
    there = adaptation_set("mlsh/MovingBandits-v0", [0, 1], primitive_critic_inputs=("time-left", "task"))  # three numbers
    trained = StackedActorCritic(1, Network(6, Categorical(5), (64, 64), critic_size=critic_size))
    trained.initialise(0, np.random.default_rng(9))
    learner = make_method("fine-tune", there, PrimitivePolicies(trained, np.arange(6), None))
    now, before = (stack.named_parameters() for stack in (learner._learner.stack, trained))
    for name, values in now.items():
        same = torch.equal(values, before[name].expand_as(values)) if values.shape[1:] == before[name].shape[1:] else False
        assert same == (critic_size == 3 or name != "value.0.weight"), name
    assert np.isfinite(now["value.0.weight"].numpy()).all()
    assert now["value.0.weight"].abs().sum() > 0
    learner.learn(learner.collect(0, explore=True), 0)
    assert not torch.equal(learner._learner.stack.named_parameters()["value.0.weight"], now["value.0.weight"])


def test_a_recurrent_policy_of_other_shapes_is_refused():
    family, config = TaskFamily.from_maker(EnvironmentMaker("mlsh/MovingBandits-v0", None)), preset_config("moving-bandits-rl2")
    parameters = StackedActorCritic(1, network_for(config, family)).named_parameters()
    damaged = parameters | {"policy.1.bias": torch.zeros(1, 1)}  # would be copied into each of five
    assert policies_of(PhiCheckpoint(config, family.name, parameters, None), family).primitives.n == 1
    with pytest.raises(UserError, match=r"policy\.1\.bias must be of shape \(1, 5\), but is of shape \(1, 1\)"):
        policies_of(PhiCheckpoint(config, family.name, damaged, None), family)


def test_every_row_of_the_table_names_what_is_there():
    for method in methods.METHODS.values():
        assert callable(methods.load_entry_point(method.learner))
    for training in methods.ALGORITHMS.values():
        named = (training.train, training.check_resumable, *([training.policies] if training.policies else []))
        assert all(callable(methods.load_entry_point(entry_point)) for entry_point in named)
    assert set(methods.ALGORITHMS) == {"mlsh", *(name for name, method in methods.METHODS.items() if method.training)}
