"""``wrap``: anybody's model with what it needs to be shown pictures in 0…1."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from skviz.errors import ModelError, Side, entrance
from skviz.models.card import Card

CANVAS = 224  # of networks that were trained on ImageNet
INNER = "wrapped"


class Wrapped(nn.Module):
    """A model behind its normalisation; its modules, and so its units, keep their names.

    Attributes
    ----------
    card
        `skviz.models.card.Card`: name, categories and canvas.
    """

    mean: Tensor  # (3, 1, 1)
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        card: Card,
        mean: Sequence[float],
        std: Sequence[float],
        run: Callable[[nn.Module, Tensor], Any] | None,
    ) -> None:
        super().__init__()
        self.add_module(INNER, model)
        self.card, self.run = card, run
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None])
        self.training = model.training  # not train(): that would change the modes inside

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """Name the model's modules as the model does."""
        memo = set() if memo is None else memo
        if remove_duplicate and self in memo:
            return
        memo.add(self)
        yield prefix, self
        for name, module in self.inner.named_modules(memo, prefix, remove_duplicate):
            yield (
                (name if module is not self.inner else f"{prefix}{'.' * bool(prefix)}{INNER}"),
                module,
            )

    def get_submodule(self, target: str) -> nn.Module:
        """Return a module by the name that the model gives it."""
        return self.inner if target == INNER else self.inner.get_submodule(target)

    @property
    def inner(self) -> nn.Module:
        """The model as it was given."""
        return self._modules[INNER]  # type: ignore[return-value]

    def forward(self, images: Tensor) -> Any:
        """Normalise images (image, 3, H, W) in 0…1, and run the model."""
        images = (images - self.mean) / self.std
        return self.inner(images) if self.run is None else self.run(self.inner, images)


@entrance
def wrap(
    model: nn.Module,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    categories: Sequence[str] | None = None,
    name: str | None = None,
    canvas: Side | None = None,
    forward: Callable[[nn.Module, Tensor], Any] | None = None,
) -> Wrapped:
    """Say what a model needs to be shown pictures, once, for everything that shows it some.

    Parameters
    ----------
    model
        Any module. It is shared, not copied, and its units keep their names.
    mean, std
        Of the colours that it was trained on, in 0…1; by default what timm has in its
        configuration, else 0 and 1: nothing is normalised.
    categories
        Class names in the order of the logits; with them come ``correct`` and names on axes.
    name
        For captions and provenance; by default timm's, else that of its class.
    canvas
        Side of its pictures in pixels; by default timm's, else 224.
    forward
        ``forward(model, images)``, if it is not called with the images alone or does not give
        logits (image, class); of module level, if studies are to go to a cluster.

    Returns
    -------
    Wrapped
        Takes images (image, 3, H, W) in 0…1.

    Raises
    ------
    ModelError
        If mean or std are not three numbers, std not positive, or a category is there twice.

    Examples
    --------
    >>> import skviz, torch
    >>> mine = skviz.wrap(
    ...     skviz.models.nn.SKNet((1,), (32,), num_classes=2).eval(),
    ...     mean=[0.5, 0.5, 0.5],
    ...     std=[0.2, 0.2, 0.2],
    ...     categories=["cat", "dog"],
    ... )
    >>> mine(torch.rand(1, 3, 32, 32)).shape, mine.card.categories
    (torch.Size([1, 2]), ('cat', 'dog'))
    """
    known = getattr(model, "pretrained_cfg", None) or {}
    mean = known.get("mean", (0.0, 0.0, 0.0)) if mean is None else mean
    std = known.get("std", (1.0, 1.0, 1.0)) if std is None else std
    for what, values in (("mean", mean), ("std", std)):
        if len(values) != 3 or (what == "std" and min(values) <= 0):
            raise ModelError(f"{what} must be three numbers (std positive), got {tuple(values)}")
    card = Card(
        name or known.get("architecture") or type(model).__name__,
        {},
        tuple(categories or ()),
        canvas or known.get("input_size", (3, CANVAS, CANVAS))[-1],
    )
    return Wrapped(model, card, mean, std, forward)
