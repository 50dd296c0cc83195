"""The same architecture without what it learned: the control of every claim about a network."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from skviz.errors import ModelError, SkvizError, entrance


@entrance
def untrained(model: nn.Module, images: Iterable[Tensor], *, seed: int) -> nn.Module:
    """Return a copy of a model with random weights and batch-norm statistics of these images.

    Without the calibration a network with batch norm would be compared with one whose activations
    have sizes that no trained network has.

    Parameters
    ----------
    model
        Comes back as it was.
    images
        Batches (image, 3, H, W), on the model's device.
    seed
        Of the weights.

    Raises
    ------
    ModelError
        If a parameter belongs to a module that cannot be initialised anew.
    SkvizError
        If there are batch norms over a single value: one image in a batch, pooled to a point.

    Examples
    --------
    >>> import skviz, torch
    >>> model = skviz.load("objects")
    >>> other = skviz.untrained(model, [torch.rand(4, 3, 96, 96)], seed=0)
    >>> torch.equal(other.fc.weight, model.fc.weight)
    False
    """
    made = copy.deepcopy(model)
    reinitialise(made, made.modules(), seed=seed)
    kept = [
        f"{name}.{parameter}"
        for name, module in made.named_modules()
        for parameter, _ in module.named_parameters(recurse=False)
        if not hasattr(module, "reset_parameters")
    ]
    if kept:
        raise ModelError(
            f"parameter {kept[0]!r} would stay as trained: its module has no reset_parameters(); "
            "give it one"
        )
    calibrate(made, made.modules(), images)
    return made.eval()


def reinitialise(model: nn.Module, modules: Iterable[nn.Module], *, seed: int) -> None:
    """Initialise these modules of a model anew, in place; parents last, since they decide."""
    chosen = set(modules)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in reversed(list(model.modules())):
            if module in chosen and hasattr(module, "reset_parameters"):
                module.reset_parameters()  # type: ignore[operator]


def calibrate(model: nn.Module, modules: Iterable[nn.Module], images: Iterable[Tensor]) -> None:
    """Set the statistics of those of these modules that are batch norms, in place."""
    norms = [module for module in modules if isinstance(module, _BatchNorm)]
    before = [(module.momentum, module.training) for module in norms]
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # cumulative average over all batches
        module.train()
    with torch.no_grad():
        try:
            for batch in images:
                model(batch)
        except ValueError as error:  # torch's word for a channel of one value
            raise SkvizError(
                "batch norms can only be given statistics by two images at a time or more; "
                f"give more images ({error})"
            ) from error
    for module, (momentum, training) in zip(norms, before, strict=True):
        module.momentum = momentum
        module.train(training)
