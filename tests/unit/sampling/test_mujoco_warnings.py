"""MuJoCo's warnings: each kind once, and no file of them."""

import subprocess
import sys

PROGRAM = """
import gymnasium as gym, mujoco, numpy as np
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker

MODEL = "<mujoco><worldbody><body><freejoint/><geom size='0.1'/></body></worldbody></mujoco>"

class Explodes(gym.Env):
    observation_space, action_space = gym.spaces.Box(-1, 1, (1,), np.float32), gym.spaces.Discrete(2)

    def __init__(self):
        self.model = mujoco.MjModel.from_xml_string(MODEL)
        self.data = mujoco.MjData(self.model)

    def blow_up(self, where):
        mujoco.mj_resetData(self.model, self.data)
        getattr(self.data, where)[0] = 1e12
        mujoco.mj_step(self.model, self.data)

for env in [EnvironmentMaker(Explodes, 10).single() for _ in range(3)]:
    for where in ("qvel", "qpos", "qvel"):
        env.unwrapped.blow_up(where)
"""


def test_each_kind_is_told_once_and_no_file_is_left(tmp_path):
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=tmp_path)
    lines = told.stderr.splitlines()
    assert [("QVEL" in line, "QPOS" in line) for line in lines] == [(True, False), (False, True)]
    assert all(line.startswith("mlsh_mpi: MuJoCo warns: ") for line in lines)
    assert told.stdout == ""
    assert list(tmp_path.iterdir()) == []
