"""Tensors and arrays of any shape, type and value, where scenes and backgrounds are taken."""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import skviz
from skviz.scenes.cutouts import Objects
from tests.fuzz.judge import Case
from tests.fuzz.names import model

SHAPES = (
    (2, 3, 16, 16), (1, 3, 16, 16), (3, 16, 16), (16, 16), (2, 16, 16, 3), (0, 3, 16, 16), (), (5,),
    (2, 1, 16, 16), (2, 4, 16, 16), (2, 3, 0, 16), (2, 3, 1, 1), (2, 3, 16, 5), (2, 2, 3, 16, 16),
)  # fmt: skip
KINDS: tuple[Any, ...] = (
    torch.float32, torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8,
    torch.int64, torch.bool, torch.complex64,
)  # fmt: skip
VALUES = ("fine", "fine", "nan", "inf", "negative", "large", "constant")
FORMS = (
    "tensor", "tensor", "array", "readonly", "strided", "grad", "sparse", "meta", "list", "object",
    "bytes", "swapped", "subclass",
)  # fmt: skip


class Own(torch.Tensor):
    """A tensor of another class."""


def made(rng: random.Random) -> tuple[str, Any, Any]:
    """Return what it is, the thing, and the plain float32 numbers where it is a plain picture."""
    shape, kind = rng.choice(SHAPES), rng.choice(KINDS)
    value, form = rng.choice(VALUES), rng.choice(FORMS)
    generator = torch.Generator().manual_seed(rng.getrandbits(30))
    plain = torch.rand(shape, generator=generator)
    if value in ("nan", "inf", "negative", "large") and plain.numel():
        filled = {"nan": float("nan"), "inf": float("inf"), "negative": -1.0, "large": 255.0}
        plain.view(-1)[0] = filled[value]
    if value == "constant":
        plain = torch.full(shape, 0.5)
    given: Any = plain.nan_to_num(0, 1, 0)
    given = (given * 255).clamp(0, 255).to(kind) if not kind.is_floating_point else plain.to(kind)
    if form in ("array", "readonly", "object", "swapped", "list", "bytes"):
        array = given.numpy() if kind != torch.bfloat16 else plain.numpy()
        if form == "readonly":
            array.flags.writeable = False
        given = {
            "object": lambda: array.astype(object),
            "swapped": lambda: array[::-1] if shape else array,
            "list": array.tolist, "bytes": array.tobytes,
        }.get(form, lambda: array)()  # fmt: skip
    elif form == "strided":
        given = given.transpose(-1, -2) if len(shape) > 1 else given
    elif form == "grad" and kind.is_floating_point:
        given.requires_grad_()
    elif form == "sparse":
        given = given.to_sparse()
    elif form == "meta":
        given = given.to("meta")
    elif form == "subclass":
        given = given.as_subclass(Own)
    right = shape in SHAPES[:2] and value in ("fine", "constant") and kind.is_floating_point
    right = right and form in ("tensor", "grad", "subclass", "readonly", "array")
    return f"{form} {shape} {kind} {value}", given, plain if right else None


def swept(given: Any) -> Any:
    """Sweep images."""
    return skviz.sweep(model(), given, progress=False)


def attributed(given: Any) -> Any:
    """Attribute images."""
    return skviz.attribute(model(), given, method="saliency", progress=False)


def photographed(given: Any) -> Any:
    """Take photographs."""
    return skviz.photographs(given).zoom(canvas=16).render(1.0)


def placed(given: Any) -> Any:
    """Take backgrounds."""
    objects = skviz.objects(family="noto")[:2]
    return skviz.place(objects, canvas=16, backgrounds=given).render(1.0)


def cut(given: Any) -> Any:
    """Take cut-outs."""
    return skviz.place(Objects(given, ("a", "b"), ("x", "x")), canvas=16).render(0.5)


def based(given: Any) -> Any:
    """Take a baseline."""
    images = torch.full((2, 3, 16, 16), 0.25)
    what = {"method": "saliency", "progress": False}
    return skviz.attribute(model(), images, baseline=given, **what)


def hidden(given: Any) -> Any:
    """Take a mask."""
    images = torch.full((2, 3, 16, 16), 0.25)
    return skviz.attribute(model(), images, mask=given, method="saliency", progress=False)


def found(given: Any) -> Any:
    """Look for units."""
    return skviz.find_units(model(), given)


ACTS = (swept, attributed, photographed, placed, cut, based, hidden, found)


def finite(answer: Any) -> bool:
    """Whether an answer holds what numbers can be, where it must."""
    if isinstance(answer, torch.Tensor):
        return bool(((answer >= 0) & (answer <= 1)).all()) and answer.shape[2:] == (16, 16)
    if hasattr(answer, "names"):
        return len(answer.names) > 0
    name = "weight" if "weight" in answer else "attribution"
    values = answer[name].values
    return bool(np.isfinite(values).all()) and len(values) > 0


def weights(plain: Any, answer: Any) -> bool:
    """Whether weights are those of the network on these numbers."""
    net = model()
    with torch.inference_mode(), skviz.record(net) as recording:
        net(plain)
    means = [each.flatten(2).mean(2).numpy() for each in recording.weights.values()]
    kept = answer["weight"].isel(scale=0).values
    return bool(np.allclose(np.stack(means, 1), kept, atol=2e-3))


def cases(seed: int, count: int, folder: Path) -> Iterator[Case]:  # noqa: ARG001
    """List cases."""
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        what, given, plain = made(rng)
        act = rng.choice(ACTS)
        exact = act is swept and isinstance(given, torch.Tensor)
        right = partial(weights, plain) if plain is not None and exact else finite
        must = plain is not None and act in (swept, placed) and given.dtype == torch.float32
        yield Case(f"{act.__name__}: {what}", partial(act, given), right, not (must and exact))
