"""How the shipped networks came to be: the recipe, the scenes they saw, the training loop.

Step s sees scenes drawn from seed (recipe seed, s) and nothing else, so a run that was stopped and
resumed sees the same scenes as one that was not.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from skviz import data, device
from skviz.backgrounds import crops, procedural
from skviz.errors import ModelError
from skviz.nn import SKNet
from skviz.resample import compose, premultiplied, warp

__all__ = ["RECIPES", "Recipe", "train", "training_scenes"]

CHECKPOINT_EVERY = 100
Batches = Callable[[int], tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Training:
    """What every recipe decides.

    Attributes
    ----------
    name
        Of the network in `skviz.zoo`.
    network
        Arguments of `SKNet`.
    steps, batch, learning_rate, weight_decay, label_smoothing
        AdamW under a one-cycle schedule that peaks at `learning_rate`.
    canvas
        Side in pixels of the images that the network is for.
    seed
        Of the initial weights and of the images.
    """

    name: str
    network: dict[str, Any]
    steps: int = 3000
    batch: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    canvas: int = 96
    seed: int = 0

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        raise NotImplementedError

    def batches(self, where: torch.device) -> Batches:
        """Return what makes the images and labels of a step."""
        raise NotImplementedError

    def prepare(self, network: SKNet) -> None:
        """Change the initial weights; nothing here."""

    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """Return what moves the learning rate."""
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=self.steps
        )

    def continues(self, other: dict[str, Any], step: int) -> bool:
        """Whether `step` steps of the other recipe are the first `step` steps of this one."""
        return other == self.plain() and step <= self.steps

    def plain(self) -> dict[str, Any]:
        """Return the recipe as JSON has it: lists for tuples."""
        fields: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return fields


@dataclass(frozen=True, kw_only=True)
class Recipe(Training):
    """Drawn objects on backgrounds, at any scale.

    Attributes
    ----------
    smallest, largest
        The object's side as a fraction of the canvas, drawn log-uniformly.
    families
        The design families seen.
    """

    smallest: float = 0.22
    largest: float = 1.0
    families: tuple[str, ...] = data.TRAIN_FAMILIES

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return data.objects().categories

    def batches(self, where: torch.device) -> Batches:
        """Return what makes the images and labels of a step."""
        studio = Studio.of(self, where)
        return lambda step: training_scenes(studio, step)


# Two groups, not the paper's 32: with fewer than 16 channels per group, oneDNN's bfloat16 gradient
# of a dilated channels_last convolution on a large map is not finite (torch 2.15, AVX-512 CPU).
SMALL: dict[str, Any] = {
    "depths": (2, 2, 2),
    "widths": (32, 64, 128),
    "stem_channels": 32,
    "stem_stride": 2,
    "groups": 2,
}
RECIPES = {
    "objects": Recipe(name="objects", network=SMALL | {"kernels": (3, 5)}),
    "objects-3": Recipe(name="objects-3", network=SMALL | {"kernels": (3, 5, 7)}),
}


@dataclass(frozen=True, eq=False)
class Studio:
    """The material that training scenes are made of, on one device."""

    recipe: Recipe
    cut_outs: Tensor  # premultiplied (N, 4, 128, 128)
    labels: Tensor  # (N,)
    pictures: list[Tensor] = field(default_factory=list)

    @classmethod
    def of(cls, recipe: Recipe, where: torch.device) -> "Studio":
        """Load the training families and backgrounds of a recipe."""
        objects = data.objects(family=recipe.families)
        order = {name: index for index, name in enumerate(data.objects().categories)}
        labels = torch.tensor([order[name] for name in objects.category])
        pictures = list(data.real_backgrounds(held_out=False).values())
        return cls(recipe, premultiplied(objects.rgba).to(where), labels.to(where), pictures)


def linear_maps(u: Tensor) -> Tensor:
    """Random rotation within ±15°, aspect within ±15 %, shear within ±0.1, mirrored or not.

    Parameters
    ----------
    u
        (N, 4) uniform numbers.

    Returns
    -------
    Tensor
        (N, 2, 2).
    """
    angle = torch.deg2rad(30 * u[:, 0] - 15)
    aspect = (0.3 * u[:, 1] - 0.15).exp()
    shear = 0.2 * u[:, 2] - 0.1
    mirror = torch.where(u[:, 3] < 0.5, -1.0, 1.0)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    turn = torch.stack([cos, -sin, sin, cos], -1).unflatten(-1, (2, 2))
    stretch = torch.stack([mirror * aspect, shear, zero, 1 / aspect], -1).unflatten(-1, (2, 2))
    return turn @ stretch


def colour_maps(u: Tensor) -> Tensor:
    """Random changes of hue, saturation and brightness, as matrices on (red, green, blue).

    Parameters
    ----------
    u
        (N, 3) uniform numbers.

    Returns
    -------
    Tensor
        (N, 3, 3). A linear map without offset keeps premultiplied colours premultiplied.
    """
    hue = math.pi * (u[:, 0] - 0.5) ** 3 * 8  # mostly small, rarely up to ±180°
    saturation = 0.4 + 0.9 * u[:, 1]
    brightness = 0.7 + 0.6 * u[:, 2]
    grey = torch.full((3, 3), 1 / 3, device=u.device)  # projects onto the grey axis
    root = 1 / math.sqrt(3)
    cross = torch.tensor([[0, -root, root], [root, 0, -root], [-root, root, 0]], device=u.device)
    eye = torch.eye(3, device=u.device)
    chroma = hue.cos()[:, None, None] * (eye - grey) + hue.sin()[:, None, None] * cross
    return brightness[:, None, None] * (grey + saturation[:, None, None] * chroma)


def training_scenes(studio: Studio, step: int) -> tuple[Tensor, Tensor]:
    """Make the scenes of one step.

    Returns
    -------
    tuple of Tensor
        Images (batch, 3, canvas, canvas) in 0…1 and labels (batch,).
    """
    recipe, where = studio.recipe, studio.cut_outs.device
    count, canvas = recipe.batch, recipe.canvas
    seed = recipe.seed * 1_000_003 + step
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(studio.labels), (count,), generator=generator).to(where)
    u = torch.rand((count, 14), generator=generator).to(where)
    noise = torch.randn((count, 3, canvas, canvas), generator=generator).to(where)

    seeds = [seed * count + i for i in range(count)]
    backgrounds = procedural(seeds, canvas, device=where)
    real = u[:, 0] < 0.4
    if studio.pictures and bool(real.any()):
        taken = crops(
            studio.pictures, [s for s, yes in zip(seeds, real, strict=True) if yes], canvas
        )
        backgrounds[real] = taken.to(where)

    cut_outs = studio.cut_outs[chosen]
    colour = torch.einsum("nij,njhw->nihw", colour_maps(u[:, 1:4]), cut_outs[:, :3])
    colour = torch.minimum(colour.clamp(min=0), cut_outs[:, 3:])
    objects, growth = warp(torch.cat([colour, cut_outs[:, 3:]], 1), linear_maps(u[:, 4:8]))
    span = math.log(recipe.largest / recipe.smallest)
    side = canvas * recipe.smallest * (span * u[:, 8]).exp()  # (batch,) pixels
    centre = side[:, None] / 2 + u[:, 9:11] * (canvas - side[:, None])
    images = compose(objects, backgrounds, centre, side * growth)

    contrast, offset = 0.7 + 0.6 * u[:, 11], 0.2 * u[:, 12] - 0.1
    images = (images - 0.5) * contrast[:, None, None, None] + 0.5 + offset[:, None, None, None]
    images = images + 0.06 * u[:, 13, None, None, None] * noise
    return images.clamp(0, 1), studio.labels[chosen]


def make_network(recipe: Training, *, seed: int | None = None) -> SKNet:
    """Build the untrained network of a recipe, by default from the recipe's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed if seed is None else seed)
        network = SKNet(**recipe.network, num_classes=len(recipe.categories))
    recipe.prepare(network)
    return network


def train(
    recipe: Training,
    run: Path,
    *,
    where: str = "auto",
    bfloat16: bool = True,
    progress: bool = True,
) -> SKNet:
    """Train the network of a recipe, or go on where the run in that folder stopped.

    Parameters
    ----------
    recipe
        What to train.
    run
        Folder for the checkpoint and for ``log.jsonl`` (step, loss, accuracy on the batch).
    where
        Device, see `skviz.device.resolve`.
    bfloat16
        Compute under bfloat16 autocast; weights stay float32.
    progress
        Show a progress bar.

    Returns
    -------
    SKNet
        In evaluation mode, on the CPU.

    Raises
    ------
    ModelError
        If the folder holds a run of another recipe.
    """
    on = device.resolve(where)
    network = make_network(recipe).to(on).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(
        network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    schedule = recipe.schedule(optimizer)
    parts = {"network": network, "optimizer": optimizer, "schedule": schedule}
    run.mkdir(parents=True, exist_ok=True)
    first = resume(run / "checkpoint.pt", recipe, parts)
    batches = recipe.batches(on)
    for step in steps(first, recipe, progress):
        images, labels = batches(step)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(on.type, torch.bfloat16, enabled=bfloat16):
            logits = network(images)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        if not math.isfinite(norm):
            raise ModelError(f"the gradient is not finite at step {step}; try bfloat16=False")
        optimizer.step()
        schedule.step()
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == recipe.steps:
            accuracy = float((logits.argmax(1) == labels).float().mean())
            line = {"step": step + 1, "loss": round(float(loss.detach()), 4), "accuracy": accuracy}
            with (run / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            save(run / "checkpoint.pt", recipe, parts, step + 1)
    return network.eval().cpu()


def steps(first: int, recipe: Training, progress: bool) -> Iterator[int]:
    """Count the steps that are left, under a progress bar."""
    left = range(first, recipe.steps)
    return iter(
        tqdm(left, recipe.name, recipe.steps, initial=first, unit="step", disable=not progress)
    )


def save(path: Path, recipe: Training, parts: dict[str, Any], step: int) -> None:
    """Write a checkpoint beside the old one, then put it in its place."""
    states = {name: part.state_dict() for name, part in parts.items()}
    beside = path.with_suffix(".new")
    torch.save({"recipe": json.dumps(asdict(recipe)), "step": step, **states}, beside)
    beside.replace(path)


def resume(path: Path, recipe: Training, parts: dict[str, Any]) -> int:
    """Load a checkpoint if there is one; return the number of steps done."""
    if not path.exists():
        return 0
    checkpoint = torch.load(path, weights_only=True)
    if not recipe.continues(json.loads(checkpoint["recipe"]), checkpoint["step"]):
        raise ModelError(
            f"{path} belongs to another recipe ({checkpoint['recipe']}); give another run folder"
        )
    for name, part in parts.items():
        part.load_state_dict(checkpoint[name])
    return int(checkpoint["step"])
