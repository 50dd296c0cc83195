"""What goes into a page that computes: the network as a graph, its runtime, and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skviz.assets import read_bytes
from skviz.errors import SkvizError
from skviz.explorer.code import SCALES, listed, network
from skviz.explorer.grid import Subject
from skviz.explorer.items import OWN, Item, Setting, backgrounds
from skviz.explorer.model import Model, View
from skviz.explorer.page import zipped
from skviz.scenes.drawing import compose
from skviz.scenes.layers import Layers
from skviz.studies.exported import to_onnx

PROTOCOL = "rescale"
# What a page can draw.
PROTOCOLS = (
    PROTOCOL, "scrambled", "silhouette", "blur", "background", "position", "copies", "size"
)  # fmt: skip
CLOSE = 5e-4  # by which a page's weights may differ from torch's; three digits are shown
DRAWN = 0.5 / 255  # by which its pictures may differ
FIXED = 2**13  # what stands for 1 in pictures that bytes cannot hold
FEWEST, MIDDLE = 5, (0.1, 0.5, 0.9)  # objects of which quantiles are drawn, and which
STEPS = 4095  # of a background that is stored


def chosen(model: Model, view: View, objects: int | Sequence[str]) -> list[Item]:
    """Choose what the page can show: some by name, or so many, evenly from all.

    Raises
    ------
    SkvizError
        If the view is of something that the page cannot show, or there is no such object.
    """
    setting = view.setting
    if setting.protocol not in PROTOCOLS:
        raise SkvizError(f"a live page rescales objects; this view is by {setting.protocol!r}")
    every = [item for item in model.items.values() if PROTOCOL in item.protocols]
    if isinstance(objects, int):
        count = min(max(objects, 1), len(every))
        # What is alike lies together, so that each is of another category while there are any.
        ordered = [i.name for i in sorted(every, key=lambda item: (item.category, item.family))]
        names = [ordered[number * len(every) // count] for number in range(count)]
        if setting.item not in names:
            names[ordered.index(setting.item) * count // len(every)] = setting.item
    else:
        names = [model.check("item", name) for name in objects]
    return [item for item in every if item.name in {setting.item, *names}]


def packed(
    model: Model, view: View, objects: int | Sequence[str]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return what the page is told, and what is stored in it, zipped."""
    subject, setting = view.subject, view.setting
    items, canvas = chosen(model, view, objects), subject.canvas
    if canvas % 2:
        raise SkvizError(f"a live page needs a canvas of even side, not {canvas}")
    stored: dict[str, Tensor] = {}
    pictures, told = [], []
    views = [
        model.view(Setting(PROTOCOL, network=setting.network, item=item.name)) for item in items
    ]
    for one in views:
        item, layers, truth = one.item, one.scenes.ready().layers, one.study.truth
        if layers is None:
            raise SkvizError(f"{item.name} has no object that can be moved; leave it out")
        coded, fixed = _stored(layers, one.scales)
        pictures.append(coded.numpy().astype("<i2" if fixed else "u1").tobytes())
        # Not every name of a background is that of an item.
        name = item.background or f"of {item.name}"
        stored[name] = layers.backgrounds[0]
        against = f".against(backgrounds={item.background!r})" if item.background else ""
        told.append(
            {
                **item.named, "protocols": PROTOCOLS, "background": name,
                "height": coded.shape[1], "width": coded.shape[2], "fixed": FIXED * fixed,
                "centre": layers.centre[0].tolist(), "reference": float(layers.reference[0]),
                "number": layers.numbers[0], "extent": layers.extent[0].T.tolist(),
                "truth": None if truth is None else int(truth[0]),
                "code": {
                    "scenes": f"scenes = {item.expression(item.placed(canvas))}",
                    "background": against,
                },
            }
        )  # fmt: skip
    named = backgrounds()
    for name in named:
        if name != OWN and name not in stored:
            stored[name] = views[0].scenes.against(name).layers.backgrounds[0]
    live = {
        "canvas": canvas,
        "output": subject.output,
        "shown": subject.shown,
        "units": _units(subject),
        "categories": getattr(getattr(subject.model, "card", None), "categories", None) or None,
        "items": told,
        "backgrounds": list(stored),
        "own": OWN,
        "close": CLOSE,
        "code": {"model": network(subject.model), "scales": SCALES, "grid": listed(SCALES)},
    }
    choices = model.choices() | {
        "items": [item.named | {"protocols": PROTOCOLS} for item in items],
        "backgrounds": named, "networks": [setting.network], "methods": [],
    }  # fmt: skip
    pictures += [_in_12_bits(picture) for picture in stored.values()]
    files = {
        "ort": zipped(read_bytes("web/ort.wasm.min.mjs")),
        "glue": zipped(read_bytes("web/ort-wasm-simd-threaded.mjs")),
        "wasm": read_bytes("web/ort-wasm-simd-threaded.wasm.gz"),
        "graph": _graph(subject, view),
        "packed": zipped(b"".join(pictures)),
    }
    return {"live": live, "choices": choices, "population": _population(model, views)}, files


def _stored(layers: Layers, scales: Sequence[float]) -> tuple[Tensor, bool]:
    """Return an object (rgba, y, x) as bytes, or premultiplied in `FIXED` point, and whether so.

    All its pixels: a smaller picture of it would be drawn differently, by up to 9 of 255. What was
    rotated is not made of whole 255ths, and goes beyond 0…1.
    """
    premultiplied, alpha = layers.objects[0], layers.objects[0, 3:].clamp(0, 1)
    straight = torch.cat([premultiplied[:3] / alpha.clamp(min=1e-6), alpha]).clamp(0, 1)
    coded = (straight * 255).round().byte()
    rgb, alpha = (coded / 255).split([3, 1])
    again, others = torch.cat([rgb * alpha, alpha])[None], (layers.backgrounds, layers.centre)
    few = {scales[0], scales[len(scales) // 2], scales[-1]}
    drawn = {scale: compose(again, *others, scale * layers.reference) for scale in few}
    if all(float((drawn[scale] - layers.render(scale)).abs().max()) <= DRAWN for scale in few):
        return coded, False
    return (premultiplied * FIXED).round().clamp(-(2**15), 2**15 - 1).short(), True


def _population(model: Model, views: list[View]) -> dict[str, Any]:
    """Measure all objects in their own places: [low, middle, high] by unit and scale."""
    described = views[0].subject.described()
    found = np.full((len(views), len(model.scales), len(described)), np.nan)
    for number, one in enumerate(views):
        for _ in one.measure():
            pass
        weight = one.ds["weight"].isel(image=0)  # (scale, unit, branch)
        at = [model.scales.index(scale) for scale in one.scales]
        for column, unit in enumerate(described):
            found[number, at, column] = weight[:, column, unit["largest"]]
    every = np.isfinite(found).all((0, 2))  # at which no object would leave its canvas
    low_middle_high = np.quantile(found[:, every], MIDDLE, axis=0)  # (3, scale, unit)
    units = {
        unit["name"]: low_middle_high[:, :, column].T.round(4).tolist()
        for column, unit in enumerate(described)
    }
    scales = [scale for scale, kept in zip(model.scales, every, strict=True) if kept]
    many = len(views) >= FEWEST and len(scales) > 1
    named = {"network": views[0].setting.network, "protocol": PROTOCOL, "count": len(views)}
    return named | {"scales": scales, "units": units if many else {}}


def _units(subject: Subject) -> list[dict[str, Any]]:
    """Describe units as the view has it, and what the graph calls their weights."""
    calls = [(unit, name) for unit in subject.units for name in unit.call_names]
    return [
        described | {"weights": name, "ones": [1] * (1 + 2 * unit.spatial)}
        for described, (unit, name) in zip(subject.described(), calls, strict=True)
    ]


def _graph(subject: Subject, view: View) -> bytes:
    """Export the network; in a browser onnxruntime knows no optional inputs."""
    import onnx

    with TemporaryDirectory() as folder:
        path = to_onnx(subject.model, Path(folder, "x.onnx"), view.scenes, units=subject.units)
        proto = onnx.load(path)
    inputs = {value.name for value in proto.graph.input}
    kept = [value for value in proto.graph.initializer if value.name not in inputs]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    return zipped(proto.SerializeToString())


def _in_12_bits(picture: Tensor) -> bytes:
    """Store a background (3, S, S): high bytes, then the rest of two values in one byte."""
    values = (picture.double() * STEPS).round().numpy().astype(np.uint16).ravel()
    low = (values & 15).astype(np.uint8)
    return (values >> 4).astype(np.uint8).tobytes() + (low[::2] | low[1::2] << 4).tobytes()
