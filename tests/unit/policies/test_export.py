"""Exported policies act as the policies do: in onnxruntime, in TorchScript, and with NumPy alone."""

import json
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch

from mlsh_mpi.commands.export import export
from mlsh_mpi.errors import UserError
from mlsh_mpi.networks.actor_critic import Network, StackedActorCritic
from mlsh_mpi.networks.distributions import head_for
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.policies.computation import computation
from mlsh_mpi.policies.export import FORMATS
from mlsh_mpi.policies.export import export as write
from mlsh_mpi.policies.hierarchy import Hierarchy
from mlsh_mpi.policies.numpy_policy import NumpyPolicy
from mlsh_mpi.policies.primitives import load
from mlsh_mpi.sampling.actions import Actions
from mlsh_mpi.sampling.interface import Interface

ort = pytest.importorskip("onnxruntime")
SUFFIXES = list(FORMATS.values())


def runner(path):
    """A function: arrays by name -> outputs, from a file of any format."""
    if path.suffix == ".onnx":
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return lambda **inputs: session.run(None, inputs)
    if path.suffix == ".ts":
        module = torch.jit.load(str(path))

        def run(**inputs):
            out = module(*map(torch.from_numpy, inputs.values()))
            return [each.numpy() for each in (out if isinstance(out, tuple) else (out,))]

        return run
    policy = NumpyPolicy(path)

    def row_by_row(observation, primitive=None):
        if policy.description["kind"] == "master":
            return [np.array([policy.choose(row) for row in observation])]
        numbers = np.zeros(len(observation), int) if primitive is None else primitive
        return [np.array([policy.act(row, k) for row, k in zip(observation, numbers, strict=True)])]

    return row_by_row


def observations(primitives, count=1000):
    """As an environment might give them: mostly within three standard deviations of what was seen in training."""
    found, rng = primitives.policies.observation_filter, np.random.default_rng(0)
    mean, scale = (found.mean, found.scale) if found else (0.0, 1.0)
    return (rng.normal(size=(count, primitives.observation_size)) / scale + mean).astype(np.float32)


@pytest.fixture(scope="module")
def hierarchy():
    primitives = load("ant-mazes")
    network = Network(primitives.observation_size, head_for(gym.spaces.Discrete(3)), primitives.phi.config.network.hidden)
    master = StackedActorCritic(1, network)
    master.initialise(0, np.random.default_rng(0))
    master.flat[0, : master.flat.shape[1] // 2] *= 30  # so that choices differ
    return Hierarchy(primitives, master.flat[0].clone(), 7, "maze=ne")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["ant-mazes", "humanoid-walk-crawl", "moving-bandits"])
def test_all_primitives_act_as_before(tmp_path, name, suffix):
    primitives = load(name)
    seen, numbers = observations(primitives), np.random.default_rng(1).integers(len(primitives), size=1000)
    primitives.export(tmp_path / f"all{suffix}")
    (found,) = runner(tmp_path / f"all{suffix}")(observation=seen, primitive=numbers)
    expected = primitives.act(seen, numbers, deterministic=True)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_primitive_alone(tmp_path, suffix):
    primitives = load("ant-twowalk")
    primitives.export(tmp_path / f"one{suffix}", primitive=1)
    seen = observations(primitives, 5)
    (found,) = runner(tmp_path / f"one{suffix}")(observation=seen)
    np.testing.assert_allclose(found, primitives.act(seen, 1, deterministic=True), rtol=0, atol=2e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_master_chooses_as_before(tmp_path, hierarchy, suffix):
    hierarchy.export(tmp_path / f"master{suffix}", master_only=True)
    seen = observations(hierarchy.primitives, 50)
    (found,) = runner(tmp_path / f"master{suffix}")(observation=seen)
    expected = [hierarchy.choose(row, deterministic=True) for row in seen]
    assert len(set(expected)) > 1
    assert found.tolist() == expected


@pytest.mark.parametrize("suffix", [".onnx", ".ts"])
def test_a_hierarchy_takes_and_gives_its_clock(tmp_path, hierarchy, suffix):
    """Two lanes, the second of which starts an episode three steps later."""
    hierarchy.export(tmp_path / f"whole{suffix}")
    act, seen = runner(tmp_path / f"whole{suffix}"), observations(hierarchy.primitives, 60).reshape(30, 2, -1)
    steps, primitive = np.zeros(2, np.int64), np.zeros(2, np.int64)
    found = []
    for number, both in enumerate(seen):
        if number == 3:
            steps = steps * np.array([1, 0])
        action, steps, primitive = act(observation=both, steps=steps, primitive=primitive)
        found.append(action)

    assert steps.tolist() == [30, 27]
    for lane, begins in ((0, 0), (1, 3)):
        hierarchy.reset()
        expected = [hierarchy.act(row, deterministic=True) for row in seen[begins:, lane]]
        np.testing.assert_allclose([action[lane] for action in found[begins:]], expected, rtol=0, atol=2e-6)


def test_a_hierarchy_of_numpy_keeps_its_clock(tmp_path, hierarchy):
    hierarchy.export(tmp_path / "whole.npz")
    policy, seen = NumpyPolicy(tmp_path / "whole.npz"), observations(hierarchy.primitives, 30)
    for _ in range(2):
        policy.reset(), hierarchy.reset()
        for row in seen[:10]:
            np.testing.assert_array_equal(policy.act(row), hierarchy.act(row, deterministic=True))
            assert policy.primitive == hierarchy.primitive


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("unclipped", [False, True])
@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Box(np.float32([-1, 100, -3]), np.float32([1, 101, 5])),
        gym.spaces.Box(0, 9, (3,), np.int64),
        gym.spaces.Box(0, 9, (3,), np.int8),
    ],
    ids=["uneven", "whole", "small"],
)
def test_offsets_and_all_kinds_of_actions(tmp_path, space, unclipped, suffix):
    offset = np.array([1e9, 0, -5.0, 2])
    interface = Interface("made", 4, space, np.array([3, 0]), Actions.from_space(space, unclipped), offset=offset)
    stack = StackedActorCritic(2, Network(2, head_for(space), (8,)))
    for row in range(2):
        stack.initialise(row, np.random.default_rng(row))
    stack.flat *= 4000 if space.dtype == np.int8 else 20  # beyond the bounds, of the type too where it is small
    policies = PrimitivePolicies(stack, interface.primitive_columns, None)
    seen, numbers = offset + np.random.default_rng(0).normal(size=(100, 4)), np.arange(100) % 2
    write(computation(policies, interface), tmp_path / f"some{suffix}")

    (found,) = runner(tmp_path / f"some{suffix}")(observation=seen, primitive=numbers)
    view = policies.primitive_view(interface.as_float32(seen))
    expected = interface.actions(policies.acting(numbers, deterministic=True)(view, None))
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)


def test_files_describe_their_inputs_and_outputs(tmp_path):
    import onnx

    primitives = load("ant-twowalk")
    for suffix in SUFFIXES:
        primitives.export(tmp_path / f"ant{suffix}")
    extra = {"description.json": ""}
    torch.jit.load(str(tmp_path / "ant.ts"), _extra_files=extra)
    of_onnx = {each.key: each.value for each in onnx.load(str(tmp_path / "ant.onnx")).metadata_props}["description"]
    found = [json.loads(text) for text in (of_onnx, extra["description.json"])]
    found.append(NumpyPolicy(tmp_path / "ant.npz").description)
    assert found[0] == found[1] == found[2]
    assert found[0]["environment"] == "mlsh/AntTwowalk-v0"
    assert found[0]["inputs"]["observation"]["shape"] == ["batch", 29]
    assert found[0]["outputs"]["action"]["low"] == [-1.0] * 8


def test_a_description_is_json_where_actions_have_no_bounds():
    space = gym.spaces.Box(np.float32([-1, -np.inf]), np.float32([1, np.inf]))
    interface = Interface("made", 4, space, np.arange(4), Actions.from_space(space))
    policies = PrimitivePolicies(StackedActorCritic(2, Network(4, head_for(space), (8,))), interface.primitive_columns, None)
    action = json.loads(computation(policies, interface).as_json, parse_constant=pytest.fail)["outputs"]["action"]
    assert (action["low"], action["high"]) == ([-1.0, None], [1.0, None])


def test_numpy_policies_need_numpy_alone(tmp_path):
    """In a fresh interpreter in the folder of the export, as on a robot."""
    export("ant-twowalk", "numpy", output=tmp_path / "ant.npz")
    code = (
        "import sys, numpy as np; from numpy_policy import NumpyPolicy; print(NumpyPolicy('ant.npz').act(np.zeros(29), 1).shape)"
    )
    code += "; print({name.split('.')[0] for name in sys.modules} & {'torch', 'mlsh_mpi', 'gymnasium', 'mpi4py'})"
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert found == "(8,)\nset()\n"


def test_a_module_of_that_name_stays(tmp_path):
    reader = tmp_path / "numpy_policy.py"
    reader.write_text("mine = 1")
    with pytest.raises(UserError, match="would be overwritten"):
        export("ant-twowalk", "numpy", output=tmp_path / "ant.npz")
    assert (reader.read_text(), (tmp_path / "ant.npz").exists()) == ("mine = 1", False)


def test_the_command_names_what_it_has_written(tmp_path, monkeypatch, capsys, hierarchy):
    monkeypatch.chdir(tmp_path)
    hierarchy.save("goal.pt")
    export("goal.pt")
    export("goal.pt", "numpy", master=True, output=tmp_path / "new/master.npz")
    export("goal.pt", "torchscript", primitive=2)
    export("four-rooms")
    said = capsys.readouterr().out
    assert "the hierarchy of goal.pt as onnx in goal.onnx\n" in said
    assert f"{tmp_path}/new/numpy_policy.py reads it" in said
    assert "primitive 2 of goal.pt as torchscript in goal.ts" in said
    assert (tmp_path / "four-rooms.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"source": "nowhere"}, "there is no run folder"),
        ({"source": "ant-mazes", "primitive": 3}, "numbered 0 to 2"),
        ({"source": "ant-mazes", "master": True}, "--master needs one that adapt has kept"),
        ({"source": "ant-mazes", "primitive": 0, "master": True}, "exclude each other"),
        ({"source": "ant-mazes", "output": "policy.pb"}, "must end in .onnx"),
        ({"source": "notes.pt"}, "is not a phi.pt"),
        ({"source": "ant-mazes", "output": "notes.pt/a.onnx"}, "notes.pt/a.onnx cannot be written"),
    ],
)
def test_mistakes_are_a_sentence(tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.pt").write_text("notes")
    if "output" in arguments:
        arguments = {**arguments, "output": tmp_path.joinpath(arguments["output"]).relative_to(tmp_path)}
    with pytest.raises(UserError, match=sentence):
        export(**arguments)


def test_a_master_does_not_act_and_primitives_do_not_choose(tmp_path, hierarchy):
    hierarchy.export(tmp_path / "master.npz", master_only=True)
    hierarchy.primitives.export(tmp_path / "all.npz")
    seen = np.zeros(hierarchy.primitives.observation_size)
    with pytest.raises(ValueError, match="holds a master alone"):
        NumpyPolicy(tmp_path / "master.npz").act(seen)
    with pytest.raises(ValueError, match="holds primitives alone"):
        NumpyPolicy(tmp_path / "all.npz").choose(seen)


def test_a_file_that_is_no_policy_is_a_sentence(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    (tmp_path / "text.npz").write_text("notes")
    for name in ("other.npz", "text.npz"):
        with pytest.raises(ValueError, match="is not a policy"):
            NumpyPolicy(tmp_path / name)


def test_without_the_package_onnx_the_sentence_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr("mlsh_mpi.policies.export.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'mlsh_mpi\[onnx\]'"):
        export("ant-twowalk", output=tmp_path / "a.onnx")
