"""The Python that measures what the explorer shows: lines that travel with what they measure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from skviz.models import zoo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from skviz.capture.interventions import Force

__all__ = ["SCALES", "attributed", "measured", "picked"]

SCALES = tuple(step / 100 for step in range(50, 201, 5))
# What each name in the generated lines needs.
IMPORTS = {
    "skviz.": "import skviz",
    "cutouts.": "from skviz.scenes import cutouts",
    "procedural(": "from skviz.scenes.backgrounds import procedural",
}

Changes = Mapping[str, "Force | str"]


def measured(
    model: nn.Module,
    scenes: Sequence[str],
    scales: Sequence[float],
    changes: Changes,
) -> list[str]:
    """Return the lines that measure scenes, given the lines that make them."""
    grid = "[step / 100 for step in range(50, 201, 5)]"
    lines = [
        _model(model),
        *scenes,
        f"scales = {grid if tuple(scales) == SCALES else list(scales)}",
        *_changed(changes),
        _indented(changes, "ds = skviz.sweep(model, scenes, scales=scales)"),
    ]
    imports = [line for name, line in IMPORTS.items() if any(name in text for text in lines)]
    return [*imports, "", *lines]


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


def _changed(changes: Changes) -> list[str]:
    made = ", ".join(f"{name!r}: {_change(what)}" for name, what in changes.items())
    return [f"with skviz.intervene(model, {{{made}}}):"] if changes else []


def _indented(changes: Changes, line: str) -> str:
    return f"    {line}" if changes else line


def _model(model: nn.Module) -> str:
    card = getattr(model, "card", None)
    name = card.name if card else ""
    if name in zoo.names() and zoo.weights_hash(zoo.load(name)) == zoo.weights_hash(model):
        return f"model = skviz.load({name!r})"
    return "# model: the one given to skviz.explore"


def _change(what: Force | str) -> str:
    return repr(what) if isinstance(what, str) else f"skviz.force(branch={what.branch})"
