"""Calls a walk exported by `mlsh export ant-twowalk` (pip install onnxruntime) 50 times a second, as a controller does."""

import time

import numpy as np
import onnxruntime

if __name__ == "__main__":
    walks = onnxruntime.InferenceSession("ant-twowalk.onnx", providers=["CPUExecutionProvider"])
    observation, start = np.zeros((1, 29), np.float32), time.monotonic()  # put what your sensors measure here
    for tick in range(100):
        action = walks.run(None, {"observation": observation, "primitive": np.array([1])})[0][0]
        if tick % 50 == 0:
            print("torques", action.round(2))  # put your motors here
        time.sleep(max(0.0, start + (tick + 1) / 50 - time.monotonic()))
