"""What an attribution explains: a class, the weight of a branch, or an attention difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from skviz.errors import AttributionError, UnitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from skviz.capture import Unit, Units
    from skviz.capture.kernels import Kernel

__all__ = ["Target", "attention_difference", "branch_weight", "every_branch", "resolve"]


class Target(Protocol):
    """One number per image that a model computes on its way."""

    @property
    def label(self) -> str:
        """Its name in a Dataset."""

    @property
    def unit(self) -> Unit | None:
        """The unit that must be recorded for it."""

    def value(self, logits: Tensor, weights: dict[str, Tensor], image: Tensor) -> Tensor:
        """Return it, (row,).

        Parameters
        ----------
        logits, weights
            What the model gave: (row, class), and by unit (row, branch, channel[, spatial…]).
        image
            (row,) of which image each row is a version.
        """


@dataclass(frozen=True, eq=False)
class ClassLogit:
    """The logit of one class for each image."""

    label: str
    classes: Tensor  # (image,)
    unit: None = None

    def value(self, logits: Tensor, weights: dict[str, Tensor], image: Tensor) -> Tensor:  # noqa: ARG002
        """Return the logit of each row's class."""
        return logits.gather(1, self.classes.to(logits.device)[image, None])[:, 0]


@dataclass(frozen=True)
class WeightSum:
    """A signed sum of mean branch weights of one unit."""

    label: str
    unit: Unit
    call: str  # the unit's name in a recording
    signs: tuple[tuple[int, float], ...]  # (branch, sign)
    channels: tuple[int, ...] | None = None

    def value(self, logits: Tensor, weights: dict[str, Tensor], image: Tensor) -> Tensor:  # noqa: ARG002
        """Return the mean over channels (and places) of the branches, with their signs."""
        recorded = weights[self.call]
        if self.channels is not None:
            recorded = recorded[:, :, list(self.channels)]
        means = recorded.flatten(2).mean(2)  # (row, branch)
        return torch.stack([sign * means[:, branch] for branch, sign in self.signs]).sum(0)


@dataclass(frozen=True)
class BranchWeight:
    """A branch's weight, by kernel or index; made by `branch_weight`."""

    unit: str
    kernel: Kernel | None = None
    branch: int | None = None
    channels: tuple[int, ...] | None = None

    def resolve(self, unit: Unit) -> WeightSum:
        """Find the branch in a unit."""
        branch = unit.branch_index(kernel=self.kernel, branch=self.branch)
        if self.channels is not None:
            count = unit.channels or 1
            wrong = [channel for channel in self.channels if not 0 <= channel < count]
            if wrong or not self.channels:
                raise AttributionError(
                    f"unit {unit.name!r} has channels 0 to {count - 1}, got "
                    f"channels={list(self.channels)}"
                )
        chosen = "" if self.channels is None else f" of {len(self.channels)} channels"
        label = f"{self.unit} {unit.branch_name(branch)}{chosen}"
        return WeightSum(label, unit, self.unit, ((branch, 1.0),), self.channels)


@dataclass(frozen=True)
class AttentionDifference:
    """Weight of the largest kernel minus weight of the smallest; see `attention_difference`."""

    unit: str

    def resolve(self, unit: Unit) -> WeightSum:
        """Find the branches in a unit."""
        if unit.largest is None or unit.smallest is None:
            raise AttributionError(
                f"unit {unit.name!r} has not one smallest and one largest kernel; attribute a "
                f"branch instead, branch_weight({unit.name!r}, branch=0)"
            )
        label = f"{self.unit} attention difference"
        return WeightSum(label, unit, self.unit, ((unit.largest, 1.0), (unit.smallest, -1.0)))


def branch_weight(
    unit: str,
    *,
    kernel: Kernel | None = None,
    branch: int | None = None,
    channels: Sequence[int] | None = None,
) -> BranchWeight:
    """Target the mean weight of one branch of a unit.

    Parameters
    ----------
    unit
        Its name as `skviz.find_units` gives it; ``"name@1"`` for the second call of a unit that
        runs several times.
    kernel, branch
        Which branch, by effective kernel or by index.
    channels
        Only these; by default the mean over all.
    """
    return BranchWeight(unit, kernel, branch, None if channels is None else tuple(channels))


def attention_difference(unit: str) -> AttentionDifference:
    """Target the weight of a unit's largest kernel minus that of its smallest (section 4.4)."""
    return AttentionDifference(unit)


def every_branch(units: Sequence[Unit]) -> list[BranchWeight]:
    """Target every branch of every call of these units."""
    return [
        BranchWeight(name, branch=branch)
        for unit in units
        for name in unit.call_names
        for branch in range(unit.branches)
    ]


def resolve(
    asked: Any,
    units: Units,
    logits: Any,
    categories: Sequence[str] | None,
    truth: Tensor | None,
) -> Target:
    """Turn what was asked for into a target of these images.

    Parameters
    ----------
    asked
        See `skviz.attribute`.
    units
        Of the model.
    logits
        (image, class), what the model says; only a class needs it.
    categories
        Class names, where the model has them.
    truth
        (image,) the class of each image's category, where known.
    """
    if isinstance(asked, ClassLogit | WeightSum):
        return asked
    if isinstance(asked, BranchWeight | AttentionDifference):
        unit = units[asked.unit.split("@")[0]]
        if asked.unit not in unit.call_names:
            raise UnitError(
                f"unit {unit.name!r} runs {unit.calls} times in a forward pass, so a target is "
                f"one of {', '.join(unit.call_names)}; got {asked.unit!r}"
            )
        if not unit.recordable:
            raise UnitError(f"unit {unit.name!r} cannot be recorded: {'; '.join(unit.notes)}")
        return asked.resolve(unit)
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2:
        raise AttributionError(
            f"a class target needs logits (image, class), but the model gave "
            f"{tuple(getattr(logits, 'shape', ())) or type(logits).__name__}; target a branch "
            "weight, skviz.branch_weight(unit, kernel=…)"
        )
    if isinstance(asked, str) and asked == "predicted":
        return ClassLogit("predicted class", logits.argmax(1))
    if isinstance(asked, str) and asked == "category":
        if truth is None:
            raise AttributionError(
                "the classes of these images are not known to the model; give the class, "
                "target=3 or target=[3, 7, …], one for each image"
            )
        return ClassLogit("category", truth)
    if isinstance(asked, str):
        if categories is None or asked not in categories:
            known = "has no class names" if categories is None else f"has {', '.join(categories)}"
            raise AttributionError(f"no class is called {asked!r}; the model {known}")
        return ClassLogit(asked, torch.full((len(logits),), list(categories).index(asked)))
    return ClassLogit(*_classes(asked, logits, categories))


def _classes(asked: Any, logits: Tensor, categories: Sequence[str] | None) -> tuple[str, Tensor]:
    """Read a class, or one for each image."""
    try:
        classes = torch.as_tensor(asked)
    except (TypeError, ValueError, RuntimeError):
        classes = torch.empty(0)
    if classes.dtype not in (torch.int64, torch.int32) or classes.shape not in (
        torch.Size(()),
        torch.Size((len(logits),)),
    ):
        raise AttributionError(
            "a target is 'predicted', 'category', a class (number or name), one class for each "
            f"of the {len(logits)} images, or a branch weight; got {asked!r}"
        )
    count = logits.shape[1]
    if bool(((classes < 0) | (classes >= count)).any()):
        raise AttributionError(f"the model has classes 0 to {count - 1}, got {asked!r}")
    if classes.ndim:
        return "given classes", classes.long()
    name = categories[int(classes)] if categories else f"class {int(classes)}"
    return name, classes.long().expand(len(logits))
