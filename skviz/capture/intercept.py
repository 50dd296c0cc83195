"""A context in which units of a model are watched: the hooks live here."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

import torch
from torch import nn

from skviz.capture import Unit, Units, find_units
from skviz.capture.eager import eager
from skviz.capture.probe import thread
from skviz.capture.watch import Recomputation, Watch, in_backward, state
from skviz.errors import RecordingError, UnitError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

_found: WeakKeyDictionary[nn.Module, tuple[tuple[int, ...], Units]] = WeakKeyDictionary()


class Interception:
    """A context in which units of a model are watched, in this thread.

    Units not given are found at the first forward pass inside, on (three images of) its
    inputs, and remembered as long as the model lives and keeps its modules.
    """

    def __init__(self, model: nn.Module, units: Iterable[Unit | str] | None) -> None:
        if not isinstance(model, nn.Module):
            raise UnitError(f"expected a torch.nn.Module, got {type(model).__name__}")
        self.model = model
        self.units: Units | None = None
        self.forwards = 0
        self._names: list[str] | None = None
        if units is not None:
            given = list(units)
            self._names = [unit for unit in given if isinstance(unit, str)]
            if not self._names:
                self.units = Units(unit for unit in given if isinstance(unit, Unit))
        self._watches: list[Watch] = []
        self._before: list[int] = []
        self._handles: list[Any] = []
        self._resources = ExitStack()
        self._thread = 0

    def watch(self, units: Units) -> list[Watch]:
        """Choose the units to watch."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        if self._handles:
            raise RecordingError("this context is already entered; make a new one for each `with`")
        with ExitStack() as undo:
            undo.callback(self._clear)
            self._thread = threading.get_ident()
            self._resources.enter_context(eager())
            # Unbound: a ScriptModule refuses these methods of its own, but honours the hooks.
            before, after = nn.Module.register_forward_pre_hook, nn.Module.register_forward_hook
            self._handles.append(before(self.model, self._enter, with_kwargs=True, prepend=True))
            self._handles.append(after(self.model, self._leave, prepend=True))
            if self.units is not None:
                self._install(self.units)
            undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._clear()
        failure, state.failure = state.failure, None
        if failure is not None and error is not failure:
            raise failure from None

    def _clear(self) -> None:
        for handle in self._handles:
            handle.remove()
        for watch in self._watches:
            state.discard(watch)
        self._handles = []
        self._resources.close()

    def _install(self, units: Units) -> None:
        self._watches = self.watch(units)
        owners: dict[str, list[Watch]] = {}
        for watch in self._watches:
            owners.setdefault(watch.site.module, []).append(watch)
        modules = dict(self.model.named_modules())
        for name, watches in owners.items():
            owner = modules.get(name)
            if owner is None:
                raise UnitError(
                    f"the model has no module {name!r}: these units were found in another model; "
                    "call find_units on this one"
                )
            self._follow(owner, watches)
        for watch in self._watches:
            state.add(watch)

    def _follow(self, owner: nn.Module, watches: list[Watch]) -> None:
        """Count calls from each entry into ``owner``."""
        changing = [watch for watch in watches if watch.changes]
        recomputations: list[Recomputation] = []

        def start(_module: nn.Module, _args: Any) -> None:
            if in_backward():
                if changing:
                    recomputations.append(Recomputation(changing))
                    recomputations[-1].__enter__()
            elif not self._mine():
                return
            for watch in watches:
                watch.calls = 0

        def stop(_module: nn.Module, _args: Any, _output: Any) -> None:
            if in_backward() and recomputations:
                recomputations.pop().__exit__(None, None, None)

        self._handles.append(nn.Module.register_forward_pre_hook(owner, start, prepend=True))
        if changing:
            after = nn.Module.register_forward_hook
            self._handles.append(after(owner, stop, prepend=True, always_call=True))

    def _mine(self) -> bool:
        return threading.get_ident() == self._thread and not thread.probing

    def _enter(
        self, _model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
    ) -> None:
        if kwargs is None:  # another thread's call, while this hook was being registered
            return
        if not self._mine() or in_backward():
            return
        if self.units is None:
            self._discover(args, kwargs)
        self._before = [watch.fired for watch in self._watches]

    def _discover(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        units = discover(self.model, args, kwargs)
        if self._names is not None:
            units = Units(units[name] for name in self._names)
        self._install(units)
        self.units = units
        for watch in self._watches:
            if not watch.site.module:  # the model's own hooks are already under way
                watch.calls = 0

    def _leave(self, _model: nn.Module, _args: Any, _output: Any) -> None:
        if not self._mine() or in_backward():
            return
        self.forwards += 1
        for watch, before in zip(self._watches, self._before, strict=True):
            if watch.fired - before != watch.unit.calls:
                _found.pop(self.model, None)
                raise RecordingError(
                    f"unit {watch.unit.name!r} ran {watch.fired - before} times in this forward "
                    f"pass, but {watch.unit.calls} times when it was found: the model takes "
                    "another path for this input, or was exported or replayed from a CUDA graph; "
                    "find the units again with an input like this one"
                )


def discover(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Units:
    """Units of ``model``, remembered from last time if its modules are still the same."""
    modules = tuple(map(id, model.modules()))
    known = _found.get(model)
    if known is None or known[0] != modules:
        with torch.inference_mode(mode=False):
            known = _found[model] = (modules, find_units(model, *args, **kwargs))
    if not known[1]:
        raise UnitError(
            "found no Selective-Kernel unit in the model: no probability over branches that "
            "depends on the input and weighs different feature maps; see find_units"
        )
    return known[1]
