"""The Python that measures what the explorer shows: lines that travel with what they measure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from inspect import signature

import torch
from torch import Tensor, nn

from skviz.capture.interventions import Force
from skviz.models import zoo
from skviz.scenes.cutouts import place
from skviz.scenes.made import Made, plain

SCALES = tuple(step / 100 for step in range(50, 201, 5))

Changes = Mapping[str, "Force | str"]


def chain(text: str, made: Made) -> str:
    """Write the calls that `skviz.scenes.made` lists, on what an expression gives.

    What is as it is by default is left out.
    """
    usual = {
        name: plain(parameter.default)
        for name, parameter in signature(place).parameters.items()
        if parameter.default not in (None, parameter.empty)
    }
    for call in made:
        words = [
            f"{k}={listed(v) if k == 'scales' else repr(v)}"
            for k, v in call.items()
            if k != "function" and v != usual.get(k)
        ]
        function = call["function"]
        if function == "skviz.place":
            text = f"{function}({', '.join([text, *words])})"
        else:
            text = f"{text}.{function}({', '.join(words)})"
    return text


def measured(
    model: nn.Module,
    scenes: str,
    scales: Sequence[float],
    changes: Changes,
) -> list[str]:
    """Return the lines that measure scenes, given the line that makes them."""
    return [
        "import skviz",
        "",
        network(model),
        scenes,
        f"scales = {listed(scales)}",
        *_changed(changes),
        _indented(changes, "ds = skviz.sweep(model, scenes, scales=scales)"),
    ]


def attributed(changes: Changes, *, method: str, target: str, unit: str) -> list[str]:
    """Return the lines that go on after `measured` and attribute."""
    wanted = repr(target)
    if target == "unit":
        wanted = f"skviz.target.difference({unit!r})"
    ask = (
        f"maps = skviz.attribute(model, scenes, target={wanted}, method={method!r}, scales=scales)"
    )
    return [_indented(changes, ask)]


def picked(scale: float, unit: str) -> str:
    """Return the line that picks what is looked at, as the browser writes it."""
    return f'ds["weight"].sel(scale={float(scale)!r}, unit={json.dumps(unit, ensure_ascii=False)})'


def listed(scales: Sequence[float]) -> str:
    """Write scales, those that are usual by how they are made."""
    usual = "[step / 100 for step in range(50, 201, 5)]"
    return usual if tuple(scales) == SCALES else repr(list(scales))


def _changed(changes: Changes) -> list[str]:
    made = ", ".join(f"{name!r}: {_change(what)}" for name, what in changes.items())
    return [f"with skviz.intervene(model, {{{made}}}):"] if changes else []


def _indented(changes: Changes, line: str) -> str:
    return f"    {line}" if changes else line


def network(model: nn.Module) -> str:
    """Return the line that makes a network, or says which it is."""
    card = getattr(model, "card", None)
    name = card.name if card else ""
    if name in zoo.names() and _is_shipped(model, name):
        return f"model = skviz.load({name!r})"
    return "# model: the one given to skviz.explore"


def _is_shipped(model: nn.Module, name: str) -> bool:
    """Whether a model has the weights of the shipped one of this name."""
    own, shipped = model.state_dict(), _shipped(name)
    return own.keys() == shipped.keys() and all(
        value.dtype == shipped[key].dtype and torch.equal(value.cpu(), shipped[key])
        for key, value in own.items()
    )


@cache
def _shipped(name: str) -> dict[str, Tensor]:
    return zoo.load(name).state_dict()


def _change(what: Force | str) -> str:
    return repr(what) if isinstance(what, str) else f"skviz.force(branch={what.branch})"
