"""What modules are given and what they give, kept while a model runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from skviz.capture.tape import Listener, Made, in_backward
from skviz.capture.units import Unit
from skviz.errors import UnitError


class _Outputs(Listener):
    changes = True
    functions = frozenset({None})

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__({name: module})
        self.seen: list[Tensor] = []

    def made(self, made: Made) -> Tensor:
        """Keep a feature map, and have the model go on with a copy, for it may work in place."""
        output: Any = made.result
        if not isinstance(output, Tensor) or output.ndim != 4:
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise UnitError(
                f"module {made.stack[-1].name!r} gives no feature map (image, channel, y, x), but "
                f"{got}: there is no place in it to look at"
            )
        if not in_backward():  # a recomputation makes it again
            self.seen.append(output)
        return output.clone()


@contextmanager
def unit_output(model: nn.Module, unit: Unit) -> Iterator[list[Tensor]]:
    """Keep what the unit's module gives, (image, C, h, w), with its graph.

    Raises
    ------
    UnitError
        If it is no feature map, or the unit did not run once.
    """
    module = dict(model.named_modules()).get(unit.name)
    if module is None:
        raise UnitError(
            f"unit {unit.name!r} is no module of its own, so it has no output to look at"
        )
    with _Outputs(unit.name, module) as listener:
        yield listener.seen
    if len(listener.seen) != 1:
        raise UnitError(f"unit {unit.name!r} must run once to have one output, but it did not")
