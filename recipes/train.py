"""Training: what a recipe decides, and a loop that stops and goes on exactly.

Step s sees images that follow from (recipe seed, s) and nothing else, and nothing else is random,
so a run that was stopped and resumed ends with the same bits as one that was not. Under
``torchrun`` each process takes its share of every batch, and gradients are averaged over them
(`torch.nn.parallel.DistributedDataParallel`); batch norm sees the share of its process.
"""

import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import xarray as xr
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from skviz.errors import ModelError
from skviz.models import device
from skviz.models.nn import SKNet

__all__ = ["Training", "log", "make_network", "train", "world"]

CHECKPOINT_EVERY = 100
LOG = "log.jsonl"
MEASURED = ("loss", "accuracy", "learning_rate")
Batches = Callable[[int, slice], tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Training:
    """What every recipe decides.

    Attributes
    ----------
    name
        Of the network in `skviz.models.zoo`.
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
        """Return what makes the images and labels of a step, or of a share of its batch."""
        raise NotImplementedError

    def prepare(self, network: SKNet) -> None:
        """Change the initial weights; nothing here."""

    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """Return what moves the learning rate."""
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=self.steps
        )

    def plain(self) -> dict[str, Any]:
        """Return the recipe as JSON has it: lists for tuples."""
        fields: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return fields


def make_network(recipe: Training, *, seed: int | None = None) -> SKNet:
    """Build the untrained network of a recipe, by default from the recipe's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed if seed is None else seed)
        network = SKNet(**recipe.network, num_classes=len(recipe.categories))
    recipe.prepare(network)
    return network


def world() -> tuple[int, int]:
    """Return the rank of this process, and how many of them torchrun started."""
    if not distributed.is_torchelastic_launched():
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


@contextmanager
def together(where: str) -> Iterator[torch.device]:
    """Join the processes that torchrun started, if it did; give the device of this one."""
    on = device.resolve(where)
    if not distributed.is_torchelastic_launched():
        yield on
        return
    if on.type == "cuda":
        on = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(on)
    distributed.init_process_group("nccl" if on.type == "cuda" else "gloo")
    try:
        yield on
    finally:
        distributed.destroy_process_group()


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
        Folder for the checkpoint and the log, see `log`. Under torchrun all processes see it. A run
        resumed by another number of processes goes on, but to other bits.
    where
        Device, see `skviz.models.device.resolve`; under torchrun each process has a GPU of its own.
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
        If the folder holds a run of another recipe, or the processes cannot share its batch.
    """
    with together(where) as on:
        rank, size = world()
        if recipe.batch % size:
            raise ModelError(f"{size} processes cannot share batches of {recipe.batch} equally")
        network = make_network(recipe).to(on).to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.AdamW(
            network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        schedule = recipe.schedule(optimizer)
        parts = {"network": network, "optimizer": optimizer, "schedule": schedule}
        run.mkdir(parents=True, exist_ok=True)
        first = resume(run / "checkpoint.pt", recipe, parts, bfloat16)
        model = DistributedDataParallel(network) if size > 1 else network
        batches, share = recipe.batches(on), slice(rank, None, size)
        sums, since = torch.zeros(2, device=on), first
        for step in steps(first, recipe, progress and not rank):
            rate = float(schedule.get_last_lr()[0])
            sums += update(model, optimizer, *batches(step, share), recipe, bfloat16=bfloat16)
            schedule.step()
            if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == recipe.steps:
                if size > 1:
                    distributed.all_reduce(sums)
                means = (sums / (step + 1 - since) / size).tolist()
                if not all(map(math.isfinite, means)):
                    raise ModelError("the loss is not finite; try bfloat16=False")
                if not rank:
                    note(run / LOG, step + 1, dict(zip(MEASURED, [*means, rate], strict=True)))
                    save(run / "checkpoint.pt", recipe, parts, bfloat16, step + 1)
                sums.zero_()
                since = step + 1
    return network.eval().cpu()


def update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    recipe: Training,
    *,
    bfloat16: bool,
) -> Tensor:
    """Take one step of the optimizer; return the loss and the accuracy on its images, (2,)."""
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
        logits = model(images)
    loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # one that is not finite shows in the loss
    optimizer.step()
    truth = labels.argmax(1) if labels.is_floating_point() else labels
    return torch.stack([loss.detach(), (logits.argmax(1) == truth).float().mean()])


def steps(first: int, recipe: Training, progress: bool) -> Iterator[int]:
    """Count the steps that are left, under a progress bar."""
    left = range(first, recipe.steps)
    return iter(
        tqdm(left, recipe.name, recipe.steps, initial=first, unit="step", disable=not progress)
    )


def lines(path: Path) -> list[dict[str, float]]:
    """Read a log, if there is one, up to a line that a power cut tore."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found


def note(path: Path, step: int, measured: dict[str, float]) -> None:
    """Add a line to the log, in place of those that a killed run wrote for steps it then lost."""
    kept = [line for line in lines(path) if line["step"] < step]
    beside = path.with_suffix(".new")
    beside.write_text(
        "".join(json.dumps(line) + "\n" for line in [*kept, {"step": step} | measured])
    )
    beside.replace(path)


def log(run: str | os.PathLike[str]) -> xr.Dataset:
    """Read the log of a run, to be drawn by `recipes.plot_training`.

    Returns
    -------
    xarray.Dataset
        ``loss`` and ``accuracy`` on the training images, means since the step before, and
        ``learning_rate``, each (step).

    Raises
    ------
    ModelError
        If there is none.
    """
    found = lines(Path(run) / LOG)
    if not found:
        raise ModelError(f"{run} holds no log of a training; give the folder of a run")
    measured = {name: ("step", [line[name] for line in found]) for name in MEASURED}
    return xr.Dataset(measured, coords={"step": [int(line["step"]) for line in found]})


def save(path: Path, recipe: Training, parts: dict[str, Any], bfloat16: bool, step: int) -> None:
    """Write a checkpoint beside the old one, then put it in its place."""
    states = {name: part.state_dict() for name, part in parts.items()}
    beside = path.with_suffix(".new")
    plain = json.dumps(asdict(recipe))
    with beside.open("wb") as file:
        torch.save({"recipe": plain, "bfloat16": bfloat16, "step": step, **states}, file)
        file.flush()
        os.fsync(file.fileno())  # a power cut leaves the old one or the new one
    beside.replace(path)


def resume(path: Path, recipe: Training, parts: dict[str, Any], bfloat16: bool) -> int:
    """Load a checkpoint if there is one; return the number of steps done."""
    if not path.exists():
        return 0
    checkpoint = torch.load(path, weights_only=True, map_location="cpu")
    if json.loads(checkpoint["recipe"]) != recipe.plain():
        raise ModelError(
            f"{path} belongs to another recipe ({checkpoint['recipe']}); give another run folder"
        )
    if checkpoint.get("bfloat16", bfloat16) != bfloat16:
        raise ModelError(f"{path} was computed with bfloat16={not bfloat16}; go on like that")
    for name, part in parts.items():
        part.load_state_dict(checkpoint[name])
    return int(checkpoint["step"])
