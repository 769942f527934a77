"""Autograd once, replay often.

A minibatch here is small: most of its time would go into building the same autograd graph anew and walking it, not into
arithmetic. So a gradient is derived once for each shape, by autograd, recorded as the flat list of tensor operations that
autograd ran, and from then on replayed by TorchScript's interpreter: the same operations in the same order, so the same bits.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.fx import Graph, Node
from torch.fx.experimental.proxy_tensor import make_fx


def record(function: Callable[..., None], arguments: Sequence[Tensor]) -> Callable[..., object]:
    """A program that does to tensors of these shapes and strides what `function` does to its arguments.

    Args:
        function: changes some of its arguments in place; what it calls may use autograd. It is run twice.
        arguments: examples; shapes are fixed from here on.
    """
    operations = make_fx(function)(*arguments)
    _simplify(operations.graph)
    operations.recompile()

    def replayed(*given: Tensor) -> Tensor:
        operations(*given)
        return given[0]

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns that shapes are fixed, which is meant
        program: Callable[..., object] = torch.jit.trace(replayed, tuple(arguments), check_trace=False)
    return program


def _simplify(graph: Graph) -> None:
    """Leaves out what only autograd needed, and joins what one operation can do."""
    aten = torch.ops.aten
    arithmetic = {getattr(aten, name).Tensor for name in ("add", "sub", "mul", "div", "add_", "sub_", "mul_", "div_")}
    for node in list(graph.nodes):
        if node.target is aten.detach.default:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif node.target in arithmetic and not isinstance(node.args[1], Node):
            # the interpreter makes a tensor of a Python number at each call of the other variant
            node.target = node.target.overloadpacket.Scalar
        elif node.target is aten.add_.Tensor and node.args[1].target is aten.bmm.default and len(node.args[1].users) == 1:
            product = node.args[1]
            node.target, node.args = aten.baddbmm_.default, (node.args[0], *product.args)
    graph.eliminate_dead_code()
