"""The Python that measures what the explorer shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skviz.models import zoo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from skviz.capture.interventions import Force
    from skviz.explorer.items import Item, Setting

__all__ = ["SCALES", "python"]

SCALES = tuple(step / 100 for step in range(50, 201, 5))
# What each name in the generated lines needs.
IMPORTS = {
    "replace(": "from dataclasses import replace",
    "torch.": "import torch",
    "skviz.": "import skviz",
    "data.real": "from skviz import data",
    "procedural(": "from skviz.scenes.backgrounds import procedural",
}


def python(
    model: nn.Module,
    item: Item,
    setting: Setting,
    canvas: int,
    *,
    scales: Sequence[float],
    scale: float,
    unit: str,
    changes: dict[str, Force | str],
    method: str = "",
    target: str = "",
) -> str:
    """Return a program that measures a view; the weights shown are the last line's."""
    grid = "[step / 100 for step in range(50, 201, 5)]"
    lines = [
        _model(model),
        *item.python(setting, canvas),
        f"scales = {grid if tuple(scales) == SCALES else list(scales)}",
    ]
    asks = ["ds = skviz.sweep(model, scenes, scales=scales)"]
    if method:
        wanted = repr(target)
        if target == "unit":
            wanted = f"skviz.attribution.attention_difference({unit!r})"
        asks.append(
            f"maps = skviz.attribute("
            f"model, scenes, target={wanted}, method={method!r}, scales=scales)"
        )
    if changes:
        made = ", ".join(f"{name!r}: {_change(what)}" for name, what in changes.items())
        lines.append(f"with skviz.intervene(model, {{{made}}}):")
        asks = [f"    {line}" for line in asks]
    lines += [*asks, f"ds['weight'].sel(scale={scale!r}, unit={unit!r})"]
    body = "\n".join(lines)
    return "\n".join([line for name, line in IMPORTS.items() if name in body] + ["", body, ""])


def _model(model: nn.Module) -> str:
    card = getattr(model, "card", None)
    name = card.name if card else ""
    if name in zoo.names() and zoo.weights_hash(zoo.load(name)) == zoo.weights_hash(model):
        return f"model = skviz.load({name!r})"
    return "# model: the one given to skviz.explore"


def _change(what: Force | str) -> str:
    return repr(what) if isinstance(what, str) else f"skviz.force(branch={what.branch})"
