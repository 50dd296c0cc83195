"""Names of units, in everything that takes one."""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

import skviz
from skviz.models.nn import SKNet
from tests.fuzz.judge import Case

UNITS = ("stage1.0.sk", "stage2.0.sk")
WRONG: tuple[Any, ...] = (
    "", ".", "stage1", "stage1.0.sk.", "stage1.0.sk@0", "stage1.0.sk@9", "stage1.0.sk@x", "\0",
    "\x1b[31m", "\udcff", "x" * 10_000, "stage1.0.sk ", "STAGE1.0.SK", 3, None, 1.5, True, b"x",
    ["stage1.0.sk"] * 2, [], [[]], {}, object(), torch.ones(2), float("nan"), ("a", 3), [None],
)  # fmt: skip


def model() -> SKNet:
    """Return a small network."""
    torch.manual_seed(0)
    return SKNet((1, 1), (4, 8), num_classes=3, stem_channels=4, stem_stride=2, groups=2).eval()


def recorded(name: Any) -> Any:
    """Record a unit."""
    net = model()
    with skviz.record(net, units=name) as recording:
        net(torch.rand(2, 3, 16, 16))
    return list(recording.weights)


def changed(name: Any) -> Any:
    """Change a unit."""
    net = model()
    with skviz.intervene(net, {name: "uniform"}):
        return net(torch.rand(2, 3, 16, 16))


def swept(name: Any) -> Any:
    """Sweep a unit."""
    ds = skviz.sweep(model(), torch.rand(2, 3, 16, 16), units=name, progress=False)
    return list(ds["unit"].values)


def attributed(name: Any) -> Any:
    """Attribute a unit."""
    what = skviz.target.branch(name, branch=0)
    images = torch.rand(1, 3, 16, 16)
    return skviz.attribute(model(), images, target=what, method="saliency", progress=False)


def channels(name: Any) -> Any:
    """Pick the channels of a unit."""
    ds = skviz.sweep(model(), torch.rand(2, 3, 16, 16), progress=False)
    return skviz.stats.channels(ds, name)


ACTS = (recorded, changed, swept, attributed, channels)


def right(act: Any, name: Any) -> Any:
    """Return whether an answer is right, where the name is that of a unit."""
    if name is None and act in (recorded, swept):  # all
        return lambda answer: answer == list(UNITS)
    return None


def cases(seed: int, count: int, folder: Path) -> Iterator[Case]:  # noqa: ARG001
    """List cases: all wrong names where there is room, in an order that the seed chooses."""
    every = [(act, name) for act in ACTS for name in WRONG if not unhashable(act, name)]
    every += [(act, UNITS[0]) for act in ACTS]
    random.Random(seed).shuffle(every)
    for act, name in every[:count]:
        if name == UNITS[0]:
            kept = partial(recognised, act)
            yield Case(f"{act.__name__} a unit", partial(act, name), kept, refusable=False)
        else:
            said = f"{act.__name__} {name!r:.40}"
            yield Case(said, partial(act, name), right(act, name))


def recognised(act: Any, answer: Any) -> bool:
    """Whether a unit was found by its name, or by its name alone."""
    return list(answer) == [UNITS[0]] if act in (recorded, swept) else answer is not None


def unhashable(act: Any, name: Any) -> bool:
    """Whether Python itself refuses, before anything is called."""
    return act is changed and isinstance(name, list | dict)
