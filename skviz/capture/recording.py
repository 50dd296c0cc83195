"""``record``: the branch weights of any model, as it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from skviz.capture import Unit, Units
from skviz.capture.graph import tolerance
from skviz.capture.tape import Made
from skviz.capture.watching import Watch, Watching
from skviz.errors import RecordingError, UnitError, entrance


def spatial_mean(weights: Tensor) -> Tensor:
    """Average weights (image, branch, channel[, spatial…]) over positions."""
    return weights.flatten(3).mean(3) if weights.dim() > 3 else weights


MANY = 2**16  # sums that are not kept one by one until the end
_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "channel_mean": lambda weights: weights.flatten(2).mean(2),  # (image, branch)
    "spatial_mean": spatial_mean,
}


class _Recorder(Watch):
    def __init__(self, unit: Unit, reduce: Callable[[Tensor], Tensor] | None, grad: bool) -> None:
        super().__init__(unit)
        self.reduce, self.grad = reduce, grad
        # Turned later: inside TorchScript the graph is attached after `see`.
        self.whole = reduce is None or grad
        self.kept: list[Tensor] = []  # as the model makes them, or reduced
        self.sums: list[Tensor] = []  # over branches, flat; of many only the least and the most
        self.unchecked: list[Tensor] = []  # summed at the end, to cost little now
        self.close = 0.0

    def see(self, tensor: Tensor, made: Made) -> None:
        self.fired += 1
        self.close = max(self.close, tolerance(tensor.dtype))
        if self.whole:
            self.kept.append(tensor if self.grad else tensor.detach().clone())
            self.unchecked += [] if made.changed else self.kept[-1:]
            return
        with torch.no_grad():
            self.kept.append(self._reduced(tensor.detach()).clone())
            self.sums += [] if made.changed else [self._sums(tensor)]

    def checked(self) -> list[Tensor]:
        """Return the sums over branches of every call."""
        self.sums += map(self._sums, self.unchecked)
        self.unchecked.clear()
        return self.sums

    def _sums(self, tensor: Tensor) -> Tensor:
        sums = self.layout.sums(tensor.detach()).flatten()
        return sums if len(sums) < MANY else torch.stack(sums.aminmax())

    def take(self, number: int) -> Tensor:
        """Weights of one call in every forward pass, (image, branch, channel[, spatial…])."""
        kept = self.kept[number :: self.unit.calls]
        kept = [self._reduced(tensor) for tensor in kept] if self.whole else kept
        return torch.cat(kept) if len(kept) > 1 else kept[0]

    def _reduced(self, tensor: Tensor) -> Tensor:
        weights = self.layout.normalise(tensor)
        return weights if self.reduce is None else self.reduce(weights)


class Recording(Watching):
    """What `record` yields.

    Attributes
    ----------
    units : Units or None
        The units recorded; None until the first forward pass if they were not given.
    forwards : int
        Forward passes recorded.
    """

    def __init__(
        self,
        model: nn.Module,
        units: str | Unit | Iterable[Unit | str] | None,
        *,
        reduce: str | Callable[[Tensor], Tensor] | None,
        grad: bool,
    ) -> None:
        super().__init__(model, units)
        if isinstance(reduce, str):
            if reduce not in _REDUCTIONS:
                raise RecordingError(
                    f"reduce={reduce!r} is not known; use one of {', '.join(_REDUCTIONS)}, "
                    "or a function of weights (image, branch, channel[, spatial…])"
                )
            reduce = _REDUCTIONS[reduce]
        self._reduce, self._grad = reduce, grad
        self._recorders: list[_Recorder] = []

    def watch(self, units: Units) -> list[Watch]:
        """Record the units chosen, or all that can be."""
        chosen = [unit for unit in units if self._asked is not None or unit.recordable]
        if not chosen:
            raise UnitError(f"none of the units found can be recorded:\n{units}")
        self._recorders = [_Recorder(unit, self._reduce, self._grad) for unit in chosen]
        return [*self._recorders]

    @property
    def weights(self) -> dict[str, Tensor]:
        """Weights by unit, (image, branch, channel[, spatial…]) or as reduced.

        Images of several forward passes follow one another. Of a unit that runs several
        times per pass each call has its own entry, ``"name@0"``, ``"name@1"``, …

        Raises
        ------
        RecordingError
            If nothing was recorded, or branches do not sum to one.
        """
        self._check()
        return {
            name: recorder.take(number)
            for recorder in self._recorders
            for number, name in enumerate(recorder.unit.call_names)
        }

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        super().__exit__(kind, error, trace)
        if kind is None:
            self._check()

    def _check(self) -> None:
        if not any(recorder.fired for recorder in self._recorders):
            raise RecordingError(
                "nothing was recorded: the model was not called inside `with record(model)` in "
                "this thread, or what was called was not this very model (a copy, an exported or "
                "CUDA-graph version of it)"
            )
        for recorder in self._recorders:
            unit = recorder.unit
            if not recorder.fired or recorder.fired % unit.calls:
                raise RecordingError(
                    f"unit {unit.name!r} ran {recorder.fired} times, but {unit.calls} per forward "
                    "pass were expected; call the whole model, or record only the units of the "
                    "part that you call (units=[…])"
                )
        if _farthest(self._recorders) <= min(recorder.close for recorder in self._recorders):
            return  # which asks a device once, not for each unit
        for recorder in self._recorders:
            off = _farthest([recorder])
            if not off <= recorder.close:  # NaN too
                raise RecordingError(
                    f"the weights of unit {recorder.unit.name!r} do not sum to one over its "
                    f"{recorder.unit.branches} branches: off by {off:.2g}, tolerance "
                    f"{recorder.close:.0e}; not finite inputs, or the unit takes another path here"
                )


def _farthest(recorders: Sequence[_Recorder]) -> float:
    """How far sums over branches are from one, at most."""
    sums = [each for recorder in recorders for each in recorder.checked()]
    if not sums:
        return 0.0
    return float((torch.cat([each.to(sums[0].device) for each in sums]) - 1).abs().amax())


@entrance
def record(
    model: nn.Module,
    units: str | Unit | Iterable[Unit | str] | None = None,
    *,
    reduce: str | Callable[[Tensor], Tensor] | None = None,
    grad: bool = False,
) -> Recording:
    """Record the branch weights of every unit, in every forward pass inside ``with``.

    Outputs are bit-identical with and without. Nothing is left on the model, whatever is
    raised inside. Contexts nest, with `skviz.intervene` too (then the weights that the
    forward pass really uses are recorded), and each sees its own thread only. A compiled
    model runs eagerly inside.

    Parameters
    ----------
    model : nn.Module
        Any model; see `skviz.find_units`.
    units : iterable of Unit or str, or one of them, optional
        What to record. By default all recordable units, found at the first forward pass.
    reduce : {"channel_mean", "spatial_mean"} or callable, optional
        Applied to the weights of each call at once, to keep less.
    grad : bool
        Keep the autograd graph, so that weights can be attributed.

    Returns
    -------
    Recording
        A context manager; ``recording.weights[name]`` has shape
        (image, branch, channel[, spatial…]).

    Raises
    ------
    RecordingError
        On leaving, if nothing was recorded, a unit ran more or less often than when it was
        found, or its branches do not sum to one (tolerance by dtype).
    UnitError
        If the model has no units.

    Examples
    --------
    >>> import skviz, torch
    >>> model = skviz.load("objects")
    >>> with torch.inference_mode(), skviz.record(model) as recording:
    ...     _ = model(torch.rand(2, 3, 96, 96))
    >>> recording.weights["stage2.1.sk"].shape  # (image, branch, channel)
    torch.Size([2, 2, 64])
    """
    return Recording(model, units, reduce=reduce, grad=grad)
