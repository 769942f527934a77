"""Autograd once, replay often.

A minibatch here is small: most of its time would go into building the same autograd graph anew and walking it, not into
arithmetic. So a gradient is derived once for each shape, by autograd, recorded as the flat list of tensor operations that
autograd ran, and from then on replayed by TorchScript's interpreter: the same operations in the same order, so the same bits.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Graph, GraphModule, Node
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map


def record(function: Callable[..., None], arguments: Sequence[Tensor]) -> Callable[..., object]:
    """A program that does to tensors of these shapes and strides what `function` does to its arguments.

    Args:
        function: changes some of its arguments in place; what it calls may use autograd. It is run twice.
        arguments: examples; shapes are fixed from here on.
    """
    with _Recorder(arguments) as recorder:
        function(*arguments)
    recorder.graph.output(None)
    _simplify(recorder.graph)
    operations = GraphModule(recorder.constants, recorder.graph)

    def replayed(*given: Tensor) -> Tensor:
        operations(*given)
        return given[0]

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns that shapes are fixed, which is meant
        program: Callable[..., object] = torch.jit.trace(replayed, tuple(arguments), check_trace=False)
    return program


class _Recorder(TorchDispatchMode):
    """Writes down every tensor operation while it is entered, those of autograd's backward pass included.

    What make_fx does, without the second and a half that importing make_fx's compiler costs each rank.
    """

    def __init__(self, arguments: Sequence[Tensor]) -> None:
        super().__init__()
        self.graph = Graph()
        self.constants: dict[str, Any] = {}
        """Tensors that are neither arguments nor made from them."""
        self._alive: list[Tensor] = []  # so that no tensor gets the identity of an earlier one
        self._nodes: dict[int, Node] = {}
        for number, argument in enumerate(arguments):
            self._name(argument, self.graph.placeholder(f"argument_{number}"))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No compiler looks in here; to be kept out of its sight would import it."""
        return False

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        node = self.graph.call_function(func, *tree_map(self._node, (args, kwargs)))
        if isinstance(result, Tensor):
            self._name(result, node)
        else:
            for number, part in enumerate(result):
                self._name(part, self.graph.call_function(operator.getitem, (node, number)))
        return result

    def _name(self, tensor: Tensor, node: Node) -> None:
        self._alive.append(tensor)
        self._nodes[id(tensor)] = node

    def _node(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self._nodes:
            name = f"constant_{len(self.constants)}"
            self.constants[name] = value
            self._name(value, self.graph.get_attr(name))
        return self._nodes[id(value)]


def _simplify(graph: Graph) -> None:
    """Leaves out what only autograd needed, and joins what one operation can do."""
    aten = torch.ops.aten
    arithmetic = {getattr(aten, name).Tensor for name in ("add", "sub", "mul", "div", "add_", "sub_", "mul_", "div_")}
    for node in list(graph.nodes):
        if node.target is aten.detach.default:
            _replace(graph, node, node.args[0])
        elif node.target is aten.mul.Tensor and _is_one(node.args[0]):
            _replace(graph, node, node.args[1])
        elif node.target is aten.mul_.Tensor and _makes(node.args[0], aten.baddbmm.default) and isinstance(node.args[1], int):
            product, factor = node.args
            if not product.kwargs:
                product.kwargs = {"beta": factor, "alpha": factor}
                _replace(graph, node, product)
        elif node.target is aten.squeeze.dim and _makes(node.args[0], aten.sum.dim_IntList):
            total = node.args[0]
            if total.args[1:] == ([node.args[1]], True):
                total.args = total.args[:2]
                _replace(graph, node, total)
        elif node.target is aten.add_.Tensor and _makes(node.args[1], aten.bmm.default):
            product = node.args[1]
            node.target, node.args = aten.baddbmm_.default, (node.args[0], *product.args)
        elif node.target in arithmetic and not isinstance(node.args[1], Node):
            # the interpreter makes a tensor of a Python number at each call of the other variant
            node.target = node.target.overloadpacket.Scalar
    graph.eliminate_dead_code()


def _replace(graph: Graph, node: Node, by: Node) -> None:
    node.replace_all_uses_with(by)
    graph.erase_node(node)


def _makes(value: Any, operation: OpOverload) -> bool:
    """Whether a value comes from this operation and goes nowhere else."""
    return isinstance(value, Node) and value.target is operation and len(value.users) == 1


def _is_one(value: Any) -> bool:
    """Whether a value is where autograd starts: the 1 by which a sum's own gradient is multiplied."""
    aten = torch.ops.aten
    return _makes(value, aten.expand.default) and _makes(value.args[0], aten.ones_like.default)
