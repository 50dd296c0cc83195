"""Two-branch gates: ``a`` and ``1 − a``, written as a complement or as an interpolation."""

from __future__ import annotations

from skviz.capture.graph import Node
from skviz.capture.labels import carrier, replayable

# For each interpolation: weight, end, start.
Mixes = dict[Node, tuple[Node, Node, Node]]


def find_gates(graph: list[Node], mixes: Mixes) -> set[Node]:
    """Tensors within [0, 1] of which the model also uses the complement."""
    weights = [node.complement for node in graph if node.complement is not None]
    made = map(_made_by, [*weights, *(weight for weight, _, _ in mixes.values())])
    return {node for node in made if node.gate}


def _made_by(node: Node) -> Node:
    """Go back through moves and rescaling to the operation that made the values."""
    while replayable(node) or not node.gate:
        before = node.parents[0] if replayable(node) else carrier(node)
        if before is None:
            break
        node = before
    return node


def interpolations(graph: list[Node]) -> Mixes:
    """``start + weight·(end − start)``, as one operation or written out: weight, end, start."""
    mixes: Mixes = {}
    for node in graph:
        ways: list[tuple[Node, ...]] = []
        if node.op == "lerp" and isinstance(node.args[2], Node):
            mixes[node] = (node.args[2], node.args[1], node.args[0])
        elif node.op == "addcmul":
            ways = [(node.parents[0], *node.parents[1:])]
        elif node.op == "add" and len(node.parents) == 2:
            ways = [
                (start, *product.parents)
                for start, product in (node.parents, node.parents[::-1])
                if product.op == "mul" and len(product.parents) == 2
            ]
        else:
            continue
        for start, one, other in ways:
            for weight, change in ((one, other), (other, one)):
                if change.op == "sub" and change.parents[1:] == (start,):
                    product = node if node.op == "addcmul" else _product(node, change)
                    mixes[product] = (weight, change.parents[0], start)
    return mixes


def _product(total: Node, factor: Node) -> Node:
    return next(parent for parent in total.parents if factor in parent.parents)
