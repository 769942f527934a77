"""A trained policy as one torch module, which TorchScript and ONNX can save.

Shapes (...) are any batch, also none: tracing keeps that, because no size or number of dimensions enters the computation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mlsh_mpi.policies.computation import HIERARCHY, MASTER, Computation


class Observed(nn.Module):
    """The observation as policies see it: (..., observation) -> (..., observation) float32."""

    offset: Tensor
    mean: Tensor
    scale: Tensor
    clip: Tensor

    def __init__(self, of: Computation) -> None:
        super().__init__()
        for name in ("offset", "mean", "scale", "clip"):
            self.register_buffer(name, torch.as_tensor(of.arrays[name]))

    def forward(self, observation: Tensor) -> Tensor:
        seen = ((observation.to(torch.float64) - self.offset).to(torch.float32) - self.mean) * self.scale
        return torch.maximum(torch.minimum(seen, self.clip), -self.clip)


class Networks(nn.Module):
    """K networks of one shape: (..., in) -> (..., K, out)."""

    def __init__(self, of: Computation, name: str) -> None:
        super().__init__()
        depth = sum(key.startswith(f"{name}.") and key.endswith(".weight") for key in of.arrays)
        arrays = [(of.arrays[f"{name}.{layer}.weight"], of.arrays[f"{name}.{layer}.bias"]) for layer in range(depth)]
        weights = [torch.from_numpy(weight if weight.ndim == 3 else weight[None]) for weight, _ in arrays]
        biases = [torch.from_numpy(bias if bias.ndim == 2 else bias[None]) for _, bias in arrays]
        self.count = len(weights[0])
        self.weights = nn.ParameterList([nn.Parameter(weight, requires_grad=False) for weight in weights])
        self.biases = nn.ParameterList([nn.Parameter(bias, requires_grad=False) for bias in biases])

    def forward(self, seen: Tensor) -> Tensor:
        return torch.stack([self.one(seen, k) for k in range(self.count)], -2)

    def one(self, x: Tensor, k: int) -> Tensor:
        """Network k: (..., in) -> (..., out)."""
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if number:
                x = torch.tanh(x)
            x = x @ weight[k] + bias[k]
        return x


class PrimitivesModule(nn.Module):
    """All primitives: (..., observation), (...) numbers of primitives -> (..., action) actions."""

    columns: Tensor
    numbers: Tensor
    middle: Tensor
    half_width: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, of: Computation) -> None:
        super().__init__()
        self.observed, self.networks = Observed(of), Networks(of, "primitives")
        self.register_buffer("numbers", torch.arange(self.networks.count))
        self.register_buffer("columns", torch.from_numpy(of.arrays["columns"]))
        self.continuous = "low" in of.arrays
        action = of.description["outputs"]["action"]
        self.dtype: torch.dtype = getattr(torch, action["type"])
        self.whole = not self.dtype.is_floating_point
        for name in ("middle", "half_width", "low", "high"):
            self.register_buffer(name, torch.as_tensor(of.arrays.get(name, 0.0), dtype=torch.float64))

    def forward(self, observation: Tensor, primitive: Tensor) -> Tensor:
        return self.act(self.observed(observation), primitive)

    def act(self, seen: Tensor, primitive: Tensor) -> Tensor:
        """(..., filtered observation), (...) -> (..., action) actions."""
        of_all = self.networks(seen.index_select(-1, self.columns))
        active = (primitive.unsqueeze(-1) == self.numbers).to(torch.float32)
        out = (of_all * active.unsqueeze(-1)).sum(-2)
        if not self.continuous:
            return out.argmax(-1)
        action = self.middle + self.half_width * out.to(torch.float64)
        if self.whole:
            action = torch.round(action)
        return torch.minimum(torch.maximum(action, self.low), self.high).to(self.dtype)


class OnePrimitiveModule(nn.Module):
    """A single primitive: (..., observation) -> (..., action) actions."""

    def __init__(self, of: Computation) -> None:
        super().__init__()
        self.primitives = PrimitivesModule(of)

    def forward(self, observation: Tensor) -> Tensor:
        return self.primitives(observation, torch.zeros_like(observation[..., 0], dtype=torch.int64))


class MasterModule(nn.Module):
    """A master: (..., observation) -> (...) numbers of primitives."""

    def __init__(self, of: Computation) -> None:
        super().__init__()
        self.observed, self.network = Observed(of), Networks(of, "master")

    def forward(self, observation: Tensor) -> Tensor:
        return self.network.one(self.observed(observation), 0).argmax(-1)


class HierarchyModule(nn.Module):
    """A hierarchy with its clock: (..., observation), (...) steps, (...) primitives -> actions, next steps, next primitives."""

    def __init__(self, of: Computation) -> None:
        super().__init__()
        self.master, self.primitives = Networks(of, "master"), PrimitivesModule(of)
        self.macro_length = int(of.description["macro_length"])

    def forward(self, observation: Tensor, steps: Tensor, primitive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = self.primitives.observed(observation)
        decides = torch.remainder(steps, self.macro_length) == 0
        active = torch.where(decides, self.master.one(seen, 0).argmax(-1), primitive)
        return self.primitives.act(seen, active), steps + 1, active


def module(of: Computation) -> nn.Module:
    """The module of a policy."""
    kinds = {MASTER: MasterModule, HIERARCHY: HierarchyModule}
    primitives = PrimitivesModule if "primitive" in of.description["inputs"] else OnePrimitiveModule
    return kinds.get(of.kind, primitives)(of).eval()


def example_inputs(of: Computation) -> tuple[Tensor, ...]:
    """Inputs of two rows, of the types and shapes that the module takes."""
    inputs = of.description["inputs"].values()
    return tuple(torch.zeros(2, *known["shape"][1:], dtype=getattr(torch, known["type"])) for known in inputs)
