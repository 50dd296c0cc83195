"""Notice the weights of units as a forward pass makes them: what `record` and `intervene` share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from torch import Tensor, nn

from skviz.capture.finding import forget_units, units_of
from skviz.capture.tape import Frame, Listener, Made
from skviz.capture.units import Unit, Units
from skviz.errors import RecordingError, UnitError


class Watch:
    """Waits for one unit's weights."""

    def __init__(self, unit: Unit) -> None:
        if unit.place is None or unit.layout is None:
            raise RecordingError(
                f"unit {unit.name!r} cannot be recorded or changed: {'; '.join(unit.notes)}; "
                "leave it out (find_units(…, exclude=…), or units=[…])"
            )
        self.unit, self.place, self.layout = unit, unit.place, unit.layout
        self.fired = 0

    def see(self, weights: Tensor, made: Made) -> Tensor | None:
        """Take the weights, as made or changed before; return others to put in their place."""
        raise NotImplementedError


class Watching(Listener):
    """A context in which units of a model are watched, in this thread.

    Units not given are found at the first forward pass inside, on (two images like) its
    inputs, and remembered as long as the model lives and keeps its modules.
    """

    def __init__(self, model: nn.Module, units: str | Unit | Iterable[Unit | str] | None) -> None:
        super().__init__({"": model})
        self.model = model
        self.units: Units | None = None
        self.forwards = 0
        units = [units] if isinstance(units, str | Unit) else units
        self._asked = None if units is None else list(units)
        self._watches: list[Watch] = []
        self._waiting: dict[tuple[str, Any], list[Watch]] = {}  # by module, and by what it calls
        self._before: list[int] = []

    def watch(self, units: Units) -> list[Watch]:
        """Choose the units to watch."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        if self._asked is not None and not self._watches:
            given = [unit for unit in self._asked if isinstance(unit, Unit)]
            if len(given) == len(self._asked):
                self.modules = {"": self.model, **self._install(Units(given))}
        return super().__enter__()

    def _install(self, units: Units) -> dict[str, nn.Module]:
        """Return the modules that must be followed, other than the model itself."""
        self._watches, self.units = self.watch(units), units
        self._waiting = {}
        for watch in self._watches:
            key = watch.place.inner, watch.place.function
            self._waiting.setdefault(key, []).append(watch)
        places = [watch.place for watch in self._watches]
        called = [place for place in places if place.function is not None]
        self.python = any(place.python for place in called)
        self.aten = any(not place.python for place in called)
        self.within = frozenset(place.inner for place in called)
        self.functions = frozenset(place.function for place in places)
        names = {place.inner for place in places} | {place.module for place in places if place.call}
        try:
            return {name: self.model.get_submodule(name) for name in names if name}
        except AttributeError as missing:
            raise UnitError(
                f"{missing}: these units were found in another model; call find_units on this one"
            ) from None

    def entered(self, frame: Frame, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Find the units, if need be, as a forward pass begins."""
        if frame.name:
            return
        if self.units is None:
            found = units_of(self.model, *args, **kwargs)
            if self._asked is not None:
                found = Units(u if isinstance(u, Unit) else found[u] for u in self._asked)
            self.follow(self._install(found))
        self._before = [watch.fired for watch in self._watches]

    def made(self, made: Made) -> Tensor | None:
        """Show weights to the unit's watch."""
        if isinstance(made.result, Tensor) and made.stack:
            for watch in self._waiting.get((made.stack[-1].name, made.function), ()):
                if watch.place.holds(made.stack):
                    return watch.see(made.result, made)
        return None

    def left(self, frame: Frame, args: tuple[Any, ...], output: Any) -> None:  # noqa: ARG002
        """Count a forward pass as it ends, and what every unit did in it."""
        if frame.name:
            return
        self.forwards += 1
        for watch, before in zip(self._watches, self._before, strict=True):
            if watch.fired - before != watch.unit.calls:
                forget_units(self.model)
                raise RecordingError(
                    f"unit {watch.unit.name!r} ran {watch.fired - before} times in this forward "
                    f"pass, but {watch.unit.calls} times when it was found: the model takes "
                    "another path for this input, or was exported or replayed from a CUDA graph; "
                    "find the units again with an input like this one"
                )
