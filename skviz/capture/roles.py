"""What each axis of a weight tensor means: from what the weights along it meet."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from skviz.capture.graph import Node
from skviz.capture.layout import Layout

KEYS = ["source", "image", "channel", "place"]
_Roles = dict[int, str]
_BOTH, _EITHER = "image·channel", "channel or place"


@dataclass(frozen=True)
class Meetings:
    """What the elements of a probability multiply.

    Attributes
    ----------
    node
        The probability, or ``a`` of a gate.
    shape, axes
        Of the weights, and along which they sum to one; of a gate with an axis of two at the end.
    low, high
        By key, and of this shape: the smallest and largest that each weight meets.
    products
        Where they meet.
    """

    node: Node
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    low: dict[str, Tensor]
    high: dict[str, Tensor]
    products: list[Node]

    def varies(self, key: str, axis: int) -> bool:
        """Whether weights along an axis meet different sources, images, channels or places."""
        values = self.low[key]
        return bool((values != values.narrow(axis, 0, 1)).any())


def roles_of(met: Meetings, branch: int, sure: int | None) -> _Roles:
    """Name the role of each axis longer than one; '?' if it has none or several.

    The layout of the features is certain in the branch ``sure``, which a convolution made.
    """
    roles = {branch: "branch"}
    for axis, size in enumerate(met.shape):
        if axis == branch or size == 1:
            continue
        varying = [key for key in KEYS[1:] if met.varies(key, axis)]
        roles[axis] = varying[0] if len(varying) == 1 else "?"
        if varying[:2] == ["image", "channel"] and _channels(met, axis):
            roles[axis] = _BOTH
        elif varying == KEYS[2:]:  # a linear layer over the columns calls these channels
            each = [_within(met, axis, branch, number) for number in range(met.shape[branch])]
            if all(len(keys) == 1 for keys in each):
                roles[axis] = _EITHER if sure is None else each[sure][0]
    either = [axis for axis, role in roles.items() if role == _EITHER]
    return {**roles, **dict.fromkeys(either, "channel" if len(either) == 1 else "?")}


def _within(met: Meetings, axis: int, branch: int, number: int) -> list[str]:
    """Return what varies along an axis within one branch."""
    found = []
    for key in KEYS[2:]:
        low = met.low[key].narrow(branch, number, 1)
        found += [key] if bool((low != low.narrow(axis, 0, 1)).any()) else []
    return found


def _channels(met: Meetings, axis: int) -> int | None:
    """Return how many channels of each image follow one another on an axis, if they do."""
    size = met.shape[axis]
    images = met.low["image"].movedim(axis, 0).reshape(size, -1)[:, 0]
    count = int((images == images[0]).sum())
    even = size % count == 0 and bool((images.reshape(-1, count).diff(dim=1) == 0).all())
    return count if even else None


def layout_of(met: Meetings, roles: _Roles) -> Layout | None:
    """Return where images, branches, channels and places are; None if not understood."""
    axes = {role: [a for a, r in sorted(roles.items()) if r == role] for role in roles.values()}
    both, image = axes.get(_BOTH, []), axes.get("image", [])
    if not roles or "?" in axes or len(image) + len(both) > 1:
        return None
    split = None
    if both:
        count = _channels(met, both[0])
        split = None if count is None else (both[0], count)

    def places(role: str) -> list[int]:  # an axis that is split counts for two
        return [axis + (split is not None and axis > split[0]) for axis in axes.get(role, [])]

    channel = places("channel") + [axis + 1 for axis in both]
    branch = places("branch")[0] if met.node.axes else None
    images = [*image, *both]
    return Layout(
        images[0] if images else None,
        branch,
        tuple(sorted(channel)),
        tuple(places("place")),
        split,
    )


def describe(met: Meetings, roles: _Roles) -> str:
    """Say how the weights are computed, laid out and used."""
    node = met.node
    named = [
        "space" if roles.get(a) == "place" else roles.get(a, "1" if s == 1 else "?")
        for a, s in enumerate(met.shape)
    ]
    made = {"_softmax": "softmax", "exp": "exp of log-softmax", "div": "quotient"}.get(
        node.op, node.op
    )
    by = "/".join(dict.fromkeys(product.op for product in met.products))
    if not node.axes:
        return f"gate {made}(…), a and 1 − a, as ({', '.join(named[:-1])}); select by {by}"
    over = ", ".join(map(str, met.axes))
    return f"{made} over axis {over} of ({', '.join(named)}); select by {by}"
