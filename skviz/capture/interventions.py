"""``intervene``: have a model's forward pass use other branch weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from skviz.capture import Unit, Units
from skviz.capture.graph import tolerance
from skviz.capture.kernels import Kernel
from skviz.capture.layout import precise_sum
from skviz.capture.tape import Made, _here, in_backward
from skviz.capture.watching import Watch, Watching
from skviz.errors import InterventionError, UnitError, entrance

Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Branch:
    """One branch, by kernel or by index."""

    kernel: Kernel | None = None
    branch: int | None = None

    def index(self, unit: Unit) -> int:
        return unit.branch_index(kernel=self.kernel, branch=self.branch)

    def weigh(self, weights: Tensor, branch: int) -> Tensor:
        """Return other weights (image, branch, channel…), by the index of this branch."""
        raise NotImplementedError


class Force(_Branch):
    """All weight to one branch; made by `force`."""

    def weigh(self, weights: Tensor, branch: int) -> Tensor:
        """Return one-hot weights."""
        forced = torch.zeros_like(weights)
        forced[:, branch] = 1
        return forced


class Ablate(_Branch):
    """No weight to one branch; made by `ablate`."""

    def weigh(self, weights: Tensor, branch: int) -> Tensor:
        """Return the others' weights, summing to one; equal ones where these had nothing either."""
        kept = torch.ones_like(weights)
        kept[:, branch] = 0
        left = (weights * kept).sum(1, keepdim=True)
        return torch.where(left > 0, weights * kept / left, kept / (weights.shape[1] - 1))


@entrance
def force(*, kernel: Kernel | None = None, branch: int | None = None) -> Force:
    """Give all weight to one branch, named by effective kernel or by index.

    Examples
    --------
    >>> import skviz, torch
    >>> model, images = skviz.load("objects"), torch.rand(1, 3, 96, 96)
    >>> with torch.inference_mode():
    ...     with skviz.intervene(model, {"stage2.1.sk": skviz.force(kernel=3)}):
    ...         by_kernel = model(images)
    ...     with skviz.intervene(model, {"stage2.1.sk": skviz.force(branch=0)}):
    ...         by_number = model(images)
    >>> torch.equal(by_kernel, by_number)
    True
    """
    return Force(kernel, branch)


@entrance
def ablate(*, kernel: Kernel | None = None, branch: int | None = None) -> Ablate:
    """Take the weight of one branch away and renormalise the others.

    Examples
    --------
    >>> import skviz, torch
    >>> model, images = skviz.load("objects"), torch.rand(1, 3, 96, 96)
    >>> without = {"stage2.1.sk": skviz.ablate(kernel=5)}
    >>> with torch.inference_mode(), skviz.intervene(model, without):
    ...     logits = model(images)
    >>> logits.shape
    torch.Size([1, 67])
    """
    return Ablate(kernel, branch)


def _change(what: Any, unit: Unit) -> Change:
    """Return the function of weights that ``what`` means."""
    if isinstance(what, int) and not isinstance(what, bool):
        what = force(branch=what) if unit.kernels is None else force(kernel=what)
    if isinstance(what, _Branch):
        return partial(what.weigh, branch=what.index(unit))
    if isinstance(what, Tensor):
        return lambda weights: _given(what, weights, unit)
    if isinstance(what, str) and what == "uniform":
        return lambda weights: torch.full_like(weights, 1 / unit.branches)
    if not callable(what):
        raise InterventionError(
            "an intervention is a kernel (int), force(…), ablate(…), 'uniform', weights recorded "
            f"before (a tensor) or a function of the weights; got {what!r}"
        )
    return what


def _given(new: Tensor, weights: Tensor, unit: Unit) -> Tensor:
    """Fit recorded weights in the place of ``weights``: one image for all, or image for image."""
    if new.dim() == 1:
        new = new[None]
    new = new.reshape(*new.shape, *[1] * max(weights.dim() - new.dim(), 0))
    try:
        if new.shape[1] != unit.branches:
            raise RuntimeError
        return new.to(weights).expand(weights.shape)
    except (RuntimeError, IndexError):
        raise InterventionError(
            f"unit {unit.name!r} uses weights (image, branch, channel[, spatial…]) of shape "
            f"{tuple(weights.shape)}, but was given {tuple(new.shape)}; give those of one image "
            "(size 1) or of as many images as the batch has"
        ) from None


class _Intervention(Watch):
    def __init__(self, unit: Unit, what: Any, *, normalise: bool) -> None:
        super().__init__(unit)
        self.change, self.normalise = _change(what, unit), normalise
        # Recorded weights are as exact as the precision that they were recorded in.
        self.close = tolerance(what.dtype if isinstance(what, Tensor) else torch.float32)
        if not normalise and (self.layout.branch is None or unit.interpolated):
            raise InterventionError(
                f"unit {unit.name!r} uses one weight a and takes the other to be 1 − a: "
                "weights that do not sum to one cannot be put there; leave normalise=True"
            )

    def see(self, tensor: Tensor, made: Made) -> Tensor:
        self.fired += not in_backward()
        tracked = any(isinstance(arg, Tensor) and arg.requires_grad for arg in made.args)
        if not made.python and tracked and torch.is_grad_enabled():
            raise InterventionError(
                f"unit {self.unit.name!r} is inside TorchScript, where an intervention has no "
                "gradient; use torch.no_grad(), or the model before scripting"
            )
        weights = self.layout.normalise(tensor)
        new = self.change(weights)
        if not isinstance(new, Tensor) or new.shape != weights.shape:
            got = tuple(new.shape) if isinstance(new, Tensor) else type(new).__name__
            raise InterventionError(
                f"the function for unit {self.unit.name!r} must return weights of the shape it "
                f"was given, {tuple(weights.shape)}; it returned {got}"
            )
        error = (precise_sum(new.detach(), 1) - 1).abs().amax()
        if self.normalise and not float(error) <= max(self.close, tolerance(tensor.dtype)):
            raise InterventionError(
                f"the new weights of unit {self.unit.name!r} do not sum to one over branches "
                f"(off by {error:.2g}); normalise them, or pass normalise=False if meant"
            )
        return self.layout.restore(new, tensor)


class Intervening(Watching):
    """What `intervene` returns: a context manager."""

    changes = True

    def __init__(
        self,
        model: nn.Module,
        interventions: Mapping[str, Any],
        units: str | Unit | Iterable[str | Unit] | None,
        *,
        normalise: bool,
    ) -> None:
        super().__init__(model, units)
        if not interventions:
            raise InterventionError("no unit was named: give {unit name: what to do with it}")
        self._interventions, self._normalise = dict(interventions), normalise

    def watch(self, units: Units) -> list[Watch]:
        """Check what is asked of each unit, and watch it."""
        missing = [name for name in self._interventions if name not in units.names]
        if missing:
            raise UnitError(f"no unit is called {missing[0]!r}; there are {', '.join(units.names)}")
        return [
            _Intervention(units[name], what, normalise=self._normalise)
            for name, what in self._interventions.items()
        ]


@entrance
def intervene(
    model: nn.Module,
    interventions: Mapping[str, Any],
    *,
    units: str | Unit | Iterable[str | Unit] | None = None,
    normalise: bool = True,
) -> Intervening:
    """Change the branch weights of units inside ``with``; the forward pass really uses them.

    Gradients flow through the new weights as far as they depend on the old. With
    `skviz.record`, in whatever order they nest, the changed weights are recorded.

    Parameters
    ----------
    model : nn.Module
        Any model; see `skviz.find_units`.
    interventions : mapping of str to what
        For each unit by name one of: an int, the effective kernel to force (or, if the unit's
        kernels are unknown, the branch); ``force(kernel=5)`` or ``force(branch=1)``;
        ``ablate(kernel=…)`` or ``ablate(branch=…)``; ``"uniform"``; weights recorded before,
        (image or 1, branch, channel[, spatial…]); or a function from weights to weights.
    units
        Those that may be named, as found by `skviz.find_units`, names or one of them; by default
        found at the first forward pass.
    normalise : bool
        Insist that new weights sum to one over branches.

    Raises
    ------
    InterventionError
        If new weights have the wrong shape or sum.
    UnitError
        If there is no such unit, or a unit has no such kernel or branch.

    Examples
    --------
    >>> import skviz, torch
    >>> model, images = skviz.load("objects"), torch.rand(2, 3, 96, 96)
    >>> with torch.inference_mode(), skviz.intervene(model, {"stage2.1.sk": 3}):
    ...     logits = model(images)
    >>> logits.shape
    torch.Size([2, 67])
    """
    return Intervening(model, interventions, units, normalise=normalise)


def changed_units() -> list[str]:
    """Name the units whose weights a context around this changes."""
    around = (one for one in _here.changing if isinstance(one, Intervening))
    return sorted({name for one in around for name in one._interventions})
