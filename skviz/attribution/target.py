"""What an attribution explains: a class, the weight of a branch, or an attention difference.

What `skviz.attribute` can be asked about is made by ``skviz.target.branch(unit, kernel=5)`` and
others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from skviz.capture import Unit, Units, units_of
from skviz.capture.kernels import Kernel
from skviz.errors import AttributionError, UnitError, entrance
from skviz.scenes.made import step

__all__ = ["branch", "category", "classes", "difference", "every_branch"]


@dataclass(frozen=True)
class Asked:
    """A target before it is looked for in a model; made by the function of `skviz.target`."""

    function: str
    unit: str | None = None
    kernel: Kernel | None = None
    branch: int | None = None
    channels: tuple[int, ...] | None = None
    numbers: tuple[int, ...] | None = None


@entrance
def branch(
    unit: str,
    *,
    kernel: Kernel | None = None,
    branch: int | None = None,
    channels: Sequence[int] | None = None,
) -> Asked:
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
    chosen = None if channels is None else tuple(channels)
    return Asked("branch", unit, kernel, branch, chosen)


@entrance
def difference(unit: str) -> Asked:
    """Target the weight of a unit's largest kernel minus that of its smallest (section 4.4)."""
    return Asked("difference", unit)


def category() -> str:
    """Target the true class of each image."""
    return "category"


@entrance
def classes(numbers: Sequence[int]) -> Asked:
    """Target one class for each image, by number."""
    return Asked("classes", numbers=tuple(numbers))


def every_branch(units: Sequence[Unit]) -> list[Asked]:
    """Target every branch of every call of these units."""
    return [
        Asked("branch", name, branch=index)
        for unit in units
        for name in unit.call_names
        for index in range(unit.branches)
    ]


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
    signs: tuple[tuple[int, float], ...]  # of branches
    channels: tuple[int, ...] | None = None

    def value(self, logits: Tensor, weights: dict[str, Tensor], image: Tensor) -> Tensor:  # noqa: ARG002
        """Return the mean over channels (and places) of the branches, with their signs."""
        recorded = weights[self.call]
        if self.channels is not None:
            recorded = recorded[:, :, list(self.channels)]
        means = recorded.flatten(2).mean(2)  # (row, branch)
        return torch.stack([sign * means[:, branch] for branch, sign in self.signs]).sum(0)


def check_count(asked: Sequence[Any], images: int) -> None:
    """Raise `AttributionError` if nothing is asked for, or classes are not one for each image."""
    if not asked:
        raise AttributionError("expected a target, or a list of targets, got none")
    for numbers in (one.numbers for one in asked if isinstance(one, Asked)):
        if numbers is not None and len(numbers) != images:
            raise AttributionError(f"expected {images} classes, one for each image, got {numbers}")


def target_said(asked: Any) -> Any:
    """Describe what is asked for as JSON can hold it."""
    if isinstance(asked, Asked):
        told = vars(asked) | {"function": f"skviz.target.{asked.function}"}
        return step(**told)
    return int(asked) if isinstance(asked, Integral) else str(asked)


def find_targets(
    model: nn.Module,
    asked: Sequence[Any],
    images: Tensor,
    truth: Tensor | None,
    numbers: Sequence[int] | None = None,
) -> list[Target]:
    """Find what was asked for, as `skviz.attribute` takes it, in a model and its images.

    `truth` are the classes (image,) of the images, where known, and `numbers` their places among
    those that it was asked for; by default all.
    """
    of_units = [getattr(one, "unit", None) is not None for one in asked]
    units = units_for(model, asked, images)
    logits: Any = None
    if not all(of_units):
        try:
            with torch.no_grad():
                parts = [model(part) for part in images.split(64)]
        except Exception as error:
            raise AttributionError(
                f"the model cannot be run on images {tuple(images.shape)}: {error}"
            ) from error
        logits = torch.cat(parts) if isinstance(parts[0], Tensor) else parts[0]
    categories = categories_of(model)
    numbers = range(len(images)) if numbers is None else numbers
    return [
        one if isinstance(one, WeightSum)
        else replace(one, classes=one.classes[numbers]) if isinstance(one, ClassLogit)
        else weight_sum(one, units) if of_unit
        else class_logit(one, logits, categories, truth, numbers)
        for one, of_unit in zip(asked, of_units, strict=True)
    ]  # fmt: skip


def target_labels(model: nn.Module, asked: Sequence[Any], images: Tensor) -> list[str]:
    """Name what was asked for, of a model whose units can be found on these images."""
    units, categories = units_for(model, asked, images), categories_of(model)
    return [
        one.label if isinstance(one, ClassLogit | WeightSum)
        else weight_sum(one, units).label if getattr(one, "unit", None) is not None
        else class_label(one, categories)[0]
        for one in asked
    ]  # fmt: skip


def units_for(model: nn.Module, asked: Sequence[Any], images: Tensor) -> Units:
    """Find the units of a model, if any target is about one."""
    about_units = any(getattr(one, "unit", None) is not None for one in asked)
    return units_of(model, images[:3]) if about_units else Units([])


def categories_of(model: nn.Module) -> Sequence[str] | None:
    """Return the names of a model's classes, where they are known."""
    found: Sequence[str] | None = getattr(getattr(model, "card", None), "categories", None)
    return found


def weight_sum(asked: Any, units: Units) -> WeightSum:
    """Find the branches that a target is about."""
    call = asked.unit
    unit = units[call.split("@")[0]]
    if call not in unit.call_names:
        raise UnitError(
            f"unit {unit.name!r} runs {unit.calls} times in a forward pass, so a target is one of "
            f"{', '.join(unit.call_names)}; got {call!r}"
        )
    if not unit.recordable:
        raise UnitError(f"unit {unit.name!r} cannot be recorded: {'; '.join(unit.notes)}")
    if asked.function == "difference":
        if unit.largest is None or unit.smallest is None:
            raise AttributionError(
                f"unit {unit.name!r} has not one smallest and one largest kernel; attribute a "
                f"branch instead, skviz.target.branch({unit.name!r}, branch=0)"
            )
        signs = ((unit.largest, 1.0), (unit.smallest, -1.0))
        return WeightSum(f"{call} attention difference", unit, call, signs)
    branch = unit.branch_index(kernel=asked.kernel, branch=asked.branch)
    label = f"{call} {unit.branch_name(branch)}"
    if asked.channels is not None:
        count = unit.channels or 1
        if not asked.channels or not set(asked.channels) <= set(range(count)):
            raise AttributionError(
                f"unit {unit.name!r} has channels 0 to {count - 1}, got "
                f"channels={list(asked.channels)}"
            )
        label += f" of {len(asked.channels)} channels"
    return WeightSum(label, unit, call, ((branch, 1.0),), asked.channels)


def class_logit(
    asked: Any,
    logits: Any,
    categories: Sequence[str] | None,
    truth: Tensor | None,
    numbers: Sequence[int],
) -> ClassLogit:
    """Find the class that a target is about, or one for each image, by number or name."""
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise AttributionError(
            f"a class target needs logits (image, class), but the model gave "
            f"{tuple(getattr(logits, 'shape', ())) or type(logits).__name__}; target a branch "
            "weight, skviz.target.branch(unit, kernel=…)"
        )
    label, number = class_label(asked, categories)
    if asked == "predicted":
        return ClassLogit(label, logits.argmax(1))
    if asked == "category":
        if truth is None:
            raise AttributionError(
                "the classes of these images are not known to the model; give the class, "
                "target=3, or one for each image, target=skviz.target.classes([3, 7, …])"
            )
        return ClassLogit(label, truth)
    of_each = [asked.numbers[place] if number is None else number for place in numbers]
    if not set(of_each) <= set(range(logits.shape[1])):
        raise AttributionError(f"the model has classes 0 to {logits.shape[1] - 1}, got {asked!r}")
    return ClassLogit(label, torch.tensor(of_each))


def class_label(asked: Any, categories: Sequence[str] | None) -> tuple[str, int | None]:
    """Name a class target, and give its number if it is the same for all images."""
    if isinstance(asked, str) and asked in ("predicted", "category"):
        return {"predicted": "predicted class"}.get(asked, asked), None
    if isinstance(asked, str):
        if categories is None or asked not in categories:
            known = "has no class names" if categories is None else f"has {', '.join(categories)}"
            raise AttributionError(f"no class is called {asked!r}; the model {known}")
        return asked, categories.index(asked)
    one = isinstance(asked, Integral) and not isinstance(asked, bool)
    if one:
        number, names = int(asked), categories or ()
        return names[number] if 0 <= number < len(names) else f"class {number}", number
    if isinstance(asked, Asked):
        return "given classes", None
    raise AttributionError(
        "a target is 'predicted', 'category', a class (number or name) or one of skviz.target; "
        f"got {asked!r}"
    )
