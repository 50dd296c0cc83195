"""Record the branch weights of SK units while a model runs."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from skviz.errors import RecordingError
from skviz.nn import SKAttention, SKConv

__all__ = ["Recording", "record", "units_of"]


@dataclass
class Recording:
    """The weights of the recorded units.

    Attributes
    ----------
    calls
        Per unit, by its qualified name, the weights of each of its calls, (image, branch,
        channel), in the order of the forward pass.
    """

    calls: dict[str, list[Tensor]] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The weights of the latest call of each unit, (image, branch, channel).

        Raises
        ------
        RecordingError
            If a unit was never called.
        """
        silent = [name for name, calls in self.calls.items() if not calls]
        if silent:
            raise RecordingError(
                f"no weights of {silent} were recorded: the model did not call these units inside "
                "`with record(...)`, or it was compiled and dropped the hooks"
            )
        return {name: calls[-1] for name, calls in self.calls.items()}


def units_of(model: nn.Module) -> dict[str, SKConv | SKAttention]:
    """Return the SK units of a model by their qualified names, in order of registration.

    Raises
    ------
    RecordingError
        If there is none.
    """
    found = {n: m for n, m in model.named_modules() if isinstance(m, SKConv | SKAttention)}
    if not found:
        raise RecordingError(
            f"{type(model).__name__} holds no SKConv or SKAttention of skviz.nn to record"
        )
    return found


def normal_layout(weights: Tensor, axis: int) -> Tensor:
    """Bring a softmax output with the branches on `axis` to (image, branch, channel)."""
    return weights.movedim(axis, 1).flatten(2)


@contextmanager
def record(model: nn.Module, units: Iterable[str] | None = None) -> Iterator[Recording]:
    """Record the branch weights of every forward pass inside the block.

    Parameters
    ----------
    model
        Any model with units of `skviz.nn`.
    units
        Qualified names of the units to record; by default all.

    Yields
    ------
    Recording
        Its weights are detached copies on the model's device.

    Raises
    ------
    RecordingError
        If the model has no unit, or not the one asked for; or when weights are recorded that do
        not sum to 1 over the branches.
    """
    known = units_of(model)
    chosen = list(known) if units is None else list(units)
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise RecordingError(f"no unit {unknown}; the model's units are {list(known)}")
    recording = Recording({name: [] for name in known if name in chosen})

    def keep(name: str, softmax: nn.Softmax, _: Any, output: Tensor) -> None:
        axis = softmax.dim
        if axis is None:
            raise RecordingError(f"the softmax of {name} names no axis")
        weights = normal_layout(output.detach(), axis).clone()
        error = float((weights.float().sum(1) - 1).abs().max())
        if not error < 0.02:
            raise RecordingError(f"the weights of {name} do not sum to 1 (off by {error:.2g})")
        recording.calls[name].append(weights)

    with ExitStack() as hooks:
        for name in recording.calls:
            handle = known[name].softmax.register_forward_hook(partial(keep, name))
            hooks.callback(handle.remove)
        yield recording
