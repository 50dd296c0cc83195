"""One small figure of every type, for the tests that all of them must pass."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure

import skviz
from recipes import plot_training
from skviz import plot
from skviz.models.nn import SKConv

KINDS = [*plot.__all__, "training"]  # the last is drawn by recipes


def made_up(
    *,
    units: int = 6,
    branches: int = 2,
    images: int = 12,
    categories: int = 4,
    channels: int = 12,
    name: str = "stage{stage}.{block}.sk",
    blocks: int = 2,
) -> xr.Dataset:
    """A sweep of no network: weights from a formula and a seeded generator."""
    rng = np.random.default_rng(0)
    scales = [0.5, 1.0, 1.5, 2.0]
    noise = rng.normal(0, 0.3, (images, len(scales), units, branches, channels))
    slope = np.linspace(-0.3, 1, branches)[:, None] * np.linspace(0.2, 1, units)[:, None, None]
    grown = np.array(scales)[:, None, None, None] * slope  # (scale, unit, branch, 1)
    raised = np.exp(noise + grown)
    weight = raised / raised.sum(3, keepdims=True)  # (image, scale, unit, branch, channel)
    names = [name.format(stage=1 + i // blocks, block=i % blocks) for i in range(units)]
    y = np.linspace(0, 255, 16, dtype=np.uint8)
    root = xr.Dataset(
        {
            "weight": (("image", "scale", "unit", "branch"), weight.mean(-1)),
            "thumbnail": (
                ("example", "scale", "y", "x", "rgb"),
                np.broadcast_to(y[:, None, None], (2, len(scales), 16, 16, 3)),
            ),
        },
        coords={
            "image": [f"made-up/{i}" for i in range(images)],
            "scale": scales,
            "unit": names,
            "kernel": (("unit", "branch"), np.tile(3.0 + 2 * np.arange(branches), (units, 1))),
            "category": ("image", [f"category {i % categories}" for i in range(images)]),
        },
        attrs={"model": "made-up", "model_sha256": "0" * 64, "protocol": "rescale", "seed": 7,
               "images_sha256": "1" * 64},
    )  # fmt: skip
    each = weight.transpose(0, 1, 3, 2, 4).reshape(images, len(scales), branches, -1)
    return root.assign(
        channel_weight=(("image", "scale", "branch", "channel"), each)
    ).assign_coords(
        unit_of=("channel", np.repeat(names, channels)),
        index=("channel", np.tile(np.arange(channels), units)),
    )


def studies(model: Any, objects: Any) -> dict[str, Any]:
    """Small studies of a real network, for the figures that are not drawn from a sweep."""
    scenes, quiet = skviz.place(objects, canvas=32), {"progress": False, "device": "cpu"}
    scales = [0.5, 1.0, 2.0]
    changes = {"3×3": 3, "uniform": "uniform"}
    effect = skviz.effect(model, scenes, changes, scales=scales, **quiet)
    judged = effect.assign(
        correct=effect["probability"] > effect["probability"].mean(),
        category_probability=effect["probability"],
    )
    torch.manual_seed(2)
    other = copy.deepcopy(model)
    torch.nn.init.normal_(other.stage1[0].sk.select.weight)
    networks = {"first": model, "second": other}
    more = skviz.place(skviz.objects(family="noto")[::4], canvas=32)
    target = ["predicted", skviz.target.branch("stage1.0.sk", kernel=5)]
    images = scenes.render(1.0)
    return {
        "effect": judged,
        "controls": skviz.controls(model, scenes, scales=scales, seeds=1, **quiet),
        "effects": skviz.stats.main_effects(skviz.factorial(networks, scenes, **quiet)),
        "fields": skviz.receptive_field(model, scenes, scales=scales, draws=1, **quiet),
        "explained": skviz.stats.explained(skviz.readings(model, more, **quiet)),
        "maps": skviz.attribute(
            model, scenes, target=target, method="input_x_gradient", scales=scales, **quiet
        ),
        "trust": skviz.faithfulness(
            model, images, target=target, method="input_x_gradient", points=4, groups=2,
            device="cpu",
        ),
    }  # fmt: skip


def of_other_units(found: dict[str, Any], ds: xr.Dataset) -> dict[str, Any]:
    """Say of the units of another sweep what `studies` say of theirs, again and again."""
    names = [str(name) for name in ds["unit"].values]
    kernels = [f"{k:g}×{k:g}" for k in ds["kernel"].values[0]]

    def wider(study: xr.Dataset, kept: int = 0) -> xr.Dataset:
        own = study.sizes["unit"] - kept
        places = [*(i % own for i in range(len(names))), *range(own, own + kept)]
        more = [*names, *study["unit"].values[own:]]
        return study.isel(unit=places).assign_coords(unit=more)

    def called(study: xr.Dataset) -> xr.Dataset:
        targets = [str(t).replace("stage1.0.sk", names[-1]) for t in study["target"].values]
        return study.assign_coords(target=targets)

    wide = {name: wider(found[name]) for name in ("controls", "effects", "explained", "fields")}
    changes = ["natural", *kernels, "uniform"]
    effect = wider(found["effect"], 1).isel(intervention=[0, *[1] * len(kernels), 2])
    layers = names[:: -max(1, len(names) // 8)]
    trust = called(found["trust"]).isel(randomised=[i % 2 for i in range(len(layers))])
    fields = wide["fields"].isel(selection=[0, *[1] * len(kernels)])
    return wide | {
        "effect": effect.assign_coords(intervention=changes),
        "fields": fields.assign_coords(selection=["natural", *kernels]),
        "maps": called(found["maps"]),
        "trust": trust.assign_coords(randomised=[f"{name}.conv" for name in layers]),
    }


def log() -> xr.Dataset:
    """A training that went well."""
    step = np.arange(100, 2100, 100)
    measured = {
        "loss": 2.3 * np.exp(-step / 900) + 0.5,
        "accuracy": 1 - 0.9 * np.exp(-step / 700),
        "learning_rate": 4e-3 * np.minimum(1, (2000 - step) / 1000),
    }
    return xr.Dataset({name: ("step", values) for name, values in measured.items()}, {"step": step})


def drawings(
    found: dict[str, Any], two: xr.Dataset | None = None, three: xr.Dataset | None = None
) -> dict[str, Callable[[], Figure]]:
    """Say how to draw one figure of every type, of sweeps with two and with three branches."""
    two = made_up() if two is None else two
    three = made_up(branches=3) if three is None else three
    torch.manual_seed(0)
    unit = SKConv(16, kernels=(3, 5, 7), groups=4).eval()
    images = torch.rand(2, 16, 14, 14)
    made: dict[str, Callable[[], Any]] = {
        "attribution_grid": partial(plot.attribution_grid, found["maps"]),
        "branch_heatmap": partial(plot.branch_heatmap, three),
        "channel_raster": partial(plot.channel_raster, two),
        "class_curves": partial(plot.class_curves, two),
        "control_shifts": partial(plot.control_shifts, found["controls"]),
        "expected_kernel": partial(plot.expected_kernel, two),
        "explained": partial(plot.explained, found["explained"]),
        "faithfulness": partial(plot.faithfulness, found["trust"]),
        "impulse_response": partial(plot.impulse_response, unit),
        "intervention_effect": partial(plot.intervention_effect, found["effect"]),
        "main_effects": partial(plot.main_effects, found["effects"]),
        "panel": lambda: plot.panel([plot.scale_response(two), plot.expected_kernel(two)]),
        "receptive_field": partial(plot.receptive_field, found["fields"]),
        "scale_response": partial(plot.scale_response, two),
        "ternary": partial(plot.ternary, three),
        "three_scales": partial(plot.three_scales, two),
        "training": lambda: plot_training.training(log()),
        "unit_diagram": partial(plot.unit_diagram, unit, images),
    }
    assert made.keys() == set(KINDS)
    return made
