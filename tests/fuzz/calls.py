"""Every public function, with one argument that is not what it takes."""

import inspect
import random
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

import skviz
from skviz.models.nn import SKNet
from skviz.plot import curves
from skviz.stats import measures
from tests.fuzz.judge import Case
from tests.fuzz.names import UNITS, model

WRONG: tuple[Any, ...] = (
    None, True, 0, -1, 10**9, 2**70, 1.5, float("nan"), float("inf"), "", "x", "auto", "\0", "12",
    b"x", [], [[]], (), (1, 2), {}, {"a": 1}, [None], ["x", "x"], [3, 1], object(), len, int,
    np.int64(3), np.zeros(0), np.ones((2, 2)), torch.ones(2), torch.rand(2, 3, 16, 16),
    Path("nowhere"), xr.Dataset(), "meta", "cuda:99", 1j, range(2), iter([1.0, 2.0]),
    [float("nan")],
)  # fmt: skip
LEFT = {"progress", "client", "forward", "example_args", "example_kwargs", "run"}


@cache
def few() -> Any:
    """Three cut-outs."""
    return skviz.objects(family="noto")[:3]


def scenes() -> Any:
    """Place them."""
    return skviz.place(few(), canvas=16)


def swept() -> xr.Dataset:
    """Sweep them."""
    return skviz.sweep(model(), scenes(), scales=[0.5, 1.0, 1.5], progress=False).copy(deep=True)


QUIET = {"progress": False}


def valid(folder: Path) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Every call as it should be."""
    target = {"method": "saliency", "progress": False}
    return {
        "SKAttention": (skviz.SKAttention, {"channel": 8, "kernels": (1, 3)}),
        "SKNet": (SKNet, {"depths": (1,), "widths": (4,), "groups": 2, "num_classes": 2}),
        "ablate": (skviz.ablate, {"branch": 0}),
        "attribute": (skviz.attribute, {"model": model(), "images": scenes(), **target}),
        "attention_difference": (skviz.attention_difference, {"ds": swept()}),
        "branch": (skviz.target.branch, {"unit": UNITS[0], "branch": 0}),
        "classes": (skviz.target.classes, {"numbers": [0]}),
        "controls": (skviz.controls, {
            "model": model(), "scenes": scenes(), "names": ["silhouette"], "seeds": 1,
            "scales": [0.5, 1.0], **QUIET,
        }),
        "curves": (curves.scale_response, {"ds": swept()}),
        "cut_out": (skviz.photographs().cut_out, {"canvas": 16}),
        "effect": (skviz.effect, {
            "model": model(), "scenes": scenes(), "interventions": {"uniform": "uniform"},
            "scales": [1.0], **QUIET,
        }),
        "expected_kernel": (skviz.expected_kernel, {"ds": swept()}),
        "explore": (skviz.explore, {"model": model(), "objects": scenes(), "scales": [0.5, 1.0]}),
        "factorial": (skviz.factorial, {
            "model": model(), "scenes": scenes(), "sizes": [0.25, 0.5], "copies": (1,),
            "scattered": (False,), "blurs": (1.0,), **QUIET,
        }),
        "find_units": (skviz.find_units, {"model": model(), "images": torch.rand(2, 3, 16, 16)}),
        "force": (skviz.force, {"branch": 0}),
        "intervene": (skviz.intervene, {"model": model(), "interventions": {UNITS[0]: "uniform"}}),
        "load": (skviz.load, {"name": "objects"}),
        "moved": (scenes().moved, {"y": 0.1, "x": 0.1}),
        "objects": (skviz.objects, {"category": ["horse"]}),
        "photographs": (skviz.photographs, {"source": torch.rand(2, 3, 16, 16)}),
        "place": (skviz.place, {"objects": few(), "canvas": 16}),
        "readings": (skviz.readings, {"model": model(), "scenes": scenes(), **QUIET}),
        "receptive_field": (skviz.receptive_field, {
            "model": model(), "scenes": scenes(), "draws": 1, **QUIET,
        }),
        "record": (skviz.record, {"model": model(), "units": [UNITS[0]]}),
        "render": (scenes().render, {"scale": 1.0}),
        "reproduce": (skviz.reproduce, {"path": folder / "none.pdf"}),
        "save_figure": (skviz.save_figure, {
            "figure": curves.scale_response(swept()), "path": folder / "figure.png",
        }),
        "shift": (measures.shift, {"ds": swept()}),
        "swap": (skviz.swap, {"scale": 1.0}),
        "sweep": (skviz.sweep, {"model": model(), "scenes": scenes(), "scales": [1.0], **QUIET}),
        "to_onnx": (skviz.to_onnx, {
            "model": model(), "path": folder / "x.onnx", "scenes": "no such file",
        }),
        "untrained": (skviz.untrained, {
            "model": model(), "images": [torch.rand(2, 3, 16, 16)], "seed": 0,
        }),
        "where": (few().where, {"category": "horse"}),
        "wrap": (skviz.wrap, {"model": model(), "categories": list("abc")}),
        "zoom": (skviz.photographs().zoom, {"canvas": 16}),
    }  # fmt: skip


def used(function: Callable[..., Any], **arguments: Any) -> Any:
    """Call a function, and look at what it gives."""
    if "images" in arguments and function is skviz.find_units:
        return function(arguments.pop("model"), arguments.pop("images"), **arguments)
    made = function(**arguments)
    for entered in (made,) if hasattr(made, "__enter__") else ():
        with entered:
            arguments["model"](torch.rand(2, 3, 16, 16))
    if isinstance(made, torch.nn.Module):
        made.eval()
    if hasattr(made, "ready") and hasattr(made, "ids"):
        made.render(1.0)
    return made


def home(rest: dict[str, Any], training: dict[Any, bool], answer: Any) -> bool:  # noqa: ARG001
    """Whether the model came back as it was."""
    net = rest.get("model")
    if not isinstance(net, torch.nn.Module):
        return True
    return all(p.device.type == "cpu" for p in net.parameters()) and all(
        module.training == training[module] for module in net.modules()
    )


def cases(seed: int, count: int, folder: Path) -> Iterator[Case]:
    """List cases: first each call as it should be, then with something wrong."""
    calls = valid(folder)
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        name = rng.choice(list(calls))
        function, rest = valid(folder)[name]
        known = [key for key in inspect.signature(function).parameters if key not in LEFT]
        key, value = rng.choice(known), rng.choice(WRONG)
        way = rng.random()
        arguments = rest | {key: value}
        if way < 0.05:
            arguments = rest | {"colour": value}
        elif way < 0.1:
            arguments = {each: held for each, held in rest.items() if each != key}
        training = {}
        if isinstance(rest.get("model"), torch.nn.Module):
            training = {module: module.training for module in rest["model"].modules()}
        said = f"{name}({key}={value!r:.30})" if way >= 0.1 else f"{name} {list(arguments)}"
        yield Case(said, partial(used, function, **arguments), partial(home, rest, training))
