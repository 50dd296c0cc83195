"""Model cards: what a trained network does, measured when it is saved, well or badly."""

from collections.abc import Callable
from dataclasses import asdict

import torch
import xarray as xr
from torch import nn

import skviz
from recipes.crops import crops
from recipes.train import Training
from recipes.train_objects import Recipe
from skviz import stats
from skviz.models.card import Card
from skviz.scenes import cutouts
from skviz.scenes.backgrounds import HELD_OUT_BACKGROUNDS, real_backgrounds
from skviz.scenes.cutouts import place
from skviz.scenes.source import Scenes
from skviz.studies.sweeps import sweep

__all__ = ["card_of", "write_card"]

SCALES = (0.5, 0.6, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
BACKGROUNDS = 3  # of each kind for every cut-out
SEED = 1_000  # far from the seeds of training
CONTROLS = 3


def card_of(recipe: Training) -> Card:
    """Make the card that travels inside the file."""
    training = {
        k: v for k, v in asdict(recipe).items() if k not in ("name", "network", "canvas", "root")
    }
    return Card(recipe.name, recipe.network, recipe.categories, recipe.canvas, training)


def scenes(families: tuple[str, ...], canvas: int, *, real: bool) -> list[Scenes]:
    """Place the cut-outs of these families on unseen backgrounds of one kind."""
    cut_outs = cutouts.objects(family=families)
    made = []
    for seed in range(SEED, SEED + BACKGROUNDS):
        pictures = None
        if real:
            seeds = [seed * 1_000_003 + i for i in range(len(cut_outs))]
            pictures = crops(list(real_backgrounds(held_out=True).values()), seeds, canvas)
        made.append(place(cut_outs, canvas=canvas, backgrounds=pictures, seed=seed))
    return made


def evaluate(model: nn.Module, families: tuple[str, ...], canvas: int, *, real: bool) -> xr.Dataset:
    """Sweep over `scenes`; the root variables, the sets of backgrounds one after the other."""
    trees = [
        sweep(model, source, scales=SCALES, progress=False)
        for source in scenes(families, canvas, real=real)
    ]
    roots = [tree.drop_vars("thumbnail") for tree in trees]
    return xr.concat(roots, "image", data_vars="minimal", coords="minimal", compat="override")


def accuracy_row(name: str, ds: xr.Dataset) -> str:
    """One line of the accuracy table, in percent."""
    accuracy = 100 * ds["correct"].mean("image")
    return f"| {name} | " + " | ".join(f"{value:.1f}" for value in accuracy.values) + " |"


def write_card(model: nn.Module, recipe: Recipe, *, echo: Callable[[str], None] = print) -> str:
    """Measure a network and describe it in Markdown.

    Parameters
    ----------
    model
        The trained network, in evaluation mode.
    recipe
        How it was trained.
    echo
        Called with a word on each measurement, since they take about a minute.
    """
    rows, shown = [], {}
    for families, who in (
        (cutouts.TRAIN_FAMILIES, "training families"),
        (cutouts.HELD_OUT_FAMILIES, "held-out families"),
    ):
        for real in (False, True):
            name = f"{who}, {'photographed' if real else 'procedural'} backgrounds"
            echo(f"measuring {name}")
            shown[who, real] = evaluate(model, families, recipe.canvas, real=real)
            rows.append(accuracy_row(name, shown[who, real]))
    held_out, photographed = (shown["held-out families", real] for real in (False, True))
    echo("measuring controls")
    (source, *_) = scenes(cutouts.HELD_OUT_FAMILIES, recipe.canvas, real=False)
    ends = [SCALES[0], SCALES[-1]]
    controls = skviz.controls(
        model, source, scales=ends, names=("copies", "size"), seeds=CONTROLS, progress=False
    )
    return TEMPLATE.format(
        name=recipe.name,
        recipe=recipe,
        parameters=sum(p.numel() for p in model.parameters()) / 1e6,
        kernels=", ".join(map(str, recipe.network["kernels"])),
        head="| scenes | " + " | ".join(f"{s:g}" for s in SCALES) + " |",
        rule="|" + "---|" * (len(SCALES) + 1),
        accuracy="\n".join(rows),
        worst=worst(held_out),
        shifts=shift_rows(
            stats.shift(held_out, cluster="category"),
            stats.shift(photographed, cluster="category"),
            controls["shift"].mean("image"),
        ),
        photographs=photographs(model, recipe),
        train=", ".join(recipe.families),
        held_out=", ".join(cutouts.HELD_OUT_FAMILIES),
        held_out_backgrounds=", ".join(HELD_OUT_BACKGROUNDS),
        backgrounds=BACKGROUNDS,
        last=f"{SCALES[-1]:g}",
        first=f"{SCALES[0]:g}",
        many=round((SCALES[-1] / SCALES[0]) ** 2),
    )


def worst(ds: xr.Dataset, count: int = 8) -> str:
    """Name the categories that are recognised least, over all scales."""
    accuracy = 100 * ds["correct"].mean("scale").groupby("category").mean()
    low = accuracy.sortby(accuracy)[:count]
    return ", ".join(
        f"{c} ({v:.0f} %)" for c, v in zip(low.category.values, low.values, strict=True)
    )


def shift_rows(found: xr.Dataset, real: xr.Dataset, controls: xr.DataArray) -> str:
    """Lines of the table of shifts: the claim on both kinds of backgrounds, and its controls."""
    untrained = controls.isel(control=slice(-CONTROLS, None))
    lines = []
    for unit in found["unit"].values:
        here, other = found.sel(unit=unit), untrained.sel(unit=unit)
        copies, size = (controls.sel(control=name, unit=unit) for name in ("copies", "size"))
        lines.append(
            f"| {unit} | {here['estimate']:+.3f} | {here['low']:+.3f} to {here['high']:+.3f} | "
            f"{here['d_z']:+.1f} | {100 * here['share']:.0f} % | "
            f"{real['estimate'].sel(unit=unit):+.3f} | {copies:+.3f} | {size:+.3f} | "
            f"{other.min():+.3f} to {other.max():+.3f} |"
        )
    return "\n".join(lines)


def photographs(model: nn.Module, recipe: Recipe) -> str:
    """Say what the network calls the shipped photographs."""
    from skviz.scenes.photographs import photographs

    pictures = photographs()
    images = pictures.zoom(canvas=recipe.canvas).render(1.0)
    with torch.inference_mode():
        probability, index = model(images).softmax(1).max(1)
    order = cutouts.objects().categories
    return ", ".join(
        f"{name} → {order[i]} ({100 * p:.0f} %)"
        for name, i, p in zip(pictures.ids, index.tolist(), probability.tolist(), strict=True)
    )


TEMPLATE = """# {name}

A small SKNet that names 67 kinds of drawn objects at any scale. It exists so that the branch
weights of its Selective-Kernel units can be looked at; it is not meant for photographs.

Trained by `python -m recipes train {name}`; every number below is written by `python -m recipes card {name}`.

| | |
|---|---|
| branches | effective kernels {kernels} (larger than 3: dilated 3×3) |
| stages | depths {recipe.network[depths]}, SKConv widths {recipe.network[widths]}, groups {recipe.network[groups]} |
| parameters | {parameters:.2f} M |
| input | RGB in 0…1, trained at {recipe.canvas}×{recipe.canvas} |
| training scenes | {recipe.steps} steps × {recipe.batch}; object side {recipe.smallest}–{recipe.largest} of the canvas (log-uniform), random position, rotation ±15°, aspect, shear, mirror, colour, contrast, noise |
| optimiser | AdamW, one cycle to {recipe.learning_rate}, weight decay {recipe.weight_decay}, label smoothing {recipe.label_smoothing}, bfloat16 autocast |
| seed | {recipe.seed} |
| design families seen | {train} |
| design families held out | {held_out} |
| photographed backgrounds held out | {held_out_backgrounds} |

The checkpoint is the last one of the schedule; none was selected.

## Accuracy (%) at each scale

Scale 1 is half the canvas, scale 2 fills it (0.6 is 0.3 of the canvas). Centred objects, {backgrounds} unseen
backgrounds of each kind for every cut-out.

{head}
{rule}
{accuracy}

## Selection: change of the attention difference from scale {first} to {last}

Held-out families, paired by scene, procedural backgrounds: mean, its 95 % interval (bootstrap-t
over categories), d_z (mean ÷ standard deviation of the changes), and the share of scenes that move
towards the larger kernel; then the mean on photographed backgrounds. An object that grows also covers
more of the picture, so two controls, on the first set of procedural backgrounds: *copies*, objects
that stay as large and become {many}, which cover as much; *size*, {many} objects that grow and become
one, which always cover the same. Last the same architecture untrained, with selection logits that
vary over images as much as the trained network's: lowest and highest mean of three seeds.

| unit | shift | 95 % interval | d_z | share | photographed | copies | size | untrained |
|---|---|---|---|---|---|---|---|---|
{shifts}

## What it does badly

- Recognised least among the held-out families, over all scales: {worst}.
- Photographs are out of its domain: it calls the shipped ones {photographs}.
- Objects smaller than {recipe.smallest} of the canvas, or rotated beyond ±15°, were never seen in training.
- Two families drawn by other hands are a weak test of generality: all six share the conventions of
  emoji, and some pairs of families resemble each other.
"""
