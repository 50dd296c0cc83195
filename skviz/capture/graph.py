"""One forward pass, written down as a graph of aten operations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from skviz.capture.tape import Frame, Listener, Made

# Operations that move elements without changing them: labels can be pushed through.
RESHAPING = {"view", "_unsafe_view", "reshape", "_reshape_alias"}
COPYING = {"clone", "_to_copy", "detach", "alias", "lift_fresh", "contiguous", "copy_"}
MOVING = {
    *("permute", "transpose", "t", "select", "slice", "split", "split_with_sizes", "unbind"),
    *("unsqueeze", "squeeze", "expand", "cat", "stack", "index_select", "index", "flip", "roll"),
    *("narrow", "repeat", "unsafe_split", "unsafe_split_with_sizes", "diagonal", "movedim"),
    *("pixel_shuffle", "pixel_unshuffle", "channel_shuffle"),
}
# Operations whose result does not depend on the values they are given.
FACTORY = {
    *("zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like"),
    *("new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided"),
}
KEPT_VALUES = 1 << 22  # elements; larger probabilities are not looked at for being constant


class View(NamedTuple):
    """Which elements of its memory a tensor holds."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, tensor: Tensor) -> View:
        """Look at a tensor."""
        return cls(tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()))


class Call(NamedTuple):
    """Which call of a function made a tensor; of function None, what the module itself returned."""

    function: Any
    stack: tuple[Frame, ...]
    occurrence: int
    python: bool


@dataclass(eq=False, slots=True)
class Node:
    """One tensor of the forward pass: which operation made it, from what, and inside which modules.

    ``func`` is None for a tensor from outside (an input, a parameter, a constant).
    """

    index: int
    shape: tuple[int, ...]
    tainted: bool
    parents: tuple[Node, ...]
    stack: tuple[Frame, ...]
    func: Any = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    output: int = 0
    call: Any = None  # the `Call` to watch for this very tensor
    axes: tuple[int, ...] = ()  # along which the values are a probability
    gate: bool = False  # values within [0, 1], a candidate for (a, 1 - a)
    complement: Node | None = None  # the parent ``a`` if this is 1 - a
    # What a tensor held, and what was written since to its memory through other views of it.
    memory: tuple[tuple[Node, View], ...] = ()
    values: Tensor | None = None
    near: float = 0.0  # what the values sum to along an axis, if they do and it is not one

    @property
    def op(self) -> str:
        """Name of the operation without overload; in-place ones without underscore.

        Those of other namespaces than PyTorch's own keep that, for they may do anything.
        """
        return _name(self.func)

    @property
    def moving(self) -> bool:
        """Whether every element is an element of a parent, unchanged."""
        op = self.op
        return bool(self.memory) or op in RESHAPING or op in COPYING or op in MOVING

    @property
    def pointwise(self) -> bool:
        """Whether every element depends on elements at its place only."""
        return self.func is not None and torch.Tag.pointwise in self.func.tags

    @property
    def elementwise(self) -> bool:
        """Whether every element stays where it is: activations, norms, dropout, arithmetic."""
        return self.pointwise or _keeps_places(self.op)


@cache
def _name(func: Any) -> str:
    """Return the name of an operation, see `Node.op`."""
    if func is None:
        return ""
    name: str = func.overloadpacket.__name__
    space = "" if func.namespace == "aten" else f"{func.namespace}::"
    return space + (name if name == "copy_" else name.rstrip("_"))


@cache
def _keeps_places(name: str) -> bool:
    """Whether an operation of this name leaves elements where they are, though it mixes them."""
    return "::" not in name and (
        name in {"prelu", "_prelu_kernel"}
        or (name.endswith(("norm", "dropout", "norm_no_training")) and "linalg" not in name)
        or "batch_norm" in name
    )


class Graph(Listener):
    """Writes the graph while a model runs inside ``with``."""

    python = aten = alone = True
    within = None

    def __init__(self, model: nn.Module) -> None:
        super().__init__(dict(model.named_modules()))
        self.nodes: list[Node] = []
        self._frames: tuple[Frame, ...] = ()
        self._known: Any = WeakTensorKeyDictionary()  # node, and writes to its memory until then
        self._writes: dict[int, tuple[Any, list[tuple[Node, View]]]] = {}  # by memory

    def add_inputs(self, values: Any) -> None:
        """Mark the tensors in ``values`` as what the model looks at."""
        for leaf in tree_leaves(values):
            if isinstance(leaf, Tensor):
                self._known[leaf] = self._node(leaf, tainted=True), 0

    def made(self, made: Made) -> None:
        """Write down an operation; or of a tensor, which Python-visible call returned it."""
        if not made.python:
            self._frames = tuple(made.stack)
            self._write(made)
        elif isinstance(made.result, Tensor):
            node = self._known.get(made.result, (None, 0))[0]
            if node is None or node.call is None:
                return
            inner, stack = made.stack[-1], tuple(made.stack)
            if made.function is None and inner is node.stack[-1]:
                node.call = Call(None, stack, 0, python=True)
            elif made.function is not None and not node.call.python:
                node.call = Call(made.function, stack, inner.counts[made.function], python=True)

    def _write(self, made: Made) -> None:
        func, args, kwargs, out = made.function, made.args, made.kwargs, made.result
        written = _written(func)
        into = tree_leaves([args[at] if isinstance(at, int) else kwargs.get(at) for at in written])
        given = {key: self._note(value) for key, value in kwargs.items() if key not in written}
        noted = tuple(map(self._note, args)), given
        parents = tuple(_nodes([*noted[0], *given.values()]))
        factory = func.overloadpacket.__name__ in FACTORY
        tainted = not factory and any(parent.tainted for parent in parents)
        count = made.stack[-1].counts[func] if made.stack else 0
        flat = out if isinstance(out, (tuple, list)) else (out,)
        unnamed = [tensor for tensor in into if not any(tensor is made for made in flat)]
        for position, tensor in enumerate([*flat, *unnamed]):
            if not isinstance(tensor, Tensor):
                continue
            node = self._node(tensor, tainted=tainted, parents=parents)
            node.func, node.output, (node.args, node.kwargs) = func, position, noted
            node.call = Call(func, self._frames, count, python=False)
            if node.moving:
                node.gate = len(parents) == 1 and parents[0].gate
            elif tainted and tensor.is_floating_point():
                _look_at_values(node, tensor, args)
            writes = any(tensor is one for one in into)
            self._known[tensor] = node, self._written_to(tensor, node if writes else None)

    def _note(self, value: Any) -> Any:
        """Return the node of a tensor as it is now, whatever wrote to its memory."""
        if isinstance(value, (list, tuple)):
            return [self._note(each) for each in value]
        if not isinstance(value, Tensor):
            return value
        node, seen = self._known.get(value, (None, 0))
        if node is None:
            node = self._node(value, tainted=False)
            if not value.is_floating_point() and value.numel() <= 1 << 12:
                node.values = value.detach().cpu().clone()
        count = self._written_to(value)
        if count > seen:
            since = self._writes[value.untyped_storage()._cdata][1][seen:]
            memory = ((node, View.of(value)), *since)
            parents = tuple(part for part, _ in memory)
            tainted = any(part.tainted for part in parents)
            node = self._node(value, tainted=tainted, parents=parents)
            node.memory = memory
        self._known[value] = node, count
        return node

    def _written_to(self, tensor: Tensor, node: Node | None = None) -> int:
        """Note that ``node`` was written to a tensor's memory; return how often it was so far."""
        if tensor.layout is not torch.strided:
            return 0
        storage = tensor.untyped_storage()
        if node is not None:  # the weak reference keeps the address from being used again
            entry = self._writes.setdefault(storage._cdata, (StorageWeakRef(storage), []))
            entry[1].append((node, View.of(tensor)))
        return len(self._writes.get(storage._cdata, (None, ()))[1])

    def _node(self, tensor: Tensor, *, tainted: bool, parents: tuple[Node, ...] = ()) -> Node:
        shape = tuple(tensor.shape)
        node = Node(len(self.nodes), shape, tainted, parents, self._frames)
        self.nodes.append(node)
        return node


def _nodes(values: Iterable[Any]) -> Iterator[Node]:
    """Yield the nodes among the arguments of an operation, of its lists too."""
    for value in values:
        if isinstance(value, Node):
            yield value
        elif isinstance(value, list):
            yield from _nodes(value)


@cache
def _written(func: Any) -> tuple[int | str, ...]:
    """Return the arguments that an operation writes to: by place, or by name (``out``)."""
    return tuple(
        argument.name if argument.kwarg_only else place
        for place, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )


def tolerance(dtype: torch.dtype) -> float:
    """How far a sum of probabilities of this dtype may be from one."""
    return {torch.bfloat16: 3e-2, torch.float16: 5e-3, torch.float64: 1e-8}.get(dtype, 1e-4)


def _look_at_values(node: Node, tensor: Tensor, args: tuple[Any, ...]) -> None:
    """Fill in ``axes``, ``gate`` and ``complement`` from what was computed."""
    if tensor.numel() == 0 or tensor.dim() == 0:
        return
    close = tolerance(tensor.dtype)
    low, high = map(float, tensor.aminmax())
    inside = low >= -close and high <= 1 + close
    if node.op == "_softmax":  # whatever the values, even if not finite
        node.axes = (args[1] % tensor.dim(),)
    elif inside:
        node.axes = tuple(
            axis
            for axis, size in enumerate(tensor.shape)
            if size > 1 and _sums_to_one(tensor, axis, max(close, 1e-5))
        )
    if node.op == "div" and low >= 0 and not node.axes:
        sums = [tensor.float().sum(axis) for axis in range(1, tensor.dim()) if len(tensor) > 1]
        ranges = [side.aminmax() for side in sums]
        node.near = next((float(b) for a, b in ranges if 0 < b < 1.01 * a), 0.0)
    node.gate = inside and node.elementwise and not node.axes
    weights = node.axes or (node.gate and node.op != "relu")  # there are too many of these
    if weights and tensor.numel() <= KEPT_VALUES:
        node.values = tensor.detach().clone()
    inputs = [parent for parent in node.parents if parent.tainted]
    if node.gate and len(inputs) == 1 and inputs[0].gate and inputs[0].shape == node.shape:
        before = [arg for arg in args if isinstance(arg, Tensor) and arg.shape == tensor.shape]
        if any(_complements(arg, tensor, close) for arg in before):
            node.complement = inputs[0]
            node.gate = False


def _sums_to_one(tensor: Tensor, axis: int, close: float) -> bool:
    """Whether all sums along an axis are one; of most tensors the first is not."""
    first = tensor
    for other in reversed(range(tensor.dim())):
        first = first if other == axis else first.select(other, 0)
    if abs(float(first.float().sum()) - 1) > 2 * close:
        return False
    return bool(((tensor.float().sum(axis) - 1).abs() < close).all())


def _complements(one: Tensor, other: Tensor, close: float) -> bool:
    """Whether two tensors sum to one at every place; most do not at the first."""
    first = (0,) * one.dim()
    near = abs(float(one[first]) + float(other[first]) - 1) <= 2 * close
    return near and bool(((one + other - 1).abs() < close).all())
